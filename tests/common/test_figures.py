"""Every figure is what scikit-learn, or its definition, says of the same cases; read off sums it is nearly so."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics

from common.metrics import class_figures, paired, performance, score_bins
from common.metrics.class_figures import ScoreTable
from common.metrics.score import FIGURES
from server.results import outcome_counts

FIXED = class_figures.FIXED


def drawn(seed: int, k: int = 2, n: int = 300, digits: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, k, n)
    return np.round(random.normal(size=(n, k)) + 1.5 * np.eye(k)[labels], digits), labels  # with ties


def by_definition(margin: np.ndarray, positive: np.ndarray, threshold: float) -> dict[str, float]:
    """Of two classes, or one against the rest."""
    p, called = 1 / (1 + np.exp(-margin)), margin > threshold
    false, true, _ = metrics.roc_curve(positive, margin, drop_intermediate=False)
    tenth = np.minimum((p * 10).astype(int), 9)
    gaps = [abs(p[tenth == t].mean() - positive[tenth == t].mean()) * (tenth == t).mean() for t in np.unique(tenth)]
    return {
        "auc": metrics.roc_auc_score(positive, margin),
        "auprc": metrics.average_precision_score(positive, margin),
        "brier": metrics.brier_score_loss(positive, p),
        "ece": sum(gaps),
        "sensitivity_at_specificity": true[1 - false >= FIXED - 1e-9].max(),
        "specificity_at_sensitivity": 1 - false[true >= FIXED - 1e-9].min(),
        "accuracy": metrics.accuracy_score(positive, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(positive, called),
        "f1": metrics.f1_score(positive, called),
        "sensitivity": metrics.recall_score(positive, called),
        "specificity": metrics.recall_score(~positive, ~called),
        "log_loss": metrics.log_loss(positive, p),
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_figures_of_two_classes_are_scikit_learn_s(seed: int) -> None:
    logits, labels = drawn(seed)
    found = performance.score(logits, labels, 0.4)
    expected = by_definition(logits[:, 1] - logits[:, 0], labels == 1, 0.4)
    assert {name: getattr(found, name) for name in FIGURES} == pytest.approx(expected, abs=1e-12)


def test_the_figures_of_several_classes_are_their_means() -> None:
    logits, labels = drawn(7, 4, digits=9)
    found, called = performance.score(logits, labels, None), logits.argmax(axis=1)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    each = [by_definition(np.log(p[:, c] / (1 - p[:, c])), labels == c, 0.0) for c in range(4)]
    for name in ("auc", "auprc", "ece", "sensitivity_at_specificity", "specificity_at_sensitivity"):
        assert getattr(found, name) == pytest.approx(np.mean([one[name] for one in each]), abs=1e-9), name
    assert found.f1 == pytest.approx(metrics.f1_score(labels, called, average="macro"))
    assert found.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, called))
    assert found.brier == pytest.approx(metrics.brier_score_loss(labels, p))
    assert found.log_loss == pytest.approx(metrics.log_loss(labels, p))


def test_what_is_read_off_the_sum_is_nearly_so() -> None:
    logits, labels = drawn(3, n=2000)
    logits = logits + np.random.default_rng(1).normal(size=logits.shape) / 10
    parts = np.array_split(np.arange(2000), 4)
    each = [performance.count(logits[p], labels[p]) for p in parts]
    summed = {name: sum(one[name] for one in each) for name in each[0]}
    threshold = float(score_bins.EDGES[2500])
    told = outcome_counts.of_sum(summed, threshold)
    exact = performance.score(logits, labels, threshold)
    for name in (*class_figures.RANKED, *class_figures.DECIDED):
        assert told["figures"][name] == pytest.approx(getattr(exact, name), abs=2e-3), name
    within = [metrics.roc_auc_score(labels[p], (logits[:, 1] - logits[:, 0])[p]) for p in parts]
    assert told["within_sites"]["auc"] == pytest.approx(np.mean(within), abs=1e-12)
    low, high = told["within_sites"]["auc_interval"]
    assert low < np.mean(within) < high


Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]
SCORES: dict[str, Draw] = {
    **{f"bunched at {at}": lambda r, y, at=at: at + 0.01 * (r.normal(size=len(y)) + y) for at in (-100, -4, -1, 0, 3)},
    "extreme": lambda r, y: 100 * (r.normal(size=len(y)) + y),
    "saturated": lambda r, y: 100.0 * np.sign(r.normal(size=len(y)) + y - 0.5),
    "tied": lambda r, y: np.round(r.normal(size=len(y)) + y),
    "usual": lambda r, y: 2 * r.normal(size=len(y)) + 3 * y - 2,
}


@pytest.mark.parametrize(("positives", "n"), [(500, 2000), (20, 20_000)])
@pytest.mark.parametrize("name", SCORES)
def test_a_summed_auc_is_exact_to_a_thousandth_whatever_the_scores(name: str, positives: int, n: int) -> None:
    random = np.random.default_rng(4)
    labels = random.permutation(np.arange(n) < positives).astype(np.int64)
    for _ in range(3):
        margin = SCORES[name](random, labels)
        counts = performance.count(np.stack([np.zeros(n), margin], axis=1), labels)
        assert performance.auc_of_counts(counts) == pytest.approx(metrics.roc_auc_score(labels, margin), abs=1e-3)


def test_net_benefit_is_what_its_definition_says() -> None:
    logits, labels = drawn(5)
    p = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    rows = class_figures.decision_curve(ScoreTable.of_cases(logits[:, 1] - logits[:, 0], labels == 1))
    assert [row["threshold"] for row in rows] == list(class_figures.CHOICES)
    for row in rows:
        at, called = row["threshold"], p > row["threshold"]
        hits, false = (called & (labels == 1)).mean(), (called & (labels == 0)).mean()
        assert row["model"] == pytest.approx(hits - false * at / (1 - at))
        assert row["all"] == pytest.approx((labels == 1).mean() - (labels == 0).mean() * at / (1 - at))


def test_a_difference_is_that_of_scikit_learn_s_areas_and_goes_by_patients() -> None:
    random = np.random.default_rng(2)
    people = np.repeat(np.arange(60), 3)
    labels = np.repeat(random.integers(0, 2, 60), 3)
    shared = np.repeat(random.normal(size=60), 3) + labels  # three images of one patient look alike
    first, second = (np.stack([np.zeros(180), shared + s * random.normal(size=180)], axis=1) for s in (2.0, 0.1))
    found, careless = (paired.difference(first, second, labels, who) for who in (people, None))
    assert found is not None
    assert careless is not None
    gap = metrics.roc_auc_score(labels, second[:, 1]) - metrics.roc_auc_score(labels, first[:, 1])
    assert found.auc == careless.auc == pytest.approx(gap, abs=1e-12)
    assert found.interval[0] < gap < found.interval[1]
    once = paired.difference(first[::3], second[::3], labels[::3])
    assert once is not None
    assert found.variance > careless.variance


def test_an_interval_of_a_difference_holds_the_truth_as_often_as_it_says() -> None:
    random, labels, held = np.random.default_rng(1), np.repeat([0, 1], [20, 15]), 0
    for draw in range(60):
        one, other = random.normal(size=(2, 35))
        scores = (
            np.stack([np.zeros(35), one + labels], axis=1),
            np.stack([np.zeros(35), 0.6 * one + 0.8 * other + labels], axis=1),
        )
        found = paired.difference(*scores, labels, seed=draw)
        assert found is not None
        held += found.interval[0] <= 0 <= found.interval[1]
    assert held >= 53  # of 57 expected


def test_two_models_that_err_nowhere_are_not_surely_alike() -> None:
    labels = np.repeat([0, 1], 8)
    first, second = (np.stack([np.zeros(16), 9.0 * labels + s * np.arange(16)], axis=1) for s in (0.1, -0.1))
    found, same = paired.difference(first, second, labels), paired.difference(first, first, labels)
    assert found is not None
    assert same is not None
    assert same.interval == (0.0, 0.0)
    assert found.interval[0] < -0.1
    assert found.interval[1] > 0.1

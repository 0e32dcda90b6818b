"""Counts add up, and what is read off them is what the exact formulas say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from common.metrics import performance

seeds = st.integers(0, 2**32 - 1)


def outcomes(seed: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, k, n)
    logits = random.normal(size=(n, k)) + 1.5 * np.eye(k)[labels]
    return logits.astype(np.float32), labels


@given(seeds, st.integers(2, 4), st.integers(0, 40), st.integers(0, 40))
def test_counts_of_two_sites_sum_to_the_count_of_all_their_cases(seed: int, k: int, n: int, m: int) -> None:
    logits, labels = outcomes(seed, n + m, k)
    one, two = performance.count(logits[:n], labels[:n]), performance.count(logits[n:], labels[n:])
    both = performance.count(logits, labels)
    assert both.keys() == performance.count_shapes(k, multilabel=False).keys()
    for name in both.keys() - {"within"}:  # which adds up over sites
        np.testing.assert_allclose(one[name] + two[name], both[name], rtol=1e-9)


@settings(max_examples=25)
@given(seeds, st.integers(2, 4))
def test_auc_read_off_the_histogram_is_within_a_thousandth_of_scikit_learn(seed: int, k: int) -> None:
    logits, labels = outcomes(seed, 400, k)
    expected = np.mean(
        [
            roc_auc_score(labels == c, m)
            for c, m in zip(range(k) if k > 2 else [1], performance.margins(logits).T, strict=True)
        ]
    )
    assert performance.auc_of_counts(performance.count(logits, labels)) == pytest.approx(expected, abs=1e-3)
    assert performance.score(logits, labels, 0.0).auc == pytest.approx(expected, abs=1e-12)


@given(seeds, st.floats(-5, 5))
def test_ties_count_half(seed: int, value: float) -> None:
    labels = np.random.default_rng(seed).permutation([0, 1, 1, 0, 1])
    logits = np.tile(np.array([[0.0, value]], np.float32), (5, 1))
    assert performance.score(logits, labels, 0.0).auc == 0.5
    assert performance.auc_of_counts(performance.count(logits, labels)) == 0.5


@given(seeds, st.integers(2, 4))
def test_the_loss_is_scikit_learns(seed: int, k: int) -> None:
    logits, labels = outcomes(seed, 50, k)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    assert performance.log_losses(logits, labels).mean() == pytest.approx(
        log_loss(labels, p, labels=range(k)), rel=1e-6
    )


@given(seeds, st.sampled_from(["youden", "accuracy", 0.9, 0.5]))
def test_no_threshold_is_better_than_the_operating_point(seed: int, rule: performance.Rule) -> None:
    logits, labels = outcomes(seed, 120, 2)
    margin, positive = performance.margins(logits)[:, 0], labels == 1

    def worth(thresholds: np.ndarray, amiss: float = 0) -> np.ndarray:
        above = margin > thresholds[:, None]
        sensitivity, specificity = above[:, positive].mean(axis=1), 1 - above[:, ~positive].mean(axis=1)
        if rule == "youden":
            return sensitivity + specificity
        if rule == "accuracy":
            return (above == positive).mean(axis=1)
        return np.where(sensitivity >= float(rule) - amiss / positive.sum(), specificity, -1.0)

    chosen = performance.operating_point(performance.count(logits, labels), rule)
    assert isinstance(chosen, float)
    best = worth(np.append(margin, -np.inf)).max()  # of all thresholds that tell cases apart
    # Cases whose bins share the threshold's numbers fall to either side.
    assert worth(np.array([chosen]), amiss=2.5)[0] >= best - 0.05


def test_the_threshold_lies_in_the_middle_of_a_gap() -> None:
    logits = np.array([[0, -6], [0, -5], [0, 3], [0, 4]], np.float32)
    threshold = performance.operating_point(performance.count(logits, np.array([0, 0, 1, 1])), "youden")
    assert threshold == pytest.approx(-1.0, abs=0.05)


def test_a_class_without_cases_leaves_the_figure_undefined_and_breaks_nothing() -> None:
    logits, _ = outcomes(1, 10, 2)
    counts = performance.count(logits, np.zeros(10, np.int64))
    assert performance.auc_of_counts(counts) is None
    assert performance.operating_point(counts, "youden") == 0.0
    found = performance.score(logits, np.zeros(10, np.int64), 0.0)
    assert found.auc is None
    assert found.sensitivity is None
    assert found.specificity is not None


def test_no_cases_at_all_are_no_error() -> None:
    empty = np.zeros((0, 3), np.float32), np.zeros(0, np.int64)
    assert performance.score(*empty, None).n == 0
    assert performance.summary_of_counts(performance.count(*empty)) == {
        "n": 0.0,
        "loss": None,
        "accuracy": None,
        "auc": None,
        "auc_within": None,
    }


def test_three_classes_are_judged_one_against_the_rest() -> None:
    logits, labels = outcomes(3, 300, 3)
    found = performance.score(logits, labels, None)
    assert found.threshold is None
    assert found.accuracy == pytest.approx((logits.argmax(axis=1) == labels).mean())
    assert found.sensitivity == pytest.approx(np.mean([(logits.argmax(1) == c)[labels == c].mean() for c in range(3)]))

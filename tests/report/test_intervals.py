"""Intervals cover what they should, and are what a bootstrap and SciPy give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from common.metrics import intervals, performance
from common.metrics.class_figures import ScoreTable
from common.metrics.score import FIGURES


def cases(seed: int, negatives: int, positives: int, apart: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds and labels of two normal classes."""
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [negatives, positives])
    return random.normal(size=len(labels)) + apart * labels, labels


def counted(margin: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    return performance.count(np.stack([np.zeros_like(margin), margin], axis=1), labels)


def delong(margin: np.ndarray, labels: np.ndarray) -> intervals.Interval | None:
    table = ScoreTable.of_cases(margin, labels == 1)
    return intervals.auc_of_histogram(table.outside, table.inside)


@given(st.integers(1, 500), st.data())
def test_a_proportions_interval_is_scipys(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert intervals.proportion(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("negatives", "positives", "apart"), [(120, 80, 1.2), (60, 200, 0.6), (150, 50, 2.0)])
def test_the_intervals_of_an_auc_are_those_of_a_bootstrap(negatives: int, positives: int, apart: float) -> None:
    margin, labels = cases(3, negatives, positives, apart)
    random, areas = np.random.default_rng(1), []
    for _ in range(1000):
        some = np.concatenate([random.choice(np.flatnonzero(labels == c), (labels == c).sum()) for c in (0, 1)])
        areas.append(performance.exact_auc(margin[some], labels[some] == 1))
    bootstrap = np.quantile(np.array(areas, float), [0.025, 0.975])
    of_sides = delong(margin, labels)
    newcombe = intervals.auc(roc_auc_score(labels, margin), positives, negatives)
    print(f"bootstrap {bootstrap}, DeLong {of_sides}, Newcombe {newcombe}")
    assert of_sides == pytest.approx(bootstrap, abs=0.012)
    assert newcombe == pytest.approx(bootstrap, abs=0.025)


@pytest.mark.parametrize("of_histogram", [True, False])
def test_an_aucs_interval_covers_the_truth_as_often_as_it_says(of_histogram: bool) -> None:
    truth, covered = 0.8018, 0  # the normal distribution function at 1.2 / √2
    for seed in range(400):
        margin, labels = cases(seed, 40, 25)
        found = delong(margin, labels) if of_histogram else intervals.auc(roc_auc_score(labels, margin), 25, 40)
        assert found
        covered += found[0] <= truth <= found[1]
    assert 0.92 <= covered / 400 <= 0.985


def test_summed_histograms_give_scikit_learns_auc_of_pooled_scores() -> None:
    sites = [cases(seed, 30 + 20 * seed, 60) for seed in range(5)]
    summed = {name: sum(counted(*site)[name] for site in sites) for name in counted(*sites[0])}
    pooled = roc_auc_score(np.concatenate([y for _, y in sites]), np.concatenate([m for m, _ in sites]))
    difference = abs(performance.auc_of_counts(summed) - pooled)
    print(f"summed AUC differs from pooled scores' by {difference:.6f}")
    assert difference < 1e-3


@pytest.mark.parametrize("area", [0.0, 1.0])
def test_few_cases_told_apart_without_fault_are_no_certainty(area: float) -> None:
    bins = [np.array([4.0, 0.0]), np.array([0.0, 4.0])]
    low, high = intervals.auc_of_histogram(*(bins if area else reversed(bins))) or (9.0, 9.0)
    assert (high == pytest.approx(1.0) and low < 0.8) if area else (low == pytest.approx(0.0) and high > 0.2)


def test_a_class_without_cases_leaves_the_interval_undefined() -> None:
    assert intervals.proportion(0, 0) is None
    assert intervals.auc(0.5, 0, 3) is None
    assert intervals.auc_of_histogram(np.zeros(4), np.ones(4)) is None
    one_class = np.array([0, 0, 0])
    found = performance.score(np.zeros((3, 2)), one_class, 0.0)
    assert found.intervals.keys() == {"accuracy", "balanced_accuracy", "brier", "specificity"}


def test_several_classes_have_intervals_that_hold_their_means() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 200)
    found = performance.score(random.normal(size=(200, 3)) + np.eye(3)[labels], labels, None)
    assert found.intervals.keys() == set(FIGURES) - {"log_loss", "ece"}
    for name, (low, high) in found.intervals.items():
        assert low < getattr(found, name) < high, name

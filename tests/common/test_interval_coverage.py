"""How often the 95 % interval to a summed AUC holds the truth, on scores of which the truth is known."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.metrics import intervals, performance, score_bins
from common.metrics.class_figures import ScoreTable

NORMAL = {1.0: 0.7602, 2.5: 0.9615}
"""AUC of two normal distributions of deviation 1 that lie so far apart: Φ(d / √2)."""


def counted(margins: np.ndarray, labels: np.ndarray, sites: int = 1) -> np.ndarray:
    """The histogram summed over sites."""
    logits = np.stack([np.zeros_like(margins), margins], axis=1)
    parts = np.array_split(np.arange(len(labels)), sites)
    found: np.ndarray = sum(performance.count(logits[p], labels[p])["histogram"][0] for p in parts)  # type: ignore[assignment]
    return found


def auc_interval(histogram: np.ndarray) -> intervals.Interval | None:
    return intervals.auc_of_histogram(*score_bins.rows(histogram).counts)


@pytest.mark.parametrize(("negatives", "positives"), [(1000, 2), (2500, 5), (30, 30), (10, 10), (300, 100)])
@pytest.mark.parametrize("apart", sorted(NORMAL))
def test_the_truth_is_in_the_interval_nineteen_times_in_twenty(apart: float, negatives: int, positives: int) -> None:
    random, draws, held = np.random.default_rng(positives), 600, 0
    labels = np.repeat([0, 1], [negatives, positives])
    for _ in range(draws):
        table = ScoreTable.of_cases(random.normal(size=len(labels)) + apart * labels, labels == 1)
        found = intervals.auc_of_histogram(table.outside, table.inside)
        assert found is not None
        held += found[0] <= NORMAL[apart] <= found[1]
    assert held / draws >= 0.925  # nearly three standard errors of 600 draws below 0.95


@pytest.mark.parametrize(
    "draw",
    [
        lambda r, y: np.zeros(len(y)),
        lambda r, y: 6.0 * y - 3,
        lambda r, y: 3 - 6.0 * y,
        lambda r, y: np.round(r.normal(size=len(y)) + y),
        lambda r, y: 1e6 * (r.normal(size=len(y)) + y),
        lambda r, y: 1e-9 * (r.normal(size=len(y)) + y),
        lambda r, y: r.standard_cauchy(len(y)) + y,
        lambda r, y: np.where(np.arange(len(y)) == 0, 9.0, 4.0 * y),
    ],
    ids=["equal", "apart", "upside down", "ties", "large", "small", "heavy tails", "one amiss"],
)
def test_the_interval_holds_its_own_figure_whatever_the_scores(
    draw: Callable[[np.random.Generator, np.ndarray], np.ndarray],
) -> None:
    random = np.random.default_rng(3)
    for labels in (np.array([0, 1]), np.repeat([0, 1], [1000, 2]), np.repeat([0, 1], [3, 2000]), np.repeat([0, 1], 40)):
        histogram = counted(draw(random, labels), labels, sites=3)
        area = performance.auc_of_counts({"histogram": histogram[None]})
        low, high = auc_interval(histogram) or (np.nan, np.nan)
        assert area is not None
        assert 0 <= low <= area <= high <= 1


@pytest.mark.parametrize("missing", [0, 1])
def test_without_a_class_there_is_no_interval(missing: int) -> None:
    assert auc_interval(counted(np.arange(5.0), np.full(5, missing))) is None


def test_a_summed_auc_is_that_of_pooled_scores() -> None:
    random = np.random.default_rng(8)
    for positives, spread in ((1500, 1.0), (1500, 4.0), (300, 2.0), (60, 1.0), (1500, 0.3)):
        labels = np.repeat([0, 1], [3000 - positives, positives])
        order = random.permutation(3000)
        margins, labels = (spread * (random.normal(size=3000) + labels))[order], labels[order]
        area = performance.auc_of_counts({"histogram": counted(margins, labels, sites=6)[None]})
        assert area == pytest.approx(roc_auc_score(labels, margins), abs=1e-3)

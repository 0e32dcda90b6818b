"""Figures and intervals where cases are few, alike, far apart or of one class."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.metrics import calibration, intervals, performance
from common.metrics.class_figures import ScoreTable
from server.results import outcome_counts

FEW = [(180, 20), (1980, 20), (45, 5), (25, 25)]


def logits(margin: np.ndarray) -> np.ndarray:
    return np.stack([-margin / 2, margin / 2], axis=1)


@pytest.mark.parametrize(("negatives", "positives"), FEW)
@pytest.mark.parametrize("uneven", [False, True])
def test_an_interval_holds_the_truth_where_one_class_has_few_cases(
    negatives: int, positives: int, uneven: bool
) -> None:
    """Of exponential scores, whose log has a long tail, the AUC is 20 / 21; of the others it is 0.9214."""
    random, labels, held, truth = np.random.default_rng(4), np.repeat([0, 1], [negatives, positives]), 0, 0.9214
    for _ in range(300):
        margin = random.normal(size=len(labels)) + 2 * labels
        if uneven:
            margin, truth = np.log(random.exponential(size=len(labels)) * np.where(labels, 20, 1)), 20 / 21
        table = ScoreTable.of_cases(margin, labels == 1)
        found = intervals.auc_of_histogram(table.outside, table.inside)
        assert found
        held += found[0] <= truth <= found[1]
    assert held / 300 >= 0.93


ODD = {
    "1 in 500": (np.random.default_rng(1).normal(size=20000) - 6, np.arange(20000) % 500 == 7),
    "ties": (np.arange(60) % 3 - 1.0, np.arange(60) % 4 == 0),
    "told apart": (np.repeat([-0.1, 0.1], 30), np.repeat([False, True], 30)),
    "the wrong way round": (np.repeat([9.0, -9.0], 30), np.repeat([False, True], 30)),
    "one class": (np.arange(9.0), np.zeros(9, bool)),
    "two cases": (np.array([0.2, -0.2]), np.array([True, False])),
    "all alike": (np.zeros(40), np.arange(40) % 2 == 0),
    "huge": (np.linspace(-1e38, 1e38, 40), np.arange(40) > 15),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_scores_give_figures_without_nan(name: str) -> None:
    margin, positive = ODD[name]
    given, labels = logits(margin).astype(np.float32), positive.astype(np.int64)
    counted = performance.count(given, labels)
    threshold = performance.operating_point(counted, "youden")
    for told in (outcome_counts.of_cases(given, labels, threshold), outcome_counts.of_sum(counted, threshold)):
        json.dumps(told, allow_nan=False)
    filled = outcome_counts.of_sum(counted, threshold)["classes"][0]["histogram"]
    slope, intercept = calibration.fitted(
        *(calibration.dense(filled["bins"], filled[s]) for s in ("outside", "inside"))
    )
    assert np.isfinite([slope, intercept]).all()
    if name != "huge" and len(set(labels)) == 2:
        assert performance.auc_of_counts(counted) == pytest.approx(roc_auc_score(labels, margin), abs=1e-3)


@pytest.mark.parametrize("spread", [0.001, 1.0, 40.0])
def test_an_exact_auc_lies_in_its_interval_however_small_or_large_its_scores(spread: float) -> None:
    random, labels = np.random.default_rng(2), np.arange(400) % 2
    told = outcome_counts.of_cases(logits(spread * (random.normal(size=400) + 2 * labels)), labels, 0.0)["figures"]
    low, high = told["auc_interval"]
    assert low < told["auc"] < high
    assert high - low < 0.1


@pytest.mark.parametrize("spread", [1, 40, 1000])
def test_of_three_classes_confident_scores_are_told_apart(spread: int) -> None:
    random, labels = np.random.default_rng(3), np.arange(600) % 3
    given = (spread * (random.normal(size=(600, 3)) + 2 * np.eye(3)[labels])).astype(np.float32)
    wide = given.astype(np.float64)
    rest = [np.logaddexp(wide[:, (c + 1) % 3], wide[:, (c + 2) % 3]) for c in range(3)]
    expected = np.mean([roc_auc_score(labels == c, wide[:, c] - rest[c]) for c in range(3)])
    assert performance.score(given, labels, None).auc == pytest.approx(expected, abs=1e-12)

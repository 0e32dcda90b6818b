"""Two models on the same cases: the difference of their AUCs with a 95 % interval, by a bootstrap over patients.

The draws are studentised: each is measured in its own standard error (DeLong's, Biometrics 1988; of patients with
several images, Obuchowski's, Biometrics 1997), and the interval reaches to either side as 95 in a hundred draws do (the
symmetric bootstrap-t: Hall, Journal of the Royal Statistical Society B 1988), times REACH, and as the normal
distribution says at least. A plain percentile interval is too narrow for few cases: benchmarks/paired_intervals.py
counts how often each holds the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.metrics import intervals, performance
from common.metrics.intervals import Interval
from common.types import UNKNOWN, Labels

DRAWS = 1000
REACH = 0.94
"""Of a few cases a draw has fewer still that differ, so that its standard error is too small and it lies too far out:
with 30 cases and two models that are as good whole draws held the truth 974 times in a thousand, with this 969; and of
two that are nearly perfect, where it is the draws that keep the interval wide enough, 935 and 932 times."""
MOST = 20_000
"""Patients from which on draws tell nothing that the standard error does not."""
AT_ONCE = 2_000_000
"""Numbers that a piece of the draws may hold."""

Floats = NDArray[np.float64]
Task = tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]
"""Of one scored class: log-odds of the cases that know it, which of them are of the class, their places."""


@dataclass(frozen=True)
class Difference:
    """How much larger the second model's AUC is."""

    auc: float
    variance: float
    draws: Floats
    """Differences of the draws, float64[DRAWS]; empty where none were made."""
    variances: Floats
    """Each draw's own."""
    slack: float
    """Where the variance is 0 although the models differ: how far either end may be off."""

    @property
    def interval(self) -> Interval:
        """95 %."""
        if not self.variance:
            return self.auc - self.slack, self.auc + self.slack
        half = sqrt(self.variance) * _reach(self)
        return max(-1.0, self.auc - half), min(1.0, self.auc + half)


def difference(
    first: NDArray[Any], second: NDArray[Any], labels: Labels, people: NDArray[np.int64] | None = None, seed: int = 1
) -> Difference | None:
    """How much larger the AUC of `second` is than that of `first`: logits float[n, k] each of the same cases.

    Args:
        people: whom each case shows, int64[n]; none: each counts by itself.

    Returns:
        Of several classes or findings of the mean; None where no class has two cases inside and outside.
    """
    pairs = [
        (a, b)
        for a, b in zip(_tasks(first, labels), _tasks(second, labels), strict=True)
        if 1 < a[1].sum() < len(a[1]) - 1
    ]
    if not pairs:
        return None
    person, owner = _people(labels, people)
    whole = np.ones((1, len(person)))
    area, variance = _estimate(pairs, whole, owner)
    slack = 0.0
    if not variance[0] and any(not np.array_equal(_ranks(a[0]), _ranks(b[0])) for a, b in pairs):
        slack = max(1 - (intervals.auc(1.0, a[1].sum(), (~a[1]).sum()) or (0.0, 1.0))[0] for a, _ in pairs)
    draws, variances = np.zeros(0), np.zeros(0)
    if variance[0] and len(person) <= MOST:
        rng = np.random.default_rng(seed)
        step = max(1, AT_ONCE // len(labels))
        pieces = [
            _estimate(pairs, _times(rng, person, min(step, DRAWS - start)), owner) for start in range(0, DRAWS, step)
        ]
        draws, variances = (np.concatenate(side) for side in zip(*pieces, strict=True))
    return Difference(float(area[0]), float(variance[0]), draws, variances, slack)


def mean_of(differences: Sequence[Difference]) -> Difference:
    """The mean over sites, whose cases differ."""
    n = len(differences)
    draws, variances = np.zeros(0), np.zeros(0)
    if any(len(d.draws) for d in differences):
        draws = np.sum([d.draws if len(d.draws) else np.full(DRAWS, d.auc) for d in differences], axis=0) / n
        variances = np.sum([d.variances if len(d.draws) else np.zeros(DRAWS) for d in differences], axis=0) / n**2
    slack = sqrt(sum(d.slack**2 for d in differences)) / n
    mean, variance = sum(d.auc for d in differences) / n, sum(d.variance for d in differences) / n**2
    return Difference(mean, variance, draws, variances, slack)


def variance_of_auc(logits: NDArray[Any], labels: Labels, people: NDArray[np.int64]) -> float:
    """Obuchowski's variance of an AUC over patients with several images; of several classes, of their mean."""
    tasks = [task for task in _tasks(logits, labels) if 1 < task[1].sum() < len(task[1]) - 1]
    if not tasks:
        return 0.0
    person, owner = _people(labels, people)
    return float(_estimate([(None, task) for task in tasks], np.ones((1, len(person))), owner)[1][0])


def _reach(of: Difference) -> float:
    """How many standard errors to either side hold 95 in a hundred draws; the normal distribution's at least."""
    if not len(of.draws):
        return intervals.Z
    there = of.variances > 1e-12 * of.variance
    distances = np.abs(of.draws[there] - of.auc) / np.sqrt(of.variances[there])
    return max(intervals.Z, REACH * float(np.quantile(distances, 0.95))) if there.any() else intervals.Z


def _tasks(logits: NDArray[Any], labels: Labels) -> list[Task]:
    if labels.ndim == 2:
        places = [np.flatnonzero(labels[:, j] != UNKNOWN) for j in range(labels.shape[1])]
        return [(np.asarray(logits, np.float64)[here, j], labels[here, j] == 1, here) for j, here in enumerate(places)]
    margins, every = performance.margins(logits), np.arange(len(labels))
    classes = range(logits.shape[1]) if logits.shape[1] > 2 else [1]
    return [(margins[:, j], labels == c, every) for j, c in enumerate(classes)]


def _people(labels: Labels, people: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each person the stratum for draws, its highest class or whether it has a finding; of each case whose it is."""
    owner = np.arange(len(labels)) if people is None else np.unique(people, return_inverse=True)[1]
    rank = labels if labels.ndim == 1 else (labels == 1).any(axis=1).astype(np.int64)
    stratum = np.zeros(owner.max() + 1, np.int64)
    np.maximum.at(stratum, owner, rank)
    return stratum, owner


def _times(rng: np.random.Generator, stratum: NDArray[np.int64], draws: int) -> Floats:
    """How often each person is drawn, within its stratum: float64[draws, people]."""
    times = np.zeros((draws, len(stratum)))
    for one in np.unique(stratum):
        here = np.flatnonzero(stratum == one)
        times[:, here] = rng.multinomial(len(here), np.full(len(here), 1 / len(here)), size=draws)
    return times


def _ranks(margin: Floats) -> NDArray[np.int64]:
    return np.unique(margin, return_inverse=True)[1]


def _estimate(
    pairs: Sequence[tuple[Task | None, Task]], times: Floats, owner: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Difference of the mean AUC and its variance for each draw, float64[draws] each."""
    areas = np.zeros(len(times))
    shares = np.zeros_like(times)  # how much each person moves the difference, all its images together
    people = np.arange(times.shape[1])
    for first, second in pairs:
        places, positive = second[2], second[1]
        weights = times[:, owner[places]]
        area, placements = _areas(second[0], positive, weights)
        if first is not None:
            before, others = _areas(first[0], positive, weights)
            area, placements = area - before, placements - others
        areas += area / len(pairs)
        for side in (positive, ~positive):
            n = weights[:, side].sum(axis=1, keepdims=True)
            factor = np.sqrt(n / np.maximum(n - 1, 1)) / np.maximum(n, 1) / len(pairs)
            moves = (placements[:, side] - area[:, None]) * factor
            whose = owner[places[side]]
            if len(np.unique(whose)) == len(whose):
                shares[:, whose] += moves
            else:
                shares += moves @ (whose[:, None] == people)
    return areas, (times * shares**2).sum(axis=1)


def _areas(margin: Floats, positive: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """AUC for each draw, float64[draws], and each case's placement among the other class's, float64[draws, n]."""
    scores, of = np.unique(margin, return_inverse=True)
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(len(scores)))
    by_score = [np.add.reduceat((weights * side)[:, order], starts, axis=1) for side in (~positive, positive)]
    outside, inside = by_score
    negatives, positives = (np.maximum(side.sum(axis=1, keepdims=True), 1) for side in by_score)
    won = (np.cumsum(outside, axis=1) - outside / 2) / negatives
    missing = 1 - (np.cumsum(inside, axis=1) - inside / 2) / positives
    area = (inside * won).sum(axis=1) / positives[:, 0]
    return area, np.where(positive, won[:, of], missing[:, of])

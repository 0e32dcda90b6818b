"""What a score meant for validation cases: read off counts that were summed over sites, so that it can be shared.

probability   Platt's fit of a sigmoid to the counts (Platt, in Advances in Large Margin Classifiers, 2000), by Newton's
              method (Lin, Lin and Weng, Machine Learning 2007): also a distance from a boundary gets a probability
neighbours    the validation cases that were scored like this one, and how many of them were of the class
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.metrics import intervals, score_bins
from common.metrics.intervals import Interval
from common.metrics.score_bins import BINS, EDGES, MIDDLES, Floats, bin_of

NEIGHBOURS = 50
"""As many validation cases, where there are as many, as a case is compared with."""
WIDEST = 4.0
"""Log-odds to either side beyond which no case is called scored alike, however few there are."""


@dataclass(frozen=True)
class Neighbours:
    """Validation cases that were scored like one case."""

    n: int
    of_class: int
    low: float
    high: float
    """The stretch of log-odds that they come from."""

    @property
    def interval(self) -> Interval | None:
        """Wilson's 95 % interval to the share of the class among them."""
        return intervals.proportion(self.of_class, self.n)


def fitted(outside: Floats, inside: Floats) -> tuple[float, float]:
    """Slope and intercept of the sigmoid over log-odds that fits two histograms best, float64[BINS] each.

    The targets are Platt's, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), so that it stays finite where classes do not overlap.
    The slope is never negative: of a model worse than chance nothing is learned.
    """
    filled = np.flatnonzero(outside + inside)
    x, outside, inside = MIDDLES[filled], outside[filled], inside[filled]
    positives, negatives = inside.sum(), outside.sum()
    n = outside + inside
    hits = inside * (positives + 1) / (positives + 2) + outside / (negatives + 2)
    design = np.stack([x, np.ones(len(x))])
    at = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    ridge = 1e-9 * np.eye(2)

    def loss(point: Floats) -> float:
        z = point @ design
        return float((n * np.logaddexp(0, z) - hits * z).sum())

    for _ in range(100):
        p = probability(x, *at)
        step = np.linalg.solve((design * (n * p * (1 - p))) @ design.T + ridge, design @ (n * p - hits))
        length = 1.0
        while length > 1e-10 and loss(at - length * step) > loss(at):
            length /= 2
        at = at - length * step
        if np.abs(length * step).max() < 1e-10:
            break
    if at[0] < 0:
        return 0.0, float(np.log((positives + 1) / (negatives + 1)))
    return float(at[0]), float(at[1])


def probability(margins: NDArray[Any] | float, slope: float, intercept: float) -> Floats:
    """Log-odds to probability, by the sigmoid that was fitted."""
    z = np.clip(slope * np.asarray(margins, np.float64) + intercept, -60, 60)
    result: Floats = 1 / (1 + np.exp(-z))
    return result


def neighbours(margin: float, outside: Floats, inside: Floats) -> Neighbours:
    """The cases around one score: to either side so far that there are NEIGHBOURS, but not farther than WIDEST."""
    total = outside + inside
    apart = np.abs(MIDDLES - margin)
    nearest = np.argsort(apart, kind="stable")
    enough = int(np.searchsorted(np.cumsum(total[nearest]), NEIGHBOURS))
    here = apart <= min(WIDEST, apart[nearest[min(enough, BINS - 1)]])
    here[bin_of(margin)] = True
    low, high = np.flatnonzero(here)[[0, -1]]
    return Neighbours(int(total[here].sum()), int(inside[here].sum()), float(EDGES[low]), float(EDGES[high + 1]))


def dense(bins: NDArray[np.int64], counts: NDArray[np.int64], spacing: str = "asinh") -> Floats:
    """Counts by bin, of those bins that hold any, as float64[BINS].

    Args:
        spacing: of the bins; `linear` in files of release 0.2, which say none.
    """
    histogram, places = np.zeros(BINS), np.asarray(bins, np.int64)  # of a run under a budget there may be none
    np.add.at(histogram, score_bins.of_older(places) if spacing == "linear" else places, np.asarray(counts))
    return histogram

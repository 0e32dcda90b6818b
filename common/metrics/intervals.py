"""How sure a figure is: 95 % confidence intervals from counts alone, so that they can be read off sums over sites.

A proportion: Wilson's score interval (JASA 1927). An AUC whose histogram is known: DeLong's variance (Biometrics 1988),
on the log-odds scale, which keeps it within 0 and 1. An AUC of which only the numbers of cases are known: Newcombe's
method 5 (Statistics in Medicine 2006), the score interval to Hanley and McNeil's variance (Radiology 1982).
Where a class has few cases, and the histogram is known, the wider of the two at either end.
"""

from collections.abc import Sequence
from math import exp, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""Of the normal distribution, for 95 %."""
FEW = 30
"""Cases of a class below which DeLong's interval alone is too narrow."""

Interval = tuple[float, float]


def proportion(hits: float, n: float) -> Interval | None:
    """Wilson's interval to `hits` of `n`; None for no cases."""
    if n <= 0:
        return None
    rate, slack = hits / n, Z * Z / n
    middle = (rate + slack / 2) / (1 + slack)
    half = Z / (1 + slack) * sqrt(rate * (1 - rate) / n + slack / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def auc(area: float, positives: float, negatives: float) -> Interval | None:
    """Newcombe's interval to an AUC over so many cases of either class; None where a class has none."""
    if positives <= 0 or negatives <= 0:
        return None

    def excess(theta: float) -> float:
        more = (positives + negatives) / 2 - 1
        variance = 1 + more * (1 - theta) / (2 - theta) + more * theta / (1 + theta)
        return (area - theta) ** 2 - Z * Z * theta * (1 - theta) * variance / (positives * negatives)

    return _crossing(excess, area, 0.0), _crossing(excess, area, 1.0)


def auc_of_histogram(outside: NDArray[np.float64], inside: NDArray[np.float64]) -> Interval | None:
    """DeLong's interval to the AUC of two histograms over the same bins, ties within a bin counted half.

    Where a class has fewer than FEW cases it reaches as far as that of `auc` as well: with 2 to 10 in 1:500 DeLong's
    alone held the truth in 69 to 92 of a hundred draws, both together in 95 or more. Where one histogram
    lies wholly above the other DeLong's variance is 0, which nobody should believe: `auc` then.
    """
    positives, negatives = float(inside.sum()), float(outside.sum())
    if not positives or not negatives:
        return None
    area, won, missing = _placements(outside, inside)
    score = auc(area, positives, negatives)
    if score is None or positives < 2 or negatives < 2 or not 0 < area < 1:
        return score
    of_positives = float((inside * (won - area) ** 2).sum()) / (positives - 1)
    of_negatives = float((outside * (missing - area) ** 2).sum()) / (negatives - 1)
    variance = of_positives / positives + of_negatives / negatives
    if not variance:
        return score
    low, high = on_log_odds(area, variance)
    return (min(low, score[0]), max(high, score[1])) if min(positives, negatives) < FEW else (low, high)


def _placements(
    outside: NDArray[np.float64], inside: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The AUC; by bin the share of negatives that a positive there beats, and of positives that beat a negative."""
    won = (np.cumsum(outside) - outside / 2) / outside.sum()
    missing = 1 - (np.cumsum(inside) - inside / 2) / inside.sum()
    return float((inside * won).sum() / inside.sum()), won, missing


def auc_variance(outside: NDArray[np.float64], inside: NDArray[np.float64]) -> float:
    """DeLong's variance of the AUC of two histograms; where a class has few cases Hanley and McNeil's, if larger."""
    positives, negatives = float(inside.sum()), float(outside.sum())
    area, won, missing = _placements(outside, inside)
    delong = 0.0
    if positives > 1 and negatives > 1:
        delong = float((inside * (won - area) ** 2).sum()) / (positives - 1) / positives
        delong += float((outside * (missing - area) ** 2).sum()) / (negatives - 1) / negatives
    if delong and min(positives, negatives) >= FEW:
        return delong
    theta = (area * positives * negatives + 1) / (positives * negatives + 2)  # never quite 0 or 1
    more = (positives + negatives) / 2 - 1
    variance = theta * (1 - theta) * (1 + more * (1 - theta) / (2 - theta) + more * theta / (1 + theta))
    return max(delong, variance / (positives * negatives))


def average_precision(value: float | None, positives: float) -> Interval | None:
    """Boyd, Eng and Page's logit interval (ECML 2013); None where it is not defined. At 1 as of half a case less."""
    if value is None or not positives:
        return None
    value = min(max(value, 0.5 / (positives + 1)), 1 - 0.5 / (positives + 1))
    middle, half = log(value / (1 - value)), Z / sqrt(positives * value * (1 - value))
    return _logistic(middle - half), _logistic(middle + half)


def mean(value: float | None, variance: float, n: float) -> Interval | None:
    """To the mean of losses that are never below 0, by the normal distribution."""
    if value is None or n < 2:
        return None
    half = Z * sqrt(variance / (n - 1))
    return max(0.0, value - half), value + half


def all_together(intervals: Sequence[Interval | None]) -> Interval | None:
    """To the mean of figures that may all err together: the mean of either end."""
    ends = [interval for interval in intervals if interval]
    return (sum(low for low, _ in ends) / len(ends), sum(high for _, high in ends) / len(ends)) if ends else None


def mean_of_independent(values: Sequence[float], intervals: Sequence[Interval]) -> Interval | None:
    """To the mean of figures on different cases, from the interval of each (Donner and Zou's MOVER, Statistics in
    Medicine 2012)."""
    if not values or len(values) != len(intervals):
        return None
    n, middle = len(values), sum(values) / len(values)
    below = sqrt(sum((value - low) ** 2 for value, (low, _) in zip(values, intervals, strict=True))) / n
    above = sqrt(sum((high - value) ** 2 for value, (_, high) in zip(values, intervals, strict=True))) / n
    return middle - below, middle + above


def on_log_odds(area: float, variance: float) -> Interval:
    """To an AUC between 0 and 1 of which the variance is known, on the log-odds scale."""
    area = min(max(area, 1e-6), 1 - 1e-6)
    middle, half = log(area / (1 - area)), Z * sqrt(variance) / (area * (1 - area))
    return _logistic(middle - half), _logistic(middle + half)


def format_interval(value: float | None, interval: Sequence[float] | None, between: str = " ") -> str:
    """A figure between 0 and 1 with its interval: 0.947 (0.910–0.968)."""
    if value is None:
        return "–"
    return f"{value:.3f}" + (f"{between}({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")


def format_difference(value: float, interval: Sequence[float]) -> str:
    """A difference with its sign, and its interval: +0.013 (−0.045 to +0.071)."""
    mean, low, high = (f"{round(each, 3) + 0.0:+.3f}".replace("-", "−") for each in (value, *interval))
    return f"{mean} ({low} to {high})"


def _crossing(excess: Any, inner: float, outer: float) -> float:
    """Where a function that is not positive at `inner` becomes so on the way to `outer`, by bisection."""
    for _ in range(60):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if excess(middle) <= 0 else (inner, middle)
    return (inner + outer) / 2


def _logistic(x: float) -> float:
    return 1 / (1 + exp(min(-x, 700.0)))

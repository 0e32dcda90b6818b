"""Figures over sites and seeds: means, deviations, intervals."""

from collections.abc import Sequence
from typing import Any

from common.metrics import intervals, performance
from common.metrics.intervals import Interval
from common.metrics.score import Score


def over_seeds(scores: Sequence[Sequence[Score]], independent: bool = False) -> dict[str, Any]:
    """Means over a seed's scores, then mean and standard deviation over the seeds, with intervals for one seed's cases.

    Args:
        independent: the scores of a seed are on different cases, so their errors partly cancel in the mean.
    """
    figures: dict[str, Any] = {"n": scores[0][0].n}
    for figure in scores[0][0].all_figures():
        over = performance.mean_and_deviation([mean([s.all_figures()[figure] for s in seed]) for seed in scores])
        figures[figure] = over["mean"]
        if len(scores) > 1:
            figures[f"{figure}_sd"] = over["sd"]
        if ends := intervals.all_together([_interval(seed, figure, independent) for seed in scores]):
            figures[f"{figure}_interval"] = [*map(float, ends)]
    many = [[score.findings for score in seed] for seed in scores]
    if many[0][0]:
        each = range(len(many[0][0]))
        figures["findings"] = [
            over_seeds([[findings[j] for findings in seed] for seed in many], independent) for j in each
        ]
    return figures


def _interval(seed: Sequence[Score], figure: str, independent: bool) -> Interval | None:
    """To a seed's mean of a figure."""
    there = [
        (value, s.intervals[figure])
        for s in seed
        if figure in s.intervals and (value := s.all_figures()[figure]) is not None
    ]
    if not independent:
        return intervals.all_together([ends for _, ends in there])
    return intervals.mean_of_independent([value for value, _ in there], [ends for _, ends in there])


def mean(values: Sequence[float | None]) -> float | None:
    """Of what is defined; None where nothing is."""
    return performance.mean_and_deviation(list(values))["mean"]

"""Models × sites: how every model does on every site's validation cases; `cross_site` in result.json.

    {part, models, sites, cells: {model: {site: cell}}, all: {model: cell}}

A cell has n, by_class, confusion, and the figures at the model's operating point with 95 % intervals. `all` is of the
counts summed over all sites, which a federation knows also where it knows no cell.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.metrics import intervals, performance
from common.types import Tensors
from server.results import outcome_counts

FIGURES = ("auc", "accuracy", "sensitivity", "specificity")

Grid = Mapping[str, Mapping[str, Tensors]]
"""Outcomes as `metrics.count` has them, by model and site."""


def cell(told: Tensors, threshold: float | None) -> dict[str, Any]:
    """One model on one set of cases."""
    found = outcome_counts.of_sum(told, threshold)
    figures: dict[str, Any] = found["figures"]
    return {"n": found["n"], "by_class": found["by_class"], "confusion": found["confusion"]} | figures


def summed(row: Mapping[str, Tensors]) -> dict[str, np.ndarray]:
    """Outcomes of several sites, added up."""
    first, *others = row.values()
    return {name: sum((other[name] for other in others), start=np.asarray(value)) for name, value in first.items()}


def of_grids(seeds: Sequence[tuple[Grid, Mapping[str, float | None]]]) -> dict[str, Any]:
    """The matrix of a simulation, with each model's operating point: means over the seeds, with `<figure>_sd`."""
    grids = [grid for grid, _ in seeds]
    models, sites = list(grids[0]), list(next(iter(grids[0].values()), {}))
    cells = {m: {s: _over([cell(grid[m][s], points[m]) for grid, points in seeds]) for s in sites} for m in models}
    every = {m: _over([cell(summed(grid[m]), points[m]) for grid, points in seeds]) for m in models}
    return {"part": "validation", "models": models, "sites": sites, "cells": cells, "all": every}


def _over(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A cell over the seeds: the first one's counts, mean figures, intervals for the cases of one seed."""
    if len(found) == 1:
        return found[0]
    told: dict[str, Any] = {"n": found[0]["n"], "by_class": found[0]["by_class"]}
    for figure in FIGURES:
        over = performance.mean_and_deviation([one[figure] for one in found])
        told |= {figure: over["mean"], f"{figure}_sd": over["sd"]}
    return told | intervals.of_figures(told, told["by_class"])

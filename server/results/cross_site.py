"""Models × sites: how every model does on every site's validation cases; `cross_site` in result.json.

    {part, models, sites, cells: {model: {site: cell}}, all: {model: cell}}

A cell has n, by_class, confusion, and the figures at the model's operating point with 95 % intervals. `all` is of the
counts summed over all sites, which a federation knows also where it knows no cell.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.metrics import class_figures, intervals, performance
from common.metrics.performance import Threshold
from common.types import Tensors
from server.results import outcome_counts

MOST_SITES = 50
"""With more sites, of a simulation the models alone that all sites share: cells would grow with the square of them."""
Grid = Mapping[str, Mapping[str, Tensors]]
"""Outcomes as `metrics.count` has them, by model and site."""


def cell(counts: Tensors, threshold: Threshold) -> dict[str, Any]:
    """One model on one set of cases."""
    outcome = outcome_counts.of_sum(counts, threshold)
    figures: dict[str, Any] = outcome["figures"]
    parts = {name: outcome[name] for name in ("n", "by_class", "confusion")}
    if not performance.are_findings(counts):
        return parts | figures
    each = [{"n": one["n"], "by_class": one["by_class"]} | one["figures"] for one in outcome["classes"]]
    return parts | figures | {"findings": each}


def summed(row: Mapping[str, Tensors]) -> dict[str, np.ndarray]:
    """Outcomes of several sites, added up."""
    first, *others = row.values()
    return {name: sum((other[name] for other in others), start=np.asarray(value)) for name, value in first.items()}


def of_grids(seeds: Sequence[tuple[Grid, Mapping[str, Threshold]]]) -> dict[str, Any]:
    """The matrix of a simulation, with each model's operating point: means over the seeds, with `<figure>_sd`."""
    grids = [grid for grid, _ in seeds]
    models, sites = list(grids[0]), list(next(iter(grids[0].values()), {}))
    cells = {m: {s: _over([cell(grid[m][s], points[m]) for grid, points in seeds]) for s in sites} for m in models}
    every = {m: _over([cell(summed(grid[m]), points[m]) for grid, points in seeds]) for m in models}
    return {"part": "validation", "models": models, "sites": sites, "cells": cells, "all": every}


def _over(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A cell over the seeds: the first one's counts, mean figures, intervals for the cases of one seed."""
    if len(cells) == 1:
        return cells[0]
    mean: dict[str, Any] = {"n": cells[0]["n"], "by_class": cells[0]["by_class"]}
    for figure in (*class_figures.RANKED, *class_figures.DECIDED):
        over = performance.mean_and_deviation([one[figure] for one in cells])
        mean |= {figure: over["mean"], f"{figure}_sd": over["sd"]}
        if ends := intervals.all_together([one.get(f"{figure}_interval") for one in cells]):
            mean[f"{figure}_interval"] = list(ends)
    if "findings" not in cells[0]:
        return mean
    each = range(len(cells[0]["findings"]))
    return mean | {"findings": [_over([cell["findings"][j] for cell in cells]) for j in each]}

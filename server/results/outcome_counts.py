"""How a model's counted outcomes stand in result.json: what ROC, calibration and confusion are drawn from.

One set of cases is {n, by_class, confusion, figures, classes}: the confusion counts at the operating point (a row a
true class, a column a predicted one), all figures with intervals, and for every scored class its histogram of log-odds
(the bins that hold a case), ROC, calibration and decision curve. A sum over sites has `within_sites` beside: the mean
of the sites' own AUCs. For two classes the second alone is scored. Of
several findings each is such two classes over the cases that know it, with n, by_class, confusion and figures of its
own under `classes`; `by_class` outside counts the cases that have it, and `figures` are means.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.metrics import class_figures, intervals, performance, plugin_metric
from common.metrics.class_figures import ScoreTable
from common.metrics.performance import Floats, Threshold
from common.metrics.score_bins import BINS, bin_of
from common.plugins import Part
from common.types import Labels, Tensors

POINTS = 2000
"""Of a ROC curve, more than anybody can see."""


def of_cases(logits: NDArray[Any], labels: Labels, threshold: Threshold) -> dict[str, Any]:
    """Of cases in one place: confusion counts and AUC with its interval are exact, as `metrics.score`."""
    if labels.ndim == 2:
        points = threshold if isinstance(threshold, tuple) else (0.0,) * labels.shape[1]
        parts = [performance.of_finding(logits, labels, j) for j in range(labels.shape[1])]
        return _of_findings(len(labels), [of_cases(*part, point) for part, point in zip(parts, points, strict=True)])
    margins = performance.margins(logits)
    confusion = performance.confusion_of(logits, labels, threshold if isinstance(threshold, float) else None)
    classes = range(logits.shape[1]) if logits.shape[1] > 2 else [1]
    tables = [ScoreTable.of_cases(margins[:, j], labels == c) for j, c in enumerate(classes)]
    return _outcome(len(labels), confusion, tables)


def of_sum(counts: Tensors, threshold: Threshold, metrics: Sequence[Part] = ()) -> dict[str, Any]:
    """Of counts summed over sites: with a threshold the confusion is read off the histogram, right to a bin's width.

    Args:
        metrics: of plug-ins, which see the confusion at the threshold.
    """
    outcome = _of_sum(counts, threshold)
    confusion = np.array(outcome["confusion"], np.float64)
    correct = np.trace(confusion, axis1=-2, axis2=-1).reshape(counts["correct"].shape)
    at_point = dict(counts) | {"confusion": confusion, "correct": correct}
    outcome["figures"] |= plugin_metric.figures(metrics, at_point)
    return outcome


def _of_sum(counts: Tensors, threshold: Threshold) -> dict[str, Any]:
    histograms = counts["histogram"]
    if performance.are_findings(counts):
        points = threshold if isinstance(threshold, tuple) else (0.0,) * len(histograms)
        within = counts.get("within", np.zeros((len(histograms), 3)))
        parts = [{"n": h[:, 0].sum(keepdims=True).reshape(1), "confusion": c, "histogram": h[None], "within": w[None]}
                 for c, h, w in zip(counts["confusion"], histograms, within, strict=True)]  # fmt: skip
        each = [_of_sum(part, point) for part, point in zip(parts, points, strict=True)]
        return _of_findings(int(counts["n"][0]), each) | _within(counts)
    tables = [ScoreTable.of_histogram(histogram) for histogram in histograms]
    confusion = _confusion(tables[0], threshold) if isinstance(threshold, float) else counts["confusion"]
    return _outcome(int(counts["n"][0]), confusion, tables) | _within(counts)


def _within(counts: Tensors) -> dict[str, Any]:
    """The mean of the sites' own AUCs, where the sum has it."""
    within = performance.within_sites(counts)
    return {"within_sites": within} if within else {}


def _of_findings(n: int, each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of several findings: their means, and each as two classes over the cases that know it."""
    parts = ("n", "by_class", "confusion", "figures")
    classes = [one["classes"][0] | {"class": j} | {name: one[name] for name in parts} for j, one in enumerate(each)]
    of_each = [one["figures"] for one in each if one["n"]]
    figures: dict[str, Any] = {}
    for name in (*class_figures.RANKED, *class_figures.DECIDED):
        figures[name] = class_figures.mean_of_defined([f[name] for f in of_each])
        if ends := intervals.all_together([f.get(f"{name}_interval") for f in of_each]):
            figures[f"{name}_interval"] = list(ends)
    confusion, present = [one["confusion"] for one in each], [one["by_class"][1] for one in each]
    return {"n": n, "by_class": present, "confusion": confusion, "figures": figures, "classes": classes}


def _outcome(n: int, confusion: Floats, tables: Sequence[ScoreTable]) -> dict[str, Any]:
    by_class = confusion.sum(axis=1)
    scored = range(len(by_class)) if len(by_class) > 2 else [1]
    figures = class_figures.of_classes(tables) | class_figures.from_confusion(confusion)
    return {
        "n": n,
        "by_class": by_class.astype(int).tolist(),
        "confusion": confusion.astype(int).tolist(),
        "figures": class_figures.with_intervals(figures, class_figures.interval_of_each(tables, confusion)),
        "classes": [_class(c, table) for c, table in zip(scored, tables, strict=True)],
    }


def _class(c: int, table: ScoreTable) -> dict[str, Any]:
    """One scored class."""
    sure = intervals.auc_of_histogram(table.outside, table.inside)
    ranked = class_figures.ranked(table)
    tenths = [
        tenth | {"n": int(tenth["n"]), "interval": intervals.proportion(tenth["observed"] * tenth["n"], tenth["n"])}
        for tenth in class_figures.tenths(table)
    ]
    return {
        "class": c, "auc": ranked["auc"], "auc_interval": sure, "auprc": ranked["auprc"], "brier": ranked["brier"],
        "ece": ranked["ece"], "roc": _roc(table), "calibration": tenths,
        "decision": class_figures.decision_curve(table), "histogram": _filled(table),
    }  # fmt: skip


def _confusion(table: ScoreTable, threshold: float) -> Floats:
    sides = np.stack([table.outside, table.inside])
    above: Floats = sides[:, table.scores > threshold].sum(axis=1)
    return np.stack([sides.sum(axis=1) - above, above], axis=1)


def _roc(table: ScoreTable) -> list[dict[str, Any]]:
    """Points from the strictest threshold to the laxest, where there is a case, POINTS or a few more at most; empty if
    undefined."""
    negatives, positives = table.outside.sum(), table.inside.sum()
    if not negatives or not positives:
        return []
    every = max(1, len(table.scores) // POINTS)
    falls, hits = (
        np.append(np.concatenate([[0.0], np.cumsum(side[::-1])])[:-1:every], side.sum())
        for side in (table.outside, table.inside)
    )
    return [
        {"false": f / negatives, "true": h / positives, "interval": intervals.proportion(h, positives)}
        for f, h in zip(falls.tolist(), hits.tolist(), strict=True)
    ]


def _filled(table: ScoreTable) -> dict[str, Any]:
    """The bins that hold a case, and their counts."""
    at = bin_of(table.scores)
    outside, inside = (np.bincount(at, side, BINS).astype(int) for side in (table.outside, table.inside))
    bins = np.flatnonzero(outside + inside)
    return {
        "spacing": "asinh",
        "bins": bins.tolist(),
        "outside": outside[bins].tolist(),
        "inside": inside[bins].tolist(),
    }

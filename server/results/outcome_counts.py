"""How a model's counted outcomes stand in result.json: what ROC, calibration and confusion are drawn from.

One set of cases is {n, by_class, confusion, figures, classes}: the confusion counts at the operating point (a row a
true class, a column a predicted one) with the figures that follow, and for every scored class its histogram of log-odds
(the bins that hold a case), AUC, ROC and calibration with intervals. For two classes the second alone is scored. Of
several findings each is such two classes over the cases that know it, with n, by_class, confusion and figures of its
own under `classes`; `by_class` outside counts the cases that have it, and `figures` are means.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.metrics import intervals, performance
from common.metrics.intervals import Interval
from common.metrics.performance import BINS, MARGIN_LIMIT, Floats, Threshold
from common.types import Labels, Tensors

DECILES = 10
"""Bins of predicted probability, of the same width, that calibration is shown in."""


def of_cases(logits: NDArray[Any], labels: Labels, threshold: Threshold) -> dict[str, Any]:
    """Of cases in one place: confusion counts and AUC with its interval are exact, as `metrics.score`."""
    if labels.ndim == 2:
        points = threshold if isinstance(threshold, tuple) else (0.0,) * labels.shape[1]
        parts = [performance.of_finding(logits, labels, j) for j in range(labels.shape[1])]
        return _of_findings(len(labels), [of_cases(*part, point) for part, point in zip(parts, points, strict=True)])
    counts, margins = dict(performance.count(logits, labels)), performance.margins(logits)
    if isinstance(threshold, float) and logits.shape[1] == 2:
        counts["confusion"] = np.zeros((2, 2))
        np.add.at(counts["confusion"], (labels, (margins[:, 0] > threshold).astype(np.int64)), 1.0)
    classes = range(logits.shape[1]) if logits.shape[1] > 2 else [1]
    areas = [performance.exact_auc(margins[:, j], labels == c) for j, c in enumerate(classes)]
    sure = [intervals.auc_of_histogram(*_by_score(margins[:, j], labels == c)) for j, c in enumerate(classes)]
    return _outcome(counts["n"], counts["confusion"], counts["histogram"], areas, sure)


def of_sum(counts: Tensors, threshold: Threshold) -> dict[str, Any]:
    """Of counts summed over sites: with a threshold the confusion is read off the histogram, right to a bin's width."""
    histograms = counts["histogram"]
    if performance.are_findings(counts):
        points = threshold if isinstance(threshold, tuple) else (0.0,) * len(histograms)
        parts = [{"n": h.sum(keepdims=True).reshape(1), "confusion": c, "histogram": h[None]}
                 for c, h in zip(counts["confusion"], histograms, strict=True)]  # fmt: skip
        each = [of_sum(part, point) for part, point in zip(parts, points, strict=True)]
        return _of_findings(int(counts["n"][0]), each)
    confusion = _confusion(histograms[0], threshold) if isinstance(threshold, float) else counts["confusion"]
    areas = [performance.auc_of_counts({"histogram": histogram[None]}) for histogram in histograms]
    sure = [intervals.auc_of_histogram(*histogram) for histogram in histograms]
    return _outcome(counts["n"], confusion, histograms, areas, sure)


def _of_findings(n: int, each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of several findings: their means, and each as two classes over the cases that know it."""
    parts = ("n", "by_class", "confusion", "figures")
    classes = [one["classes"][0] | {"class": j} | {name: one[name] for name in parts} for j, one in enumerate(each)]
    of_each = [one["figures"] for one in each if one["n"]]
    names = ("auc", "accuracy", "sensitivity", "specificity")
    figures = {name: performance.mean_and_deviation([f[name] for f in of_each])["mean"] for name in names}
    confusion, present = [one["confusion"] for one in each], [one["by_class"][1] for one in each]
    return {"n": n, "by_class": present, "confusion": confusion, "figures": figures, "classes": classes}


def with_intervals(score: dict[str, Any], cases: Sequence[int]) -> dict[str, Any]:
    """A score's figures, with intervals by the numbers of its cases of every class; a mean over findings has none."""
    if "findings" in score:
        return score
    return score | intervals.of_figures(score, cases)


def _by_score(margin: Floats, inside: NDArray[np.bool_]) -> Floats:
    """A histogram with a bin for every score that occurs, rising: cases outside the class, and inside."""
    scores, of = np.unique(margin, return_inverse=True)
    return np.stack([np.bincount(of[side], minlength=len(scores)) for side in (~inside, inside)]).astype(np.float64)


def _outcome(
    n: Floats, confusion: Floats, histograms: Floats, areas: Sequence[float | None], sure: Sequence[Interval | None]
) -> dict[str, Any]:
    by_class = confusion.sum(axis=1)
    scored = range(len(by_class)) if len(by_class) > 2 else [1]
    classes: list[dict[str, Any]] = [
        {"class": c, "auc": area, "auc_interval": interval, "roc": _roc(histogram),
         "calibration": _calibration(histogram), "histogram": _filled(histogram)}
        for c, area, interval, histogram in zip(scored, areas, sure, histograms, strict=True)
    ]  # fmt: skip
    figure_intervals = intervals.of_figures(figures := _figures(confusion, areas), by_class.tolist())
    if len(by_class) == 2:
        figure_intervals["auc_interval"] = classes[0]["auc_interval"]
    return {
        "n": int(n[0]),
        "by_class": by_class.astype(int).tolist(),
        "confusion": confusion.astype(int).tolist(),
        "figures": figures | figure_intervals,
        "classes": classes,
    }


def _figures(confusion: Floats, areas: Sequence[float | None]) -> dict[str, float | None]:
    """AUC, accuracy, sensitivity and specificity; means over classes where there are more than two."""
    n, defined_areas = confusion.sum(), [a for a in areas if a is not None]
    hits = np.diag(confusion)
    of, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    scored = slice(1, None) if len(of) == 2 else slice(None)
    with np.errstate(invalid="ignore"):
        sensitivity, specificity = hits / of, (n - of - predicted + hits) / (n - of)
    return {
        "auc": float(np.mean(defined_areas)) if defined_areas else None,
        "accuracy": float(hits.sum() / n) if n else None,
        "sensitivity": _mean_of_known(sensitivity[scored]),
        "specificity": _mean_of_known(specificity[scored]),
    }


def _mean_of_known(rates: Floats) -> float | None:
    defined = rates[np.isfinite(rates)]
    return float(defined.mean()) if len(defined) else None


def _confusion(histogram: Floats, threshold: float) -> Floats:
    edges = np.linspace(-MARGIN_LIMIT, MARGIN_LIMIT, BINS + 1)[:-1]
    above: Floats = histogram[:, edges >= threshold].sum(axis=1)
    return np.stack([histogram.sum(axis=1) - above, above], axis=1)


def _roc(histogram: Floats) -> list[dict[str, Any]]:
    """Points from the strictest threshold to the laxest, one for every bin that holds a case; empty if undefined."""
    out, into = histogram
    if not out.sum() or not into.sum():
        return []
    bins = np.flatnonzero((out + into)[::-1] > 0)
    falls, hits = (np.concatenate([[0.0], np.cumsum(h[::-1])[bins]]) for h in (out, into))
    return [
        {"false": f / out.sum(), "true": h / into.sum(), "interval": intervals.proportion(h, into.sum())}
        for f, h in zip(falls.tolist(), hits.tolist(), strict=True)
    ]


def _calibration(histogram: Floats) -> list[dict[str, Any]]:
    """Mean predicted probability, and share of cases of the class, in each tenth that holds a case."""
    middles = (np.arange(BINS) + 0.5) * 2 * MARGIN_LIMIT / BINS - MARGIN_LIMIT
    p = 1 / (1 + np.exp(-middles))
    n, tenth = histogram.sum(axis=0), np.minimum((p * DECILES).astype(int), DECILES - 1)
    points: list[dict[str, Any]] = []
    for t in range(DECILES):
        here = tenth == t
        if cases := float(n[here].sum()):
            hits = float(histogram[1, here].sum())
            points.append({"predicted": float((p * n)[here].sum() / cases), "observed": hits / cases,
                           "interval": intervals.proportion(hits, cases), "n": int(cases)})  # fmt: skip
    return points


def _filled(histogram: Floats) -> dict[str, list[int]]:
    bins = np.flatnonzero(histogram.sum(axis=0))
    outside, inside = (h[bins].astype(int).tolist() for h in histogram)
    return {"bins": bins.tolist(), "outside": outside, "inside": inside}

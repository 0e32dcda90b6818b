"""How good a model is, as counts that add up: what a site reports is a sum, never a rate.

`count(logits, labels)` gives fixed-length vectors whose sum over sites is the count over all their cases; AUC,
log-loss and the operating point are read off the sum. Exact figures on cases in one place come from `score`.
AUC from a histogram counts ties within a bin as half (Mann & Whitney 1947); `score_bins` says what a histogram counts.
`within` adds up over sites, and not over cases: each site's own AUC, so that their mean is known where none of them is.

Of several findings an image (labels int64[n, k]) each is counted and scored as two classes, over the cases in which it
is known; what is said of all of them is the mean over findings.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from common.metrics import class_figures, intervals, score_bins
from common.metrics.class_figures import ScoreTable
from common.metrics.score import FIGURES, Score
from common.metrics.score_bins import LEVELS, WINDOW
from common.types import UNKNOWN, Labels, Tensors

Floats = NDArray[np.float64]
Rule = Literal["youden", "accuracy"] | float
"""How the operating point is chosen: best Youden index, best accuracy, or at least this sensitivity."""
Threshold = float | tuple[float, ...] | None
"""Log-odds above which a case counts as positive: of two classes; of every finding; None for more classes than two."""


def margins(logits: NDArray[Any]) -> Floats:
    """One-vs-rest log-odds of every class: float[n, k] -> float64[n, k]; [n, 1] (the second class) for two classes."""
    z = np.asarray(logits, np.float64)
    if z.shape[1] == 2:
        return z[:, 1:] - z[:, :1]
    rest = [np.logaddexp.reduce(np.delete(z, j, axis=1), axis=1) for j in range(z.shape[1])]
    margin: Floats = z - np.stack(rest, axis=1)
    return margin


def of_finding(logits: NDArray[Any], labels: Labels, j: int) -> tuple[Floats, Labels]:
    """One of several findings as two classes: logits float64[m, 2] and labels int64[m] of the cases that know it."""
    is_known = labels[:, j] != UNKNOWN
    log_odds = np.asarray(logits, np.float64)[is_known, j]
    return np.stack([np.zeros_like(log_odds), log_odds], axis=1), labels[is_known, j]


def log_losses(logits: NDArray[Any], labels: Labels) -> Floats:
    """Cross-entropy of every case, float64[n]; of several findings, of every label that is known."""
    if labels.ndim == 2:
        return np.concatenate([log_losses(*of_finding(logits, labels, j)) for j in range(labels.shape[1])])
    z = np.asarray(logits, np.float64)
    z = z - z.max(axis=1, keepdims=True)
    losses: Floats = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]
    return losses


def count(logits: NDArray[Any], labels: Labels, threshold: Threshold = None) -> dict[str, Floats]:
    """A model's outcomes as vectors to be summed: n, correct, loss_sum, confusion[k, k],
    histogram[m, 2, LEVELS, WINDOW], within[m, 3].

    The histogram counts, for every scored class, the margins of the cases outside [.., 0, :] and inside [.., 1, :] it,
    as `score_bins.levels` does.
    `within` has of every scored class 1, the AUC and its variance, or 0, 0, 0 where it is not defined.
    Of several findings: n, and for each of them correct, loss_sum [k], confusion [k, 2, 2],
    histogram [k, 2, LEVELS, WINDOW], within [k, 3].

    Args:
        threshold: the operating point that confusion and correct are counted at; none: the largest logit decides.
    """
    if labels.ndim == 2:
        points = threshold if isinstance(threshold, tuple) else (None,) * labels.shape[1]
        parts = [count(*of_finding(logits, labels, j), point) for j, point in enumerate(points)]
        names = ("correct", "loss_sum", "histogram", "within")
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in names}
        return {"n": np.array([float(len(labels))])} | arrays | {"confusion": np.stack([p["confusion"] for p in parts])}
    k = logits.shape[1]
    margin = margins(logits)
    places = score_bins.places(margin)
    inside = labels[:, None] == (np.arange(k)[None, :] if k > 2 else np.array([[1]]))
    columns = list(zip(places.T, inside.T, strict=True))
    confusion = confusion_of(logits, labels, threshold if isinstance(threshold, float) else None)
    return {
        "n": np.array([float(len(labels))]),
        "correct": np.array([np.trace(confusion)]),
        "loss_sum": np.array([log_losses(logits, labels).sum()]) if len(labels) else np.zeros(1),
        "confusion": confusion,
        "histogram": np.stack([[score_bins.levels(at[~of]), score_bins.levels(at[of])] for at, of in columns]),
        "within": np.stack([_within(*column) for column in zip(margin.T, inside.T, strict=True)]),
    }


def _within(margin: Floats, inside: NDArray[np.bool_]) -> Floats:
    """1, the exact AUC at this site, and its variance; zeros where a class has no cases."""
    table = ScoreTable.of_cases(margin, inside)
    if (area := class_figures.ranked(table)["auc"]) is None:
        return np.zeros(3)
    return np.array([1.0, area, intervals.auc_variance(table.outside, table.inside)])


def within_sites(counts: Tensors) -> dict[str, Any] | None:
    """The mean of the sites' own AUCs, with interval, read off the sum; None where no site has one.

    Of several classes or findings their mean, as wide as if all erred together. `sites` is the most that any stands on.
    """
    rows = [row for row in np.asarray(counts.get("within", np.zeros((0, 3)))) if row[0] > 0.5]
    if not rows:
        return None
    areas = [float(area / n) for n, area, _ in rows]
    sure = [intervals.on_log_odds(float(area / n), float(max(v, 0.0) / n**2)) for n, area, v in rows]
    return {"auc": float(np.mean(areas)), "auc_interval": intervals.all_together(sure), "sites": round(rows[0][0])}


def auc_of_counts(counts: Tensors) -> float | None:
    """Area under the ROC curve read off summed histograms; the mean over findings or more classes than two."""
    tables = [ScoreTable.of_histogram(histogram) for histogram in counts["histogram"]]
    return class_figures.mean_of_defined([class_figures.ranked(table)["auc"] for table in tables])


def count_shapes(classes: int, multilabel: bool) -> dict[str, tuple[int, ...]]:
    """The shapes of what `count` gives, by name."""
    k = classes
    rows = k if multilabel or k > 2 else 1
    each, confusion = ((k,), (k, 2, 2)) if multilabel else ((1,), (k, k))
    of_cases: dict[str, tuple[int, ...]] = {"n": (1,), "correct": each, "loss_sum": each, "confusion": confusion}
    return of_cases | {"histogram": (rows, 2, LEVELS, WINDOW), "within": (rows, 3)}


def are_findings(counts: Tensors) -> bool:
    """Whether counts are of several findings, and not of classes."""
    return bool(np.asarray(counts["confusion"]).ndim == 3)


def summary_of_counts(counts: Tensors) -> dict[str, float | None]:
    """The figures that a round's record shows: n, loss, accuracy, auc, auc_within (the mean of the sites' own); of
    several findings their means."""
    n = counts["confusion"].sum(axis=(1, 2)) if are_findings(counts) else counts["n"]
    there = n > 0
    loss, accuracy = (
        float(np.mean(counts[name][there] / n[there])) if there.any() else None for name in ("loss_sum", "correct")
    )
    within = (within_sites(counts) or {}).get("auc")
    figures = {"loss": loss, "accuracy": accuracy, "auc": auc_of_counts(counts), "auc_within": within}
    return {"n": float(counts["n"][0])} | figures


def operating_point(counts: Tensors, rule: Rule) -> Threshold:
    """The log-odds threshold that a rule chooses on summed counts; the middle of the best stretch where several serve.

    Returns:
        One for every finding; None for more than two classes; 0 where a class has no cases, since nothing can be chosen
        then.
    """
    if are_findings(counts):
        return tuple(_operating_point(histogram, rule) for histogram in counts["histogram"])
    return _operating_point(counts["histogram"][0], rule) if len(counts["histogram"]) == 1 else None


def _operating_point(histogram: Floats, rule: Rule) -> float:
    low, high, (out, into) = score_bins.rows(histogram)
    if not out.sum() or not into.sum():
        return 0.0
    misses = np.concatenate([[0.0], np.cumsum(into)])  # positives below each row, and below none
    cleared = np.concatenate([[0.0], np.cumsum(out)])
    sensitivity, specificity = 1 - misses / into.sum(), cleared / out.sum()
    if rule == "youden":
        worth = sensitivity + specificity
    elif rule == "accuracy":
        worth = cleared - misses
    else:
        worth = np.where(sensitivity >= float(rule), specificity, -1.0)
    best = np.flatnonzero(worth >= worth.max() - 1e-12)
    stretch = best[: np.argmax(np.diff(best, append=len(worth) + 9) > 1) + 1]
    begins, ends = np.append(low[0], high), np.append(low, high[-1])  # between a row and the next all serve alike
    return float(begins[stretch[0]] + ends[stretch[-1]]) / 2


def threshold_text(threshold: Threshold) -> str:
    """An operating point as a word of a model's file: a number, a list of them, or None."""
    return repr(list(threshold)) if isinstance(threshold, tuple) else repr(threshold)


def score(logits: NDArray[Any], labels: Labels, threshold: Threshold) -> Score:
    """Exact figures on cases in one place: logits float[n, k], labels int64[n] or int64[n, k]."""
    if labels.ndim == 2:
        return _score_of_findings(logits, labels, threshold)
    threshold = None if isinstance(threshold, tuple) else threshold
    k, margin = logits.shape[1], margins(logits)
    tables = [ScoreTable.of_cases(margin[:, j], labels == c) for j, c in enumerate(range(k) if k > 2 else [1])]
    confusion = confusion_of(logits, labels, threshold)
    figures: dict[str, Any] = class_figures.of_classes(tables) | class_figures.from_confusion(confusion)
    figures["log_loss"] = float(log_losses(logits, labels).mean()) if len(labels) else None
    sure = class_figures.interval_of_each(tables, confusion)
    return Score(n=len(labels), threshold=threshold if k == 2 else None, intervals=sure, **figures)


def confusion_of(logits: NDArray[Any], labels: Labels, threshold: float | None) -> Floats:
    """A row a true class, a column a predicted one, float64[k, k]; of two classes by the threshold, if any."""
    k, predicted = logits.shape[1], logits.argmax(axis=1)
    if k == 2 and threshold is not None:
        predicted = (margins(logits)[:, 0] > threshold).astype(np.int64)
    confusion = np.zeros((k, k))
    np.add.at(confusion, (labels, predicted), 1.0)
    return confusion


def _score_of_findings(logits: NDArray[Any], labels: Labels, threshold: Threshold) -> Score:
    points = threshold if isinstance(threshold, tuple) else (0.0,) * labels.shape[1]
    each = tuple(score(*of_finding(logits, labels, j), points[j]) for j in range(labels.shape[1]))
    with_cases = [one for one in each if one.n]
    means: dict[str, Any] = {
        name: mean_and_deviation([getattr(one, name) for one in with_cases])["mean"] for name in FIGURES
    }
    sure = {name: intervals.all_together([one.intervals.get(name) for one in with_cases]) for name in FIGURES}
    ends_by_name = {name: ends for name, ends in sure.items() if ends}
    return Score(n=len(labels), threshold=None, intervals=ends_by_name, findings=each, **means)


def exact_auc(margin: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Mann-Whitney statistic, ties counted half; None where one of the two classes has no cases."""
    return class_figures.ranked(ScoreTable.of_cases(margin, positive))["auc"]


def mean_and_deviation(values: list[float | None]) -> Mapping[str, float | None]:
    """Mean and sample standard deviation over seeds; None where a figure is undefined."""
    defined = [v for v in values if v is not None]
    if not defined:
        return {"mean": None, "sd": None}
    return {"mean": float(np.mean(defined)), "sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else 0.0}

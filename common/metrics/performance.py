"""How good a model is, as counts that add up: what a site reports is a sum, never a rate.

`count(logits, labels)` gives fixed-length vectors whose sum over sites is the count over all their cases; AUC,
log-loss and the operating point are read off the sum. Exact figures on cases in one place come from `score`.
AUC from a histogram counts ties within a bin as half (Mann & Whitney 1947); the bins are fine enough for ±0.001,
unless scores are spread by less than 0.1 or lie beyond the outermost.

Of several findings an image (labels int64[n, k]) each is counted and scored as two classes, over the cases in which it
is known; what is said of all of them is the mean over findings.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from common.types import UNKNOWN, Labels, Tensors

BINS = 1024
MARGIN_LIMIT = 16.0
"""Margins (log-odds) beyond this fall into the outermost bins."""

Floats = NDArray[np.float64]
Rule = Literal["youden", "accuracy"] | float
"""How the operating point is chosen: best Youden index, best accuracy, or at least this sensitivity."""
Threshold = float | tuple[float, ...] | None
"""Log-odds above which a case counts as positive: of two classes; of every finding; None for more classes than two."""


@dataclass(frozen=True)
class Score:
    """Figures of one model on one set of cases. Undefined ones (a class without cases) are None."""

    n: int
    auc: float | None
    accuracy: float | None
    sensitivity: float | None
    specificity: float | None
    log_loss: float | None
    threshold: float | None
    """Log-odds above which a case counts as positive; None for more than two classes (the largest logit decides)."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for result.json."""
        return asdict(self)


@dataclass(frozen=True)
class FindingsScore(Score):
    """Figures of several findings: means over them, and each by itself; `n` of a finding is where it is known."""

    findings: tuple[Score, ...] = ()


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


def count(logits: NDArray[Any], labels: Labels) -> dict[str, Floats]:
    """A model's outcomes as vectors to be summed: n, correct, loss_sum, confusion[k, k], histogram[m, 2, BINS].

    The histogram counts, for every scored class, the margins of the cases outside [.., 0, :] and inside [.., 1, :] it.
    Of several findings: n, and for each of them correct, loss_sum [k], confusion [k, 2, 2], histogram [k, 2, BINS].
    """
    if labels.ndim == 2:
        parts = [count(*of_finding(logits, labels, j)) for j in range(labels.shape[1])]
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in ("correct", "loss_sum", "histogram")}
        return {"n": np.array([float(len(labels))])} | arrays | {"confusion": np.stack([p["confusion"] for p in parts])}
    k = logits.shape[1]
    predicted = logits.argmax(axis=1)
    margin = margins(logits)
    scale = BINS / (2 * MARGIN_LIMIT)
    bins = np.clip((margin + MARGIN_LIMIT) * scale, 0, BINS - 1).astype(np.int64)
    inside = labels[:, None] == (np.arange(k)[None, :] if k > 2 else np.array([[1]]))
    histogram = np.zeros((margin.shape[1], 2, BINS))
    np.add.at(histogram, (np.arange(margin.shape[1])[None, :], inside.astype(np.int64), bins), 1.0)
    confusion = np.zeros((k, k))
    np.add.at(confusion, (labels, predicted), 1.0)
    return {
        "n": np.array([float(len(labels))]),
        "correct": np.array([float((predicted == labels).sum())]),
        "loss_sum": np.array([log_losses(logits, labels).sum()]) if len(labels) else np.zeros(1),
        "confusion": confusion,
        "histogram": histogram,
    }


def auc_of_counts(counts: Tensors) -> float | None:
    """Area under the ROC curve read off summed histograms; the mean over findings or more classes than two."""
    areas = [_area(out, into) for out, into in counts["histogram"]]
    defined = [a for a in areas if a is not None]
    return float(np.mean(defined)) if defined else None


def count_shapes(classes: int, multilabel: bool) -> dict[str, tuple[int, ...]]:
    """The shapes of what `count` gives, by name."""
    k = classes
    if multilabel:
        return {"n": (1,), "correct": (k,), "loss_sum": (k,), "confusion": (k, 2, 2), "histogram": (k, 2, BINS)}
    rows = k if k > 2 else 1
    return {"n": (1,), "correct": (1,), "loss_sum": (1,), "confusion": (k, k), "histogram": (rows, 2, BINS)}


def are_findings(counts: Tensors) -> bool:
    """Whether counts are of several findings, and not of classes."""
    return bool(np.asarray(counts["confusion"]).ndim == 3)


def summary_of_counts(counts: Tensors) -> dict[str, float | None]:
    """The figures that a round's record shows: n, loss, accuracy, auc; of several findings their means."""
    n = counts["confusion"].sum(axis=(1, 2)) if are_findings(counts) else counts["n"]
    there = n > 0
    loss, accuracy = (
        float(np.mean(counts[name][there] / n[there])) if there.any() else None for name in ("loss_sum", "correct")
    )
    return {"n": float(counts["n"][0]), "loss": loss, "accuracy": accuracy, "auc": auc_of_counts(counts)}


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
    out, into = histogram
    if not out.sum() or not into.sum():
        return 0.0
    edges = np.linspace(-MARGIN_LIMIT, MARGIN_LIMIT, BINS + 1)
    misses = np.concatenate([[0.0], np.cumsum(into)])  # positives below each edge
    cleared = np.concatenate([[0.0], np.cumsum(out)])  # negatives below each edge
    sensitivity, specificity = 1 - misses / into.sum(), cleared / out.sum()
    if rule == "youden":
        worth = sensitivity + specificity
    elif rule == "accuracy":
        worth = cleared - misses
    else:
        worth = np.where(sensitivity >= float(rule), specificity, -1.0)
    best = np.flatnonzero(worth >= worth.max() - 1e-12)
    stretch = best[: np.argmax(np.diff(best, append=BINS + 9) > 1) + 1]
    return float((edges[stretch[0]] + edges[stretch[-1]]) / 2)


def threshold_text(threshold: Threshold) -> str:
    """An operating point as a word of a model's file: a number, a list of them, or None."""
    return repr(list(threshold)) if isinstance(threshold, tuple) else repr(threshold)


def score(logits: NDArray[Any], labels: Labels, threshold: Threshold) -> Score:
    """Exact figures on cases in one place: logits float[n, k], labels int64[n] or int64[n, k]."""
    if labels.ndim == 2:
        return _score_of_findings(logits, labels, threshold)
    threshold = None if isinstance(threshold, tuple) else threshold
    k = logits.shape[1]
    margin = margins(logits)
    positive = margin[:, 0] > threshold if k == 2 and threshold is not None else None
    predicted = logits.argmax(axis=1) if positive is None else positive.astype(np.int64)
    areas = [exact_auc(margin[:, j], labels == c) for j, c in enumerate(range(k) if k > 2 else [1])]
    defined = [a for a in areas if a is not None]
    return Score(
        n=len(labels),
        auc=float(np.mean(defined)) if defined else None,
        accuracy=float((predicted == labels).mean()) if len(labels) else None,
        sensitivity=_mean_rate([(predicted == c)[labels == c] for c in (range(k) if k > 2 else [1])]),
        specificity=_mean_rate([(predicted != c)[labels != c] for c in (range(k) if k > 2 else [1])]),
        log_loss=float(log_losses(logits, labels).mean()) if len(labels) else None,
        threshold=threshold if k == 2 else None,
    )


def _score_of_findings(logits: NDArray[Any], labels: Labels, threshold: Threshold) -> FindingsScore:
    points = threshold if isinstance(threshold, tuple) else (0.0,) * labels.shape[1]
    each = tuple(score(*of_finding(logits, labels, j), points[j]) for j in range(labels.shape[1]))
    with_cases = [one for one in each if one.n]

    def mean(figure: str) -> float | None:
        return mean_and_deviation([getattr(one, figure) for one in with_cases])["mean"]

    return FindingsScore(
        n=len(labels), auc=mean("auc"), accuracy=mean("accuracy"), sensitivity=mean("sensitivity"),
        specificity=mean("specificity"), log_loss=mean("log_loss"), threshold=None, findings=each,
    )  # fmt: skip


def exact_auc(margin: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Mann-Whitney statistic with midranks for ties; None where one of the two classes has no cases."""
    wins = int(positive.sum())
    losses = len(positive) - wins
    if not wins or not losses:
        return None
    _, inverse, sizes = np.unique(margin, return_inverse=True, return_counts=True)
    midranks = np.cumsum(sizes) - (sizes - 1) / 2
    return float((midranks[inverse][positive].sum() - wins * (wins + 1) / 2) / (wins * losses))


def roc(counts: Tensors) -> list[tuple[Floats, Floats]]:
    """ROC curves of the scored classes, as (false positive rate, true positive rate)."""
    curves = []
    for out, into in counts["histogram"]:
        fall = [np.concatenate([[0.0], np.cumsum(h[::-1]) / max(h.sum(), 1.0)]) for h in (out, into)]
        curves.append((fall[0], fall[1]))
    return curves


def mean_and_deviation(values: list[float | None]) -> Mapping[str, float | None]:
    """Mean and sample standard deviation over seeds; None where a figure is undefined."""
    defined = [v for v in values if v is not None]
    if not defined:
        return {"mean": None, "sd": None}
    return {"mean": float(np.mean(defined)), "sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else 0.0}


def _area(out: Floats, into: Floats) -> float | None:
    below = np.cumsum(out) - out
    pairs = out.sum() * into.sum()
    return float((into * (below + out / 2)).sum() / pairs) if pairs else None


def _mean_rate(hits: list[NDArray[np.bool_]]) -> float | None:
    rates = [float(h.mean()) for h in hits if len(h)]
    return float(np.mean(rates)) if rates else None

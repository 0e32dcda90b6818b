"""The figures of a model, from how many cases inside and outside of a class have each score.

A table of scores is what cases in one place come to (a row a score that occurs), and what summed histograms are (a row
a bin): the same formulas read both, exactly and to a bin's width. Names and definitions are scikit-learn's where it has
them: `roc_auc_score`, `average_precision_score`, `f1_score`, `balanced_accuracy_score`, `brier_score_loss`, `log_loss`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from common.metrics import intervals, score_bins
from common.metrics.intervals import Interval

Floats = NDArray[np.float64]

RANKED = ("auc", "auprc", "sensitivity_at_specificity", "specificity_at_sensitivity", "brier", "ece")
"""What needs scores alone."""
DECIDED = ("accuracy", "balanced_accuracy", "f1", "sensitivity", "specificity")
"""What needs an operating point."""
FIXED = 0.9
"""The specificity at which a sensitivity is told, and the other way round."""
TENTHS = 10
"""Bins of predicted probability, of the same width, for calibration."""
CHOICES = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Probabilities from which somebody would act, for the decision curve."""


@dataclass(frozen=True)
class ScoreTable:
    """Cases by score."""

    scores: Floats
    """Log-odds, rising: float64[m]."""
    outside: Floats
    """Cases outside the class with that score."""
    inside: Floats

    @classmethod
    def of_cases(cls, margin: Floats, inside: NDArray[np.bool_]) -> Self:
        """A row for every score that occurs."""
        scores, of = np.unique(margin, return_inverse=True)
        sides = (np.bincount(of[side], minlength=len(scores)).astype(np.float64) for side in (~inside, inside))
        return cls(scores, *sides)

    @classmethod
    def of_histogram(cls, histogram: Floats) -> Self:
        """A row for every bin that holds a case, of float64[2, LEVELS, WINDOW]."""
        low, high, (outside, inside) = score_bins.rows(histogram)
        return cls((low + high) / 2, outside, inside)

    @property
    def probabilities(self) -> Floats:
        """What the scores say, as the model means them."""
        p: Floats = 1 / (1 + np.exp(-np.clip(self.scores, -700, 700)))
        return p


def ranked(table: ScoreTable) -> dict[str, float | None]:
    """The figures in RANKED; None where a class that they need has no cases."""
    negatives, positives, p = table.outside.sum(), table.inside.sum(), table.probabilities
    figures: dict[str, float | None] = dict.fromkeys(RANKED)
    n = negatives + positives
    if n:
        squares = table.outside * p**2 + table.inside * (1 - p) ** 2
        figures["brier"] = float(squares.sum() / n)
        figures["ece"] = float(sum(t["n"] * abs(t["predicted"] - t["observed"]) for t in tenths(table)) / n)
    if not n or not positives or not negatives:
        return figures
    below = np.cumsum(table.outside) - table.outside
    figures["auc"] = float((table.inside * (below + table.outside / 2)).sum() / (positives * negatives))
    hits, falls = (np.concatenate([[0.0], np.cumsum(side[::-1])]) for side in (table.inside, table.outside))
    precision = hits[1:] / (hits[1:] + falls[1:])
    figures["auprc"] = float((np.diff(hits) * precision).sum() / positives)
    figures["sensitivity_at_specificity"] = float(hits[falls <= _most(negatives)].max() / positives)
    figures["specificity_at_sensitivity"] = float(1 - falls[positives - hits <= _most(positives)].min() / negatives)
    return figures


def _most(cases: float) -> float:
    """How many of so many cases may be called wrongly at FIXED."""
    return float((1 - FIXED) * cases + 1e-9 * cases)


def tenths(table: ScoreTable) -> list[dict[str, float]]:
    """Mean predicted probability, share of cases of the class, and n, of each tenth that holds a case."""
    p, n = table.probabilities, table.outside + table.inside
    tenth = np.minimum((p * TENTHS).astype(int), TENTHS - 1)
    rows = []
    for t in range(TENTHS):
        here = tenth == t
        if cases := float(n[here].sum()):
            hits = float(table.inside[here].sum())
            rows.append({"predicted": float((p * n)[here].sum() / cases), "observed": hits / cases, "n": cases})
    return rows


def decision_curve(table: ScoreTable) -> list[dict[str, float]]:
    """Net benefit (Vickers & Elkin, Medical Decision Making 2006) of going by the model, and of acting on everybody.

    Acting on nobody is worth 0. A case is acted on where its probability is above the threshold.
    """
    n, p, rows = table.outside.sum() + table.inside.sum(), table.probabilities, []
    for at in CHOICES if n else ():
        odds, above = at / (1 - at), p > at
        hits, false = table.inside[above].sum(), table.outside[above].sum()
        everybody = table.inside.sum() - odds * table.outside.sum()
        rows.append({"threshold": at, "model": float((hits - odds * false) / n), "all": float(everybody / n)})
    return rows


def from_confusion(confusion: Floats) -> dict[str, float | None]:
    """The figures in DECIDED from confusion counts, a row a true class: of two classes the second's, else the means."""
    n, hits = confusion.sum(), np.diag(confusion)
    of, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    scored = slice(1, None) if len(of) == 2 else slice(None)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, specificity = hits / of, (n - of - predicted + hits) / (n - of)
        f1 = 2 * hits / (of + predicted)
    return {
        "accuracy": float(hits.sum() / n) if n else None,
        "balanced_accuracy": mean_of_defined(sensitivity.tolist()),
        "f1": mean_of_defined(f1[scored].tolist()),
        "sensitivity": mean_of_defined(sensitivity[scored].tolist()),
        "specificity": mean_of_defined(specificity[scored].tolist()),
    }


def of_classes(tables: Sequence[ScoreTable]) -> dict[str, float | None]:
    """The figures in RANKED of all scored classes: their means; of the Brier score the sum, as of more than two."""
    each = [ranked(table) for table in tables]
    figures = {name: mean_of_defined([one[name] for one in each]) for name in RANKED}
    if figures["brier"] is not None:
        figures["brier"] *= len(tables)
    return figures


def interval_of_each(tables: Sequence[ScoreTable], confusion: Floats) -> dict[str, Interval]:
    """95 % intervals by figure, of one set of cases; of several classes as wide as if all erred together.

    The calibration error has none: it is never below 0, and larger the fewer the cases.
    """
    figures = of_classes(tables) | from_confusion(confusion)
    of, n = confusion.sum(axis=1), float(confusion.sum())
    ends: dict[str, Interval | None] = {"accuracy": intervals.proportion(float(np.diag(confusion).sum()), n)}
    parts = [_of_one(table) for table in tables]
    for name in parts[0]:
        ends[name] = intervals.all_together([part[name] for part in parts if part[name]])
    each = range(1, 2) if len(of) == 2 else range(len(of))
    recalls = [intervals.proportion(confusion[c, c], of[c]) for c in range(len(of))]
    left = confusion.sum() - of
    cleared = [left[c] - confusion[:, c].sum() + confusion[c, c] for c in each]
    ends["sensitivity"] = intervals.all_together([recalls[c] for c in each if recalls[c]])
    ends["specificity"] = intervals.all_together(
        [i for c, right in zip(each, cleared, strict=True) if (i := intervals.proportion(right, left[c]))]
    )
    rates = [confusion[c, c] / of[c] for c in range(len(of)) if of[c]]
    ends["balanced_accuracy"] = intervals.mean_of_independent(rates, [r for r in recalls if r])
    ends["f1"] = intervals.all_together([i for c in each if (i := _f1(confusion, c))])
    if len(tables) > 1 and ends["brier"]:
        ends["brier"] = (ends["brier"][0] * len(tables), ends["brier"][1] * len(tables))
    return {name: value for name, value in ends.items() if value and figures[name] is not None}


def _of_one(table: ScoreTable) -> dict[str, Interval | None]:
    """Intervals to the figures in RANKED that have one, of one class."""
    figures, p = ranked(table), table.probabilities
    positives, negatives = float(table.inside.sum()), float(table.outside.sum())
    n = positives + negatives
    brier = figures["brier"]
    variance = float((table.outside * p**4 + table.inside * (1 - p) ** 4).sum() / n - (brier or 0) ** 2) if n else 0.0
    return {
        "auc": intervals.auc_of_histogram(table.outside, table.inside),
        "auprc": intervals.average_precision(figures["auprc"], positives),
        "brier": intervals.mean(brier, max(variance, 0.0), n),
        "sensitivity_at_specificity": _share(figures["sensitivity_at_specificity"], positives),
        "specificity_at_sensitivity": _share(figures["specificity_at_sensitivity"], negatives),
    }


def _share(rate: float | None, n: float) -> Interval | None:
    return None if rate is None else intervals.proportion(rate * n, n)


def _f1(confusion: Floats, c: int) -> Interval | None:
    """Of one class: 2J / (1 + J), where J is the share of hits among all that are of the class or called so."""
    union = confusion[c].sum() + confusion[:, c].sum() - confusion[c, c]
    if (share := intervals.proportion(confusion[c, c], union)) is None:
        return None
    low, high = share
    return 2 * low / (1 + low), 2 * high / (1 + high)


def mean_of_defined(values: Sequence[float | None]) -> float | None:
    """The mean of what is defined; None where nothing is."""
    defined = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(defined)) if defined else None


def with_intervals(figures: Mapping[str, float | None], of_each: Mapping[str, Interval]) -> dict[str, object]:
    """Figures with `<figure>_interval` beside each that has one."""
    return dict(figures) | {f"{name}_interval": [*map(float, ends)] for name, ends in of_each.items()}

"""All figures of one model on one set of cases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.metrics import class_figures
from common.metrics.intervals import Interval

FIGURES = (
    "auc", "auprc", "accuracy", "balanced_accuracy", "f1", "sensitivity", "specificity", "sensitivity_at_specificity",
    "specificity_at_sensitivity", "log_loss", "brier", "ece",
)  # fmt: skip
"""All figures of a score, as result.json has them."""


@dataclass(frozen=True)
class Score:
    """Figures of one model on one set of cases. Undefined ones (a class without cases) are None."""

    n: int
    auc: float | None
    auprc: float | None
    """Average precision."""
    accuracy: float | None
    balanced_accuracy: float | None
    f1: float | None
    sensitivity: float | None
    specificity: float | None
    sensitivity_at_specificity: float | None
    """At a specificity of `class_figures.FIXED` at least."""
    specificity_at_sensitivity: float | None
    log_loss: float | None
    brier: float | None
    ece: float | None
    """Expected calibration error, over tenths of predicted probability."""
    threshold: float | None
    """Log-odds above which a case counts as positive; None for more than two classes (the largest logit decides)."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """95 % confidence intervals by figure."""
    findings: tuple["Score", ...] = ()
    """Of several findings each by itself; then `n` of one is where it is known, and the figures above are means."""
    plugin_figures: Mapping[str, float | None] = field(default_factory=dict)
    """What plug-ins' metrics say, by `DISTRIBUTION:NAME`."""

    def all_figures(self) -> dict[str, float | None]:
        """Every figure by its name."""
        return {name: getattr(self, name) for name in FIGURES} | dict(self.plugin_figures)

    def as_json(self) -> dict[str, Any]:
        """Plain values for result.json."""
        whole = (
            {"n": self.n}
            | class_figures.with_intervals(self.all_figures(), self.intervals)
            | {"threshold": self.threshold}
        )
        return whole | ({"findings": [one.as_json() for one in self.findings]} if self.findings else {})

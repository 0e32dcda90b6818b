"""What a case costs a linear model: losses of its decision values, with their derivatives.

Decision values f are float64[n, ..., rows]: of n cases, at one point or several, one a row of the model. One-vs-rest,
each row is a problem of its own, with s = ±1 for cases outside and inside its class, 0 where that is not known:

    squared_hinge   max(0, 1 - s f)²
    logistic        log(1 + exp(-s f))

`softmax` is one problem over all rows, multinomial logistic regression: log Σ exp f - f of the case's class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.types import UNKNOWN, Labels

Floats = NDArray[np.float64]


class Loss(Protocol):
    """One kind of loss."""

    @property
    def steepest(self) -> float:
        """The largest second derivative."""
        ...

    @property
    def vanishes(self) -> bool:
        """Whether a case far on its right side costs exactly nothing, and has no part in a gradient."""
        ...

    def problems(self, rows: int) -> int:
        """How many problems that do not depend on each other so many rows are."""
        ...

    def values(self, f: Floats, labels: Labels) -> Floats:
        """The loss of each case in each problem, float64[n, ..., problems]."""
        ...

    def slopes(self, f: Floats, labels: Labels) -> Floats:
        """Its derivative by each decision value, shaped as f."""
        ...

    def curves(self, f: Floats, labels: Labels) -> Floats:
        """Its second derivative by each decision value, the others fixed, shaped as f."""
        ...


@dataclass(frozen=True)
class OneVsRest:
    """A loss l(m) of margins m = s f, row by row."""

    value: Callable[[Floats], NDArray[Any]]
    slope: Callable[[Floats], NDArray[Any]]
    curve: Callable[[Floats], NDArray[Any]]
    steepest: float
    vanishes: bool = False

    def problems(self, rows: int) -> int:
        """Every row is one."""
        return rows

    def values(self, f: Floats, labels: Labels) -> Floats:
        """l(m)."""
        signs = _signs_like(f, labels)
        return np.asarray(self.value(signs * f) * (signs != 0))

    def slopes(self, f: Floats, labels: Labels) -> Floats:
        """s l'(m)."""
        signs = _signs_like(f, labels)
        return np.asarray(signs * self.slope(signs * f))

    def curves(self, f: Floats, labels: Labels) -> Floats:
        """l''(m)."""
        signs = _signs_like(f, labels)
        return np.asarray(self.curve(signs * f) * (signs != 0))


@dataclass(frozen=True)
class Softmax:
    """Cross-entropy over all classes together (Böhning, Ann. Inst. Stat. Math. 1992, bounds its curvature by ½)."""

    steepest: float = 0.5
    vanishes: bool = False

    def problems(self, rows: int) -> int:
        """One, whatever the rows."""
        return 1

    def values(self, f: Floats, labels: Labels) -> Floats:
        """log Σ exp f - f of the case's class."""
        from scipy.special import logsumexp

        at = labels.reshape(-1, *(1,) * (f.ndim - 1))
        return np.asarray(logsumexp(f, axis=-1, keepdims=True) - np.take_along_axis(f, at, axis=-1))

    def slopes(self, f: Floats, labels: Labels) -> Floats:
        """Probability, less 1 for the case's class."""
        inside = labels.reshape(-1, *(1,) * (f.ndim - 1)) == np.arange(f.shape[-1])
        return np.asarray(_softmax(f) - inside)

    def curves(self, f: Floats, labels: Labels) -> Floats:
        """p (1 - p)."""
        p = _softmax(f)
        return np.asarray(p * (1 - p))


def _softmax(f: Floats) -> Floats:
    from scipy.special import softmax  # scipy takes as long as all else that a command imports

    return np.asarray(softmax(f, axis=-1))


def _expit(m: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(m))


LOGISTIC = OneVsRest(
    value=lambda m: np.logaddexp(0.0, -m), slope=lambda m: -_expit(-m), curve=lambda m: _expit(m) * _expit(-m),
    steepest=0.25,
)  # fmt: skip
SQUARED_HINGE = OneVsRest(
    value=lambda m: np.square(np.maximum(0.0, 1 - m)), slope=lambda m: -2 * np.maximum(0.0, 1 - m),
    curve=lambda m: 2.0 * (m < 1), steepest=2.0, vanishes=True,
)  # fmt: skip


def loss_named(name: str, classes: int) -> Loss:
    """The loss that a configuration names; softmax of two classes has one direction, and is the logistic loss of it."""
    if name == "softmax":
        return Softmax() if classes > 2 else LOGISTIC
    return {"logistic": LOGISTIC, "squared_hinge": SQUARED_HINGE}[name]


def signs(labels: Labels, rows: int) -> Floats:
    """±1, float64[n, rows]: whether a case is of the row's class (of a single row the second), or has the row's
    finding; 0 where that is not known."""
    if labels.ndim == 2:
        return np.where(labels == UNKNOWN, 0.0, np.where(labels == 1, 1.0, -1.0))
    positive = np.ones(1, int) if rows == 1 else np.arange(rows)
    return np.where(labels[:, None] == positive, 1.0, -1.0)


def _signs_like(f: Floats, labels: Labels) -> Floats:
    return signs(labels, f.shape[-1]).reshape(len(f), *(1,) * (f.ndim - 2), f.shape[-1])

"""What answers with Gaussian noise cost together, exactly.

An answer of sensitivity Δ with noise of standard deviation σ is μ-GDP with μ = Δ/σ: as hard to tell apart as normal
variables whose means are μ apart. Several, each chosen after those before it, are μ-GDP with μ² = Σ (Δ/σ)². Neither is
a bound: it is what is so, and so is δ at an ε (Balle and Wang, ICML 2018):

    δ(ε) = Φ(-ε/μ + μ/2) - e^ε Φ(-ε/μ - μ/2)

Source: Dong, Roth and Su, Gaussian differential privacy, J. R. Stat. Soc. B 2022.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

LARGEST_MU = 1e3
"""Beyond it nothing is private, and ε has no digits left."""


@dataclass(frozen=True)
class Cost:
    """What answers cost together: μ² of all, and a tail of δ, the chance with which they tell more than μ says."""

    squared_mu: float
    tail: float = 0.0

    def epsilon(self, delta: float) -> float:
        """ε at a δ; infinite where the tail alone is more.

        Raises:
            ValueError: a δ that is not between 0 and 1.
        """
        rest = without_tail(delta, self.tail)
        return epsilon(math.sqrt(self.squared_mu), rest) if rest > 0 else math.inf

    def fits(self, most: float, delta: float, slack: float = 0.0) -> bool:
        """Whether (ε, δ) allow it, but for so small a part of μ."""
        rest = without_tail(delta, self.tail)
        return rest > 0 and math.sqrt(self.squared_mu) <= mu_of(most, rest) * (1 + slack)


def without_tail(delta: float, tail: float) -> float:
    """What is left of δ beside a tail: δ = tail + (1 - tail) rest."""
    return (delta - tail) / (1 - tail)


def mu(squared: Iterable[float]) -> float:
    """μ of several answers together, of the (Δ/σ)² of each."""
    return math.sqrt(math.fsum(squared))


def delta(mu: float, epsilon: float) -> float:
    """δ for an ε of at least 0; 0 where nothing was answered. Exact to some 10 digits, in the tails too.

    Raises:
        ValueError: a μ below 0 or beyond `LARGEST_MU`, or an ε below 0.
    """
    if not 0 <= mu <= LARGEST_MU or not epsilon >= 0:
        raise ValueError(f"μ {mu:g} and ε {epsilon:g}, expected 0 to {LARGEST_MU:g}, and at least 0")
    return _tail(mu, epsilon)


def epsilon(mu: float, delta: float) -> float:
    """The smallest ε for a δ, rounded up in its last digits; 0 where δ is met without.

    Raises:
        ValueError: a δ that is not between 0 and 1, or a μ below 0 or beyond `LARGEST_MU`.
    """
    _refuse_no_delta(delta)
    if not 0 <= mu <= LARGEST_MU:
        raise ValueError(f"μ {mu:g}, expected 0 to {LARGEST_MU:g}")
    if _tail(mu, 0.0) <= delta:
        return 0.0
    high = 1.0
    while _tail(mu, high) > delta:
        high *= 2
    return _boundary(0.0, high, lambda value: _tail(mu, value) <= delta)[1]


def mu_of(epsilon: float, delta: float) -> float:
    """The largest μ that (ε, δ) allow, rounded down in its last digits.

    Raises:
        ValueError: an ε or a δ that is no budget.
    """
    _refuse_no_delta(delta)
    if not 0 < epsilon < LARGEST_MU**2 / 2:
        raise ValueError(f"ε {epsilon:g}, expected above 0 and below {LARGEST_MU**2 / 2:g}")
    return _boundary(0.0, LARGEST_MU, lambda value: _tail(value, epsilon) > delta)[0]


def _tail(mu: float, epsilon: float) -> float:
    if mu == 0:
        return 0.0
    near, far = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    # e^ε φ(far) = φ(near), so both terms are φ(near) times a ratio of Mills: nothing overflows, and tails keep digits.
    density = math.exp(-near * near / 2) / math.sqrt(2 * math.pi)
    if near > 0:
        return float(density * (_mills(near) - _mills(far)))
    from scipy.special import ndtr  # scipy takes a third of a second, and few commands count

    return float(ndtr(-near) - density * _mills(far))


def _mills(x: float) -> float:
    """Φ(-x)/φ(x)."""
    from scipy.special import erfcx

    return math.sqrt(math.pi / 2) * float(erfcx(x / math.sqrt(2)))


def _boundary(low: float, high: float, is_beyond: Callable[[float], bool]) -> tuple[float, float]:
    """Where a condition begins to hold: the last number at which it does not, and the first at which it does."""
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if is_beyond(middle) else (middle, high)
    return low, high


def _refuse_no_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ValueError(f"δ {delta:g}, expected above 0 and below 1")

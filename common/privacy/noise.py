"""The noise that a site adds to an answer before the mask: integers from a discrete Gaussian.

A number is 2^b A + B with A and B discrete Gaussians of their own: of two tables of a few thousand entries one draws
from billions of values (Micciancio and Walter, CRYPTO 2017). Where B is 1.5 times as wide as a step of A the result is
a discrete Gaussian of the two variances' sum, but for a part of 10^-18; tables are exact to 10^-15.

The randomness is the operating system's, and never a plan's seed: who knows the noise takes it off. So nothing here
takes a key, and the same noise is never drawn twice.
"""

import math
import secrets
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from common.errors import PolicyError
from common.privacy.price_list import LEAST_STEPS

Integers = NDArray[np.int64]

WIDTH = 1.5
"""Standard deviation of B in steps of A: `exp(-2 (π 1.47)²)` is what the sum is off by."""
REACH = 9.6
"""Standard deviations that a table holds: beyond lies less than 2^-64."""
MOST_STEPS = 2.0**32
_PIECE = 2**16  # numbers at a time


@dataclass(frozen=True)
class _Table:
    """A discrete Gaussian by its cumulative weights, of 2^64 together."""

    low: int
    cumulative: NDArray[np.uint64]

    @classmethod
    def of(cls, deviation: float) -> "_Table":
        most = math.ceil(REACH * deviation)
        each = np.exp(-np.square(np.arange(-most, most + 1) / deviation) / 2)
        # At least 1: where the outermost had none, the weights up to them would be 2^64, which is 0 in 64 bits.
        weights = np.maximum(np.floor(each / each.sum() * 2.0**64).astype(np.uint64), 1)
        # Integers add up exactly, as floats would not. What rounding left over goes to the middle.
        weights[most] = int(weights[most]) + 2**64 - sum(weights.tolist())
        return cls(-most, np.cumsum(weights, dtype=np.uint64)[:-1])

    def draw(self, uniform: NDArray[np.uint64]) -> Integers:
        """One integer for each uniform number."""
        return np.searchsorted(self.cumulative, uniform, side="right").astype(np.int64) + self.low


def largest(variance: float) -> int:
    """No number of a variance, in squared steps, is drawn beyond it."""
    shift, coarse, fine = _widths(variance)
    return (math.ceil(REACH * coarse) << shift) + math.ceil(REACH * fine)


def _widths(variance: float) -> tuple[int, float, float]:
    """By how many bits A is shifted, and the standard deviations of A and B."""
    deviation = math.sqrt(variance)
    if not LEAST_STEPS / 4 <= deviation <= MOST_STEPS:
        raise PolicyError("bad-noise", f"noise of {deviation:g} steps, expected {LEAST_STEPS / 4:g} to {MOST_STEPS:g}.")
    shift = max(1, math.floor(math.log2(deviation) / 2) - 1)
    fine = WIDTH * 2**shift
    return shift, math.sqrt(variance - fine**2) / 2**shift, fine


@dataclass(frozen=True)
class DiscreteGaussian:
    """Noise of a variance, in steps."""

    shift: int
    coarse: _Table
    fine: _Table

    @classmethod
    def of(cls, variance: float) -> "DiscreteGaussian":
        """Tables for a variance in squared steps.

        Raises:
            PolicyError: noise below `LEAST_STEPS`, or so wide that nothing would be left of an answer.
        """
        shift, coarse, fine = _widths(variance)
        return cls(shift, _Table.of(coarse), _Table.of(fine))

    def draw(self, size: int) -> Integers:
        """Fresh numbers, int64[size]."""
        source = Cipher(algorithms.AES(secrets.token_bytes(32)), modes.CTR(bytes(16))).encryptor()
        numbers = np.empty(size, np.int64)
        for start in range(0, size, _PIECE):
            part = numbers[start : start + _PIECE]
            uniform = np.frombuffer(source.update(bytes(16 * len(part))), "<u8")
            part[...] = self.coarse.draw(uniform[: len(part)]) << self.shift
            part += self.fine.draw(uniform[len(part) :])
        return numbers

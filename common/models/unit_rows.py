"""Rows of length 1, so that nobody weighs more than anybody else: what a head under a budget looks at.

Each part of a row (the layers of an encoder; of pixels, all of them) is centred over its own numbers and scaled to
length 1, then the parts together. Nothing of it is learned from data. A head then takes off a centre that all sites
share, and scales once more:

    z = ((x - m) / |x - m|, CONSTANT) / √(1 + CONSTANT²)        |z| = 1, exactly
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONSTANT = 0.3
"""What stands for the intercept in a row."""
WHOLE = math.sqrt(1 + CONSTANT**2)


@dataclass(frozen=True)
class UnitRows:
    """φ(x): float[n, inputs] to rows float64[n, inputs] of length 1, or of 0 where an image is even.

    Args:
        parts: how many numbers each part of a row has; together all.
    """

    parts: tuple[int, ...]

    @property
    def dimension(self) -> int:
        """As many numbers as an image has."""
        return sum(self.parts)

    def __call__(self, flat: NDArray[Any]) -> Floats:
        """Rows of images."""
        split = np.split(flat.astype(np.float64), np.cumsum(self.parts)[:-1], axis=1)
        return scaled(np.concatenate([scaled(part - part.mean(axis=1, keepdims=True))[0] for part in split], axis=1))[0]

    def gradient(self, flat: NDArray[Any], by_row: Floats) -> Floats:
        """Of a function by x, from that by φ(x), at every x: float64[n, inputs] both."""
        split = np.split(flat.astype(np.float64), np.cumsum(self.parts)[:-1], axis=1)
        units = [scaled(part - part.mean(axis=1, keepdims=True)) for part in split]
        unit_row, length = scaled(np.concatenate([unit for unit, _ in units], axis=1))
        by_joined = through_scaling(by_row, unit_row, length)
        by_parts = []
        for by_part, (unit, part_length) in zip(
            np.split(by_joined, np.cumsum(self.parts)[:-1], axis=1), units, strict=True
        ):
            centred = through_scaling(by_part, unit, part_length)
            by_parts.append(centred - centred.mean(axis=1, keepdims=True))
        return np.concatenate(by_parts, axis=1)


def scaled(rows: Floats) -> tuple[Floats, Floats]:
    """Rows of length 1, and how long they were, float64[n, 1]; rows of zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0), length


def through_scaling(by_unit: Floats, unit: Floats, length: Floats) -> Floats:
    """The gradient by rows, from that by rows of length 1."""
    across = by_unit - unit * (by_unit * unit).sum(axis=1, keepdims=True)
    return np.asarray(across / np.where(length > 0, length, np.inf))

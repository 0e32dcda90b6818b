"""Natural units to 0..1, and back to zero mean and unit deviation: the first step and the last."""

import numpy as np
from numpy.typing import NDArray

from common.types import Stack

LEAST_DEVIATION = 1 / 255  # one grey level of 8 bits: keeps nearly constant pixels from being blown up into noise


def to_unit(stack: Stack, low: NDArray[np.float32], high: NDArray[np.float32]) -> Stack:
    """Map low..high to 0..1 and clip.

    Args:
        stack: float32[n, h, w, c].
        low: float32[n], of each image.
        high: float32[n]. Where it is not above low, all that is above low becomes 1.
    """
    low, high = low[:, None, None, None], high[:, None, None, None]
    span = np.maximum(high - low, np.float32(np.finfo(np.float32).tiny))
    scaled = stack - low
    with np.errstate(over="ignore"):
        np.divide(scaled, span, out=scaled)
    return np.clip(scaled, 0, 1, out=scaled)


def percentiles(stack: Stack, low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The two percentiles of each image over all of its pixels and channels, interpolated: float32[n] twice."""
    bounds = np.percentile(stack.reshape(len(stack), -1), (low, high), axis=1).astype(np.float32)
    return bounds[0], bounds[1]


def standardise(stack: Stack, mean: NDArray[np.float32], deviation: NDArray[np.float32]) -> Stack:
    """(x - mean) / deviation, which broadcast against float32[n, h, w, c]; a deviation below 1/255 counts as 1/255."""
    centred = stack - mean
    centred /= np.maximum(deviation, np.float32(LEAST_DEVIATION))
    return centred


def standardise_each(stack: Stack) -> Stack:
    """Every channel of every image by its own mean and deviation."""
    mean = stack.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.square(stack - mean).mean(axis=(1, 2), keepdims=True, dtype=np.float64))
    return standardise(stack, mean, deviation.astype(np.float32))

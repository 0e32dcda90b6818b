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
        high: float32[n]. Where it is not above low, the whole image is 0.
    """
    low, high = low[:, None, None, None], high[:, None, None, None]
    half = np.float32(0.5)  # Half of everything: the difference of two float32 can be more than a float32 holds.
    span = np.where(high > low, high * half - low * half, 1)
    scaled: Stack = np.clip(stack, low, np.maximum(low, high))
    scaled *= half
    scaled -= low * half
    scaled /= span
    return scaled


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

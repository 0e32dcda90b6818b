"""Smoothing: the mean filter and the Gaussian. Each is one banded matrix for the rows and one for the columns."""

from functools import lru_cache

import numpy as np

from common.imaging.linear import Band, apply, band
from common.types import Stack

TRUNCATE = 4.0  # standard deviations after which the Gaussian is cut off: 6e-5 of its sum lies beyond


def mean(stack: Stack, radius: int) -> Stack:
    """g(x, y) = average of the (2·radius + 1)² window around each pixel; at the border, of the part inside."""
    return apply(stack, _mean_band(stack.shape[1], radius), _mean_band(stack.shape[2], radius))


def gaussian(stack: Stack, sigma: float) -> Stack:
    """Convolution with G(x, y) = exp(-(x² + y²) / 2σ²) / 2πσ², sampled at whole pixels.

    It is cut off at 4σ (radius ⌊4σ + ½⌋) and normalised over its samples, so that a constant image stays constant.
    Beyond the border the image is mirrored with its edge pixel repeated: d c b a | a b c d | d c b a.
    """
    return apply(stack, _gaussian_band(stack.shape[1], sigma), _gaussian_band(stack.shape[2], sigma))


@lru_cache(maxsize=64)
def _mean_band(size: int, radius: int) -> Band:
    around = np.arange(size)[:, None] + np.arange(-radius, radius + 1)
    inside = (around >= 0) & (around < size)
    return band(size, np.clip(around, 0, size - 1), inside.astype(np.float64))


@lru_cache(maxsize=64)
def _gaussian_band(size: int, sigma: float) -> Band:
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    around = (np.arange(size)[:, None] + offsets) % (2 * size)
    mirrored = np.minimum(around, 2 * size - 1 - around)
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return band(size, mirrored, np.broadcast_to(weights, mirrored.shape))

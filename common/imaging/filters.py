"""Smoothing: the mean filter and the Gaussian. OpenCV filters large images, banded matrices many small ones at once.

Which of the two follows from an image's own size, so that an image gives the same bits whatever it is processed with.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from common.imaging.linear import Band, apply, band
from common.types import Stack

LARGE = 1 << 15
"""Pixels of an image from which on OpenCV is the faster: 181². On 300 images of 28² it takes many times as long."""

TRUNCATE = 4.0  # standard deviations after which the Gaussian is cut off: 6e-5 of its sum lies beyond


def mean(stack: Stack, radius: int) -> Stack:
    """g(x, y) = average of the (2·radius + 1)² window around each pixel; at the border, of the part inside."""
    h, w = stack.shape[1:3]
    if h * w >= LARGE:
        import cv2

        taps, share = (2 * radius + 1, 2 * radius + 1), _mean_share(h, w, radius)
        result = np.empty_like(stack, order="C")
        for image, out in zip(np.ascontiguousarray(stack), result, strict=True):
            cv2.boxFilter(image, -1, taps, dst=out, normalize=False, borderType=cv2.BORDER_CONSTANT)
            out *= share
        return result
    return apply(stack, _mean_band(stack.shape[1], radius), _mean_band(stack.shape[2], radius))


def gaussian(stack: Stack, sigma: float) -> Stack:
    """Convolution with G(x, y) = exp(-(x² + y²) / 2σ²) / 2πσ², sampled at whole pixels.

    It is cut off at 4σ (radius ⌊4σ + ½⌋) and normalised over its samples, so that a constant image stays constant.
    Beyond the border the image is mirrored with its edge pixel repeated: d c b a | a b c d | d c b a.
    """
    _, h, w, c = stack.shape
    if h * w >= LARGE:
        import cv2

        taps = _gaussian_weights(sigma).astype(np.float32)
        border = cv2.BORDER_REFLECT
        return np.stack(
            [
                cv2.sepFilter2D(i, -1, taps, taps, borderType=border).reshape(h, w, c)
                for i in np.ascontiguousarray(stack)
            ]
        )
    return apply(stack, _gaussian_band(stack.shape[1], sigma), _gaussian_band(stack.shape[2], sigma))


@lru_cache(maxsize=64)
def _mean_band(size: int, radius: int) -> Band:
    around = np.arange(size)[:, None] + np.arange(-radius, radius + 1)
    inside = (around >= 0) & (around < size)
    return band(size, np.clip(around, 0, size - 1), inside.astype(np.float64))


@lru_cache(maxsize=1)
def _mean_share(h: int, w: int, radius: int) -> NDArray[np.float32]:
    """float32[h, w, 1]: 1 over the pixels inside, of each place."""
    return np.multiply.outer(_mean_weights(h, radius), _mean_weights(w, radius))[:, :, None]


def _mean_weights(size: int, radius: int) -> NDArray[np.float32]:
    """1 over the pixels inside, of each place along an axis."""
    place = np.arange(size)
    inside = np.minimum(place + radius, size - 1) - np.maximum(place - radius, 0) + 1
    return (1 / inside).astype(np.float32)


def _gaussian_weights(sigma: float) -> NDArray[np.float64]:
    radius = int(TRUNCATE * sigma + 0.5)
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum(), np.float64)


@lru_cache(maxsize=64)
def _gaussian_band(size: int, sigma: float) -> Band:
    weights = _gaussian_weights(sigma)
    radius = len(weights) // 2
    offsets = np.arange(-radius, radius + 1)
    around = (np.arange(size)[:, None] + offsets) % (2 * size)
    mirrored = np.minimum(around, 2 * size - 1 - around)
    return band(size, mirrored, np.broadcast_to(weights, mirrored.shape))

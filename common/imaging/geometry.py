"""Size and channels: resize, crop, and RGB to grey."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from common.errors import DataError
from common.imaging.linear import Band, apply, band
from common.types import Stack

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def resize(stack: Stack, height: int, width: int) -> Stack:
    """Stretch to height × width; float32[n, h, w, c] -> float32[n, height, width, c].

    Along each axis an output pixel is the average of the inputs under a triangle around its centre, whose half-width is
    the scale when shrinking (no aliasing) and one pixel when enlarging (bilinear); the same as Pillow's BILINEAR.
    """
    if stack.shape[1:3] == (height, width):
        return stack
    return apply(stack, _resize_band(stack.shape[1], height), _resize_band(stack.shape[2], width))


def fit(stack: Stack, height: int, width: int) -> Stack:
    """Resize to fit inside height × width without distortion; the rest, half on each side, is 0."""
    n, h, w, c = stack.shape
    scale = min(height / h, width / w)
    inner = resize(stack, max(1, round(h * scale)), max(1, round(w * scale)))
    padded = np.zeros((n, height, width, c), np.float32)
    top, left = (height - inner.shape[1]) // 2, (width - inner.shape[2]) // 2
    padded[:, top : top + inner.shape[1], left : left + inner.shape[2]] = inner
    return padded


def crop(stack: Stack, top: int, left: int, height: int, width: int) -> Stack:
    """The part of height × width pixels from (top, left).

    Raises:
        DataError: where it does not lie inside the image.
    """
    h, w = stack.shape[1:3]
    if top < 0 or left < 0 or top + height > h or left + width > w:
        raise DataError(
            f"crop: rows {top}..{top + height} and columns {left}..{left + width} are not inside an image of {h}×{w}. "
            "Choose a smaller part, use unit: share, or put a resize before it."
        )
    return stack[:, top : top + height, left : left + width]


def grey(stack: Stack) -> Stack:
    """RGB to luminance; a single channel stays as it is.

    Raises:
        DataError: for another number of channels.
    """
    if stack.shape[3] not in (1, 3):
        raise DataError(
            f"grey: expected 1 or 3 channels, got {stack.shape[3]}. Put grey before steps that add channels."
        )
    return intensity(stack)[..., None]


def intensity(stack: Stack) -> NDArray[np.float32]:
    """What the eye sees of each pixel, float32[n, h, w]: luminance of the first three channels, else the first."""
    if stack.shape[3] < 3:
        return stack[..., 0]
    luminance: NDArray[np.float32] = stack[..., 0] * LUMINANCE[0]
    luminance += stack[..., 1] * LUMINANCE[1]
    luminance += stack[..., 2] * LUMINANCE[2]
    return luminance


@lru_cache(maxsize=1024)
def _resize_band(inputs: int, outputs: int) -> Band:
    scale = inputs / outputs
    support = max(scale, 1.0)
    centre = (np.arange(outputs)[:, None] + 0.5) * scale - 0.5
    under = np.floor(centre - support).astype(np.int64) + np.arange(int(np.ceil(2 * support)) + 2)
    weights = np.maximum(1 - np.abs(under - centre) / support, 0)
    weights[(under < 0) | (under >= inputs)] = 0
    return band(inputs, np.clip(under, 0, inputs - 1), weights)

"""A fingerprint of how an image looks: two of nearly the same image correlate, whatever format or size they came in.

16×16 pixels without what is coarser than two of them: chest radiographs resemble each other in the coarse alone, so
that unrelated ones correlate by .94 of it and below .8 without it (docs/measurements.md).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from common.imaging import geometry
from common.types import Stack

SIDE = 16
LEAST = 8
"""An image of fewer pixels a side tells too little: unrelated ones would correlate."""
_COARSE = 2.0
"""Standard deviation, in pixels, of the Gaussian whose result is taken away."""


def thumbnail(pixels: Stack) -> bytes:
    """What is kept of float32[h, w, c]: int8[256] of mean 0, in bytes; none of an image that is small or flat.

    Whole numbers, so that sums over them are exact and the same on every machine.
    """
    if min(pixels.shape[:2]) < LEAST:
        return b""
    grey = geometry.intensity(pixels[None])[0]
    small = cv2.resize(np.ascontiguousarray(grey), (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    fine = small - cv2.GaussianBlur(small, (0, 0), _COARSE, borderType=cv2.BORDER_REPLICATE)
    fine -= fine.mean()
    if (most := float(np.abs(fine).max())) <= 1e-6 * max(1.0, float(np.abs(small).max())):
        return b""
    scaled: NDArray[np.int8] = np.round(fine * (127 / most)).astype(np.int8)
    return scaled.tobytes()

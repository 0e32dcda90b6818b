"""CLAHE: histogram equalisation tile by tile, with the contrast limited. Zuiderveld, Graphics Gems IV, 1994.

The histogram is clipped and handed back as OpenCV does it, so that the two agree where the tiles divide the image.
"""

import numpy as np
from numpy.typing import NDArray

from common.imaging.geometry import intensity
from common.imaging.segment import PIECE, histogram, quantise
from common.types import Stack

LEVELS = 256
HELD = 1 << 20  # bins of histograms at once


def clahe(stack: Stack, clip: float, tiles: int) -> Stack:
    """Equalise the intensity; what it gains is added to all of an image's own channels (1 grey, or 3 of RGB).

    Args:
        stack: float32[n, h, w, c] in 0..1.
        clip: most that a bin may hold, as a multiple of the bins' mean.
        tiles: in each direction; fewer where an image has fewer pixels.
    """
    before = intensity(stack)
    many = max(1, HELD // (LEVELS * tiles**2))
    parts = [equalised(before[start : start + many], clip, tiles) for start in range(0, len(before), many)]
    gain = np.concatenate(parts) - before
    result = stack.copy()
    result[..., : 3 if stack.shape[3] >= 3 else 1] += gain[..., None]
    return np.clip(result, 0, 1, out=result)


def equalised(planes: NDArray[np.float32], clip: float, tiles: int) -> NDArray[np.float32]:
    """float32[n, h, w] in 0..1 -> the same, each pixel mapped by the four tiles around it, bilinearly."""
    n, h, w = planes.shape
    down, across = min(tiles, h), min(tiles, w)
    high, wide = -(-h // down), -(-w // across)
    levels = quantise(planes, LEVELS)
    # Mirrored without repeating the edge; a single row or column has nothing to mirror.
    padded = np.pad(
        levels, ((0, 0), (0, down * high - h), (0, across * wide - w)), "reflect" if min(h, w) > 1 else "edge"
    )
    each = padded.reshape(n, down, high, across, wide).swapaxes(2, 3).reshape(-1, high, wide)
    maps = _mappings(histogram(each, LEVELS), clip, high * wide).ravel()

    rows, columns = _neighbours(h, high, down), _neighbours(w, wide, across)
    result = np.zeros(planes.shape, np.float32)
    image = np.arange(n)[:, None, None] * down
    strip = max(1, PIECE // (n * w))
    for top in range(0, h, strip):
        some = slice(top, top + strip)
        for row, row_weight in rows:
            for column, column_weight in columns:
                place = ((image + row[some, None]) * across + column) * LEVELS
                place += levels[:, some]
                mapped = maps.take(place)
                mapped *= row_weight[some, None] * column_weight
                result[:, some] += mapped
    return result


def _mappings(counts: NDArray[np.int64], clip: float, area: int) -> NDArray[np.float32]:
    """From tiles' histograms to what each level becomes: int64[m, 256] -> float32[m, 256] in 0..1."""
    limit = max(int(clip * area / LEVELS), 1)
    excess = np.maximum(counts - limit, 0).sum(axis=1)
    clipped = np.minimum(counts, limit) + (excess // LEVELS)[:, None]
    remainder = excess % LEVELS
    # What does not divide goes to every step-th bin from the darkest on.
    step = np.maximum(LEVELS // np.maximum(remainder, 1), 1)[:, None]
    place = np.arange(LEVELS)
    clipped += (place % step == 0) & (place // step < remainder[:, None])
    mapped = np.rint(clipped.cumsum(axis=1) * ((LEVELS - 1) / area)) / (LEVELS - 1)
    return np.asarray(np.minimum(mapped, 1), np.float32)


def _neighbours(size: int, tile: int, count: int) -> list[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Of every row (or column) the tiles before and after it, and their weights; at the border both are one tile."""
    position = np.arange(size) / tile - 0.5
    before = np.floor(position).astype(np.intp)
    after = (position - before).astype(np.float32)
    return [(np.clip(before, 0, count - 1), 1 - after), (np.clip(before + 1, 0, count - 1), after)]

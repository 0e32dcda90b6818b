"""Segmentation: by edges (gradient, threshold, clean-up) and by exact, deterministic k-means of the intensities.

Otsu's threshold is the exact 2-means of a histogram, so both share one search. k-means in one dimension is solved by
dynamic programming over the histogram, with the divide and conquer that the monotone splits allow (Grønlund et al.,
arXiv:1701.07204): no starting points, no iterations, the same answer everywhere.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]
"""float32[n, h, w]."""
Masks = NDArray[np.bool_]
"""bool[n, h, w]."""
Levels = NDArray[np.unsignedinteger[Any]]
"""Bin of each pixel: uint8 or uint16[n, h, w], since what is done with them mostly waits for memory."""

PIECE = 1 << 15  # pixels counted at once: what the count widens them to stays in the processor's cache


def gradient(planes: Planes) -> Planes:
    """|∇I| = √((∂I/∂x)² + (∂I/∂y)²) by central differences, one-sided at the border, a pixel as the unit."""
    across = _difference(planes)
    down = _difference(planes.swapaxes(1, 2)).swapaxes(1, 2)
    np.multiply(across, across, out=across)
    np.multiply(down, down, out=down)
    across += down
    return np.sqrt(across, out=across)


def edges(planes: Planes, threshold: float | None, close: int, min_pixels: int) -> Masks:
    """Where |∇I| exceeds the threshold, closed, without small pieces.

    Args:
        planes: float32[n, h, w].
        threshold: in intensity a pixel; none: Otsu's, of the 256-bin histogram of each image's gradient.
        close: radius of the square that closes gaps; 0: none.
        min_pixels: 8-connected pieces of fewer pixels are removed.
    """
    strength = gradient(planes)
    if threshold is None:
        largest = strength.max(axis=(1, 2), keepdims=True)
        strength /= np.where(largest > 0, largest, 1)
        levels = _rounded(strength, 256)
        mask = _above(levels, two_means(histogram(levels, 256)))
    else:
        mask = strength > threshold
    return without_small(closed(mask, close), min_pixels)


def clusters(planes: Planes, k: int, bins: int) -> NDArray[np.uint8]:
    """Exact k-means of each image's intensities in 0..1: cluster of each pixel, 0 the darkest, uint8[n, h, w].

    Intensities are told apart in `bins` levels. An image of fewer levels than k has as many clusters as levels, from 0
    on. Of equally good partitions the one with the lowest splits is taken.
    """
    levels = quantise(planes, bins)
    if k == 2 and bins == 256:
        return _above(levels, two_means(histogram(levels, bins))).view(np.uint8)
    # One by one: 65,536 bins of many images at once would fill the memory.
    splits = np.array([k_means(histogram(one[None], bins)[0], k) for one in levels])
    labels = np.zeros(planes.shape, np.uint8)
    for split in splits.T:
        labels += _above(levels, split)
    return labels


def _above(levels: Levels, split: NDArray[np.int64]) -> Masks:
    """Pixels above the split of their image, int64[n]."""
    mask: Masks = levels > split.astype(levels.dtype)[:, None, None]
    return mask


def quantise(planes: Planes, bins: int) -> Levels:
    """The nearest of 256 or 65,536 levels from 0 to 1."""
    return _rounded(np.clip(planes, 0, 1), bins)


def _rounded(shares: Planes, bins: int) -> Levels:
    """Levels of what lies from 0 to 1, which is overwritten."""
    shares *= bins - 1
    shares += np.float32(0.5)
    return shares.astype(np.uint8 if bins == 256 else np.uint16)


def histogram(levels: Levels, bins: int) -> NDArray[np.int64]:
    """Pixels of each level in each image: int64[n, bins]."""
    flat = levels.reshape(len(levels), -1)
    n, pixels = flat.shape
    if PIECE <= pixels < 1 << 24:  # OpenCV counts in float32
        import cv2

        each = [cv2.calcHist([one], [0], None, [bins], [0, bins]) for one in flat]
        return np.stack(each).reshape(n, bins).astype(np.int64)
    many = max(1, PIECE // pixels)
    counts = np.zeros((n, bins), np.int64)
    for start in range(0, n, many):
        some = counts[start : start + many]
        first = (np.arange(len(some)) * bins)[:, None]
        for offset in range(0, pixels, PIECE):
            numbered = flat[start : start + many, offset : offset + PIECE] + first
            some += np.bincount(numbered.ravel(), minlength=some.size).reshape(some.shape)
    return counts


def two_means(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The last level of the darker cluster, by trying all: int64[n, bins] -> int64[n]; the last bin if all are one."""
    below = counts.cumsum(axis=1)
    weight = (counts * np.arange(counts.shape[1])).cumsum(axis=1)
    # The variance between the clusters, up to a factor; whole numbers until the square, so that equal splits tie.
    apart = (weight[:, -1:] * below - below[:, -1:] * weight).astype(np.float64)
    score = np.square(apart, out=apart) / np.maximum(below * (below[:, -1:] - below), 1)
    best: NDArray[np.int64] = score.argmax(axis=1)
    best[score.max(axis=1) == 0] = counts.shape[1] - 1
    return best


def k_means(counts: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The last level of each cluster but the brightest: int64[bins] -> int64[k-1], rising.

    Maximises Σ (sum of a cluster)² / (its pixels), which minimises the squared distances to the clusters' means.
    """
    present = np.flatnonzero(counts)
    if len(present) <= k:
        return np.concatenate([present[:-1], np.full(k - len(present), present[-1])])
    pixels = np.concatenate([[0], counts[present].cumsum()])
    total = np.concatenate([[0], (counts[present] * present).cumsum()]).astype(np.float64)
    best = total[1:] ** 2 / pixels[1:]
    firsts = []
    for _ in range(k - 2):
        best, first = _one_cluster_more(best, pixels, total)
        firsts.append(first)
    last = int((best[:-1] + (total[-1] - total[1:-1]) ** 2 / (pixels[-1] - pixels[1:-1])).argmax())
    splits = [present[last]]
    for first in reversed(firsts):
        last = int(first[last]) - 1
        splits.append(present[last])
    return np.array(splits[::-1], np.int64)


def closed(mask: Masks, radius: int) -> Masks:
    """Morphological closing by a square of (2·radius + 1)², the outside of the image counting as neither."""
    return ~_grown(~_grown(mask, radius), radius) if radius else mask


def without_small(mask: Masks, min_pixels: int) -> Masks:
    """The mask without 8-connected pieces of fewer than `min_pixels` pixels."""
    if min_pixels <= 1:
        return mask
    from scipy.ndimage import label

    within = np.zeros((3, 3, 3), bool)
    within[1] = True  # pieces connect inside an image, never from one image to the next
    pieces, count = label(mask, within)
    keep = np.bincount(pieces.ravel(), minlength=count + 1) >= min_pixels
    keep[0] = False
    remaining: Masks = keep[pieces]
    return remaining


def _difference(planes: Planes) -> Planes:
    """∂I/∂x along the last axis; 0 where that has a single pixel."""
    slope = np.zeros_like(planes)
    if planes.shape[-1] > 1:
        np.subtract(planes[..., 2:], planes[..., :-2], out=slope[..., 1:-1])
        slope[..., 1:-1] *= np.float32(0.5)
        slope[..., 0] = planes[..., 1] - planes[..., 0]
        slope[..., -1] = planes[..., -1] - planes[..., -2]
    return slope


def _grown(mask: Masks, radius: int) -> Masks:
    """Dilation by a square: a pixel is set where any within `radius` rows and columns is."""
    for axis in (1, 2):
        grown = mask.copy()
        along, source = grown.swapaxes(1, axis), mask.swapaxes(1, axis)
        for shift in range(1, min(radius, along.shape[1] - 1) + 1):
            along[:, shift:] |= source[:, :-shift]
            along[:, :-shift] |= source[:, shift:]
        mask = grown
    return mask


def _one_cluster_more(
    best: NDArray[np.float64], pixels: NDArray[np.int64], total: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """From the best scores of levels 0..j with some clusters to those with one more, and where its last one begins.

    The beginning never moves back as j grows, so the middle j is solved first and bounds those on both sides of it; all
    js of one depth are solved together.
    """
    m = len(best)
    first = np.ones(m, np.int64)
    score = np.full(m, -np.inf)
    stride = 1 << (m - 1).bit_length()
    while stride:
        js = np.arange(stride - 1, m, 2 * stride)
        lower = np.where(js - stride >= 0, first[js - stride], 1)
        upper = np.minimum(np.where(js + stride < m, first[np.minimum(js + stride, m - 1)], m - 1), js)
        js, lower, upper = (a[lower <= upper] for a in (js, lower, upper))  # one level cannot be two clusters
        if len(js):
            widths = upper - lower + 1
            starts = widths.cumsum() - widths
            owner = np.repeat(np.arange(len(js)), widths)
            begin = np.arange(widths.sum()) - (starts - lower)[owner]
            end = js[owner] + 1
            value = best[begin - 1] + (total[end] - total[begin]) ** 2 / (pixels[end] - pixels[begin])
            score[js] = np.maximum.reduceat(value, starts)
            first[js] = np.minimum.reduceat(np.where(value == score[js][owner], begin, m), starts)
        stride //= 2
    return score, first

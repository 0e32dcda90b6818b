"""The bins that scores are counted in, so that counts of several sites add up.

A score lies somewhere on the scale asinh(log-odds / NEAR), from -FAR to FAR. It is counted once at each of LEVELS
levels, whose bins are FINER times as narrow as those of the level before, in WINDOW numbers each: the first level's
bins cover the scale, a finer level's number i counts all bins i, i + WINDOW, i + 2 WINDOW … of it. Scores that are
bunched in a few coarse bins do not overlap there, wherever they are, and are told apart to 1.5 millionths of what they
are; of scores that are spread widely the first levels say enough. So a few numbers do for both, and nobody has to ask
first where the scores lie: a second question over fewer sites would tell what one site has.

`rows` puts the levels together. Where bins that hold cases share a number, they share its cases in proportion. Of
scores of which half are bunched and half are spread the AUC is off by up to .03.
"""

from math import asinh
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEAR = 0.01
"""Log-odds within which bins are of one width."""
FAR = 1000.0
"""Log-odds beyond this fall into the outermost bins."""
LEVELS, WINDOW, FINER = 6, 512, 8
MOST_ROWS = 20_000
"""Rows beyond which no finer level is looked at: the scores are spread widely."""

BINS = WINDOW * FINER
"""Those of the second level, which results and packages write."""
OLD_BINS, OLD_LIMIT = 1024, 16.0
"""Of release 0.2: bins of one width from -16 to 16. Files of it say no spacing."""

Floats = NDArray[np.float64]
_REACH = asinh(FAR / NEAR)


class Rows(NamedTuple):
    """Bins that hold cases, from the lowest to the highest."""

    low: Floats
    """Log-odds at which each begins, float64[m]."""
    high: Floats
    counts: Floats
    """Whole numbers, float64[2, m]: cases outside and inside the class."""


def places(margins: Floats | float) -> Floats:
    """Where scores (log-odds) lie on the scale, from 0 to below 1."""
    place = (np.arcsinh(np.asarray(margins, np.float64) / NEAR) / _REACH + 1) / 2
    return np.clip(place, 0.0, np.nextafter(1.0, 0.0))


def scores(place: Floats) -> Floats:
    """The log-odds at places of the scale."""
    log_odds: Floats = NEAR * np.sinh((2 * place - 1) * _REACH)
    return log_odds


EDGES: Floats = scores(np.arange(BINS + 1) / BINS)
"""Where bins begin and end, float64[BINS + 1]."""
MIDDLES: Floats = scores((np.arange(BINS) + 0.5) / BINS)
"""A score for each bin, float64[BINS]."""


def bin_of(margins: Floats | float) -> NDArray[np.int64]:
    """The bin of each score (log-odds) among BINS, int64 of the same shape."""
    return np.asarray(places(margins) * BINS).astype(np.int64)


def of_older(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bins that those of release 0.2 come nearest to, by their middles."""
    return bin_of((bins + 0.5) * 2 * OLD_LIMIT / OLD_BINS - OLD_LIMIT)


def levels(place: Floats, weights: Floats | None = None) -> Floats:
    """Cases at places of the scale, float64[n], each counted as often as its weight says: float64[LEVELS, WINDOW]."""
    bins = (np.floor(place * WINDOW * FINER**level).astype(np.int64) % WINDOW for level in range(LEVELS))
    return np.stack([np.bincount(at, weights, WINDOW).astype(np.float64) for at in bins])


def rows(histogram: Floats) -> Rows:
    """The levels put together: float64[2, LEVELS, WINDOW], outside and inside a class."""
    bins = np.flatnonzero(histogram[:, 0].sum(axis=0))
    counts, width = histogram[:, 0][:, bins], 1 / WINDOW
    for level in range(1, LEVELS):
        # Bins that share numbers share all FINER of them.
        parts = histogram[:, level].reshape(2, WINDOW // FINER, FINER)
        wholes, part = parts.sum(axis=2), bins % (WINDOW // FINER)
        share = np.divide(parts, wholes[:, :, None], out=np.zeros_like(parts), where=wholes[:, :, None] > 0)
        finer = counts[:, :, None] * share[:, part]
        filled = finer.sum(axis=0) > 1e-9
        if filled.sum() > MOST_ROWS:
            break
        bins, counts, width = (bins[:, None] * FINER + np.arange(FINER))[filled], finer[:, filled], width / FINER
    whole = np.diff(np.rint(np.cumsum(counts, axis=1) + 1e-9), axis=1, prepend=0)  # in order, so none is lost
    there = whole.sum(axis=0) > 0
    return Rows(scores(bins[there] * width), scores((bins[there] + 1) * width), whole[:, there])

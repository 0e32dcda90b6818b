"""The bins that scores are counted in, so that counts of several sites add up: fixed, fine near 0, wide far from it.

Bins are equally wide on the scale asinh(log-odds / NEAR): 0.00006 wide at 0, and 0.6 % of the score beyond NEAR, up to
FAR. So scores that are bunched within 0.01 and scores of ±100 both keep their order, in a vector of one length. Scores
that differ from each other by less than 0.6 % of what they are share a bin.
"""

from math import asinh

import numpy as np
from numpy.typing import NDArray

BINS = 4096
NEAR = 0.01
"""Log-odds within which bins are of one width."""
FAR = 1000.0
"""Log-odds beyond this fall into the outermost bins."""
OLD_BINS, OLD_LIMIT = 1024, 16.0
"""Of release 0.2: bins of one width from -16 to 16. Files of it say no spacing."""

Floats = NDArray[np.float64]
_REACH = asinh(FAR / NEAR)

EDGES: Floats = NEAR * np.sinh(np.linspace(-1.0, 1.0, BINS + 1) * _REACH)
"""Where bins begin and end, float64[BINS + 1]."""
MIDDLES: Floats = NEAR * np.sinh(((np.arange(BINS) + 0.5) * 2 / BINS - 1) * _REACH)
"""A score for each bin, float64[BINS]."""


def bin_of(margins: Floats | float) -> NDArray[np.int64]:
    """The bin of each score (log-odds), int64 of the same shape."""
    at = (np.arcsinh(np.asarray(margins, np.float64) / NEAR) / _REACH + 1) * BINS / 2
    return np.clip(at, 0, BINS - 1).astype(np.int64)


def of_older(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bins that those of release 0.2 come nearest to, by their middles."""
    return bin_of((bins + 0.5) * 2 * OLD_LIMIT / OLD_BINS - OLD_LIMIT)

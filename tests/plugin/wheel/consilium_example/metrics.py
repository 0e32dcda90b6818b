"""A metric."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def kappa(counts: Mapping[str, NDArray[np.float64]]) -> float | None:
    """Cohen's kappa of the largest score, from the confusion summed over sites [true, predicted]."""
    confusion = counts["confusion"]
    n = confusion.sum()
    if not n:
        return None
    expected = float(confusion.sum(axis=0) @ confusion.sum(axis=1)) / n**2
    return None if expected == 1 else float((np.trace(confusion) / n - expected) / (1 - expected))

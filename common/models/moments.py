"""Second moments of images at their lowest cosine frequencies: what the SVM's solver preconditions with.

A sum of all second moments (d × d) tells who is in it below some ten cases a dimension, and images can be completed
from it. The lowest q × q frequencies (of the orthonormal cosine transform, DCT-II) hold most of what differs between
images, and are r = q² + 1 dimensions with the intercept. All else is one number: what is left of the sum of squares.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def cosines(shape: tuple[int, int, int], q: int) -> Floats:
    """The q × q lowest frequencies of an image, float64[h·w·c, k]: orthonormal columns, the same in every channel.

    Args:
        q: per side; k is q² unless the image has fewer pixels along a side.
    """
    h, w, c = shape
    basis = np.einsum("ip,jq->ijpq", _lowest(h, q), _lowest(w, q)).reshape(h * w, -1)
    return np.asarray(np.repeat(basis, c, axis=0) / np.sqrt(c))


def _lowest(n: int, q: int) -> Floats:
    k = np.arange(min(q, n))
    # Nine digits, so that the same numbers come out whoever computes the cosine.
    waves = np.round(np.cos(np.pi * (np.arange(n)[:, None] + 0.5) * k / n), 9)
    return np.asarray(waves * np.where(k == 0, np.sqrt(1 / n), np.sqrt(2 / n)))


@dataclass(frozen=True)
class Moments:
    """How a vector z = (image, 1) is seen by its lowest frequencies."""

    basis: Floats
    """float64[d - 1, k]"""

    @property
    def size(self) -> int:
        """r: frequencies and intercept."""
        return int(self.basis.shape[1]) + 1

    def low(self, z: Floats) -> Floats:
        """float64[n, d] to float64[n, r], the intercept last."""
        return np.concatenate([z[:, :-1] @ self.basis, z[:, -1:]], axis=1)

"""Sums of products to the same bits on every processor, for what all sites of a run must compute alike.

BLAS and LAPACK add in an order that depends on the processor, so their last digits do too. `math.fsum` gives the sum of
doubles rounded once, whatever their order (Shewchuk, Discrete Comput. Geom. 1997); products of two doubles are rounded
alike everywhere (IEEE 754).
"""

import math

import numpy as np
from numpy.typing import NDArray

from common.errors import WireError

Floats = NDArray[np.float64]


def dot(one: Floats, other: Floats) -> float:
    """Σ one · other."""
    return math.fsum((one * other).tolist())


def dots(vectors: Floats, other: Floats) -> Floats:
    """`dot` along the last axis; `other` is one vector, or one each."""
    products = vectors * other
    sums = [math.fsum(row) for row in products.reshape(-1, products.shape[-1]).tolist()]
    return np.array(sums).reshape(products.shape[:-1])


def norm(vector: Floats) -> float:
    """√Σ vector²."""
    return math.sqrt(dot(vector, vector))


def cholesky(matrix: Floats) -> Floats:
    """Lower factor of a symmetric matrix, float64[r, r]; for r of a few hundred.

    Raises:
        WireError: if it is not positive.
    """
    lower = np.zeros_like(matrix)
    for i in range(len(matrix)):
        for j in range(i + 1):
            rest = float(matrix[i, j]) - dot(lower[i, :j], lower[j, :j])
            if i > j:
                lower[i, j] = rest / lower[j, j]
            elif rest > 0:
                lower[i, i] = math.sqrt(rest)
            else:
                raise WireError(
                    "the summed second moments are not positive: expected Σ z zᵀ from every site. "
                    "Bring all sites to the same release."
                )
    return lower


def solve(lower: Floats, vector: Floats) -> Floats:
    """x of L Lᵀ x = v."""
    x = vector.copy()
    for i in range(len(x)):
        x[i] = (x[i] - dot(lower[i, :i], x[:i])) / lower[i, i]
    for i in reversed(range(len(x))):
        x[i] = (x[i] - dot(lower[i + 1 :, i], x[i + 1 :])) / lower[i, i]
    return x

"""Separable linear filters as banded matrices: filtered = R · image · Cᵀ, where each row of R and C sums to 1.

A matrix holds the weights and the border rule alike, so the mean filter, the Gaussian and resizing are one product.
Only the blocks along the band are multiplied, by BLAS; that is two to five times as fast as scipy.ndimage and, unlike
running sums, keeps the full precision of float32.
"""

from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from common.types import Stack

BLOCK = 32  # rows of a block: wide enough for BLAS, narrow enough that few of the products are with zeros
STRIP = 256 * 1024  # pixels between the two products, which should stay in the processor's cache

ONE_AT_A_TIME = Lock()  # The limit on BLAS is the process's: undone out of turn, it would never be lifted.


@dataclass(frozen=True)
class Band:
    """A matrix [outputs, inputs] of which only blocks along the diagonal are stored."""

    outputs: int
    inputs: int
    blocks: tuple[tuple[slice, slice, NDArray[np.float32]], ...]
    """Rows, columns, and the dense part where they meet."""


def band(inputs: int, sources: NDArray[np.int64], weights: NDArray[np.float64]) -> Band:
    """Output i is the mean of the inputs `sources[i]`, weighted by `weights[i]`; an input may come up twice.

    Args:
        inputs: length of the axis before.
        sources: int64[outputs, taps], each 0..inputs-1.
        weights: float64[outputs, taps], each row with a positive sum.
    """
    weights = weights / weights.sum(axis=1, keepdims=True)
    blocks = []
    for start in range(0, len(sources), BLOCK):
        rows = slice(start, min(start + BLOCK, len(sources)))
        first, last = int(sources[rows].min()), int(sources[rows].max()) + 1
        dense = np.zeros((rows.stop - start, last - first))
        np.add.at(dense, (np.arange(len(dense))[:, None], sources[rows] - first), weights[rows])
        blocks.append((rows, slice(first, last), dense.astype(np.float32)))
    return Band(len(sources), inputs, tuple(blocks))


def apply(stack: Stack, rows: Band, columns: Band) -> Stack:
    """R · image · Cᵀ for every image and channel: float32[n, h, w, c] -> float32[n, h', w', c]."""
    n, h, w, c = stack.shape
    planes = np.ascontiguousarray(np.moveaxis(stack, 3, 1)).reshape(n * c, h, w)
    result = np.empty((n * c, rows.outputs, columns.outputs), np.float32)
    many = max(1, STRIP // (rows.outputs * w))
    # Products this small gain little from a second thread, and wait for it a hundred times as long on a busy machine.
    # BLAS reads what lies beside small matrices as well: garbage there raises flags, and changes no result.
    quiet = np.errstate(invalid="ignore", over="ignore", divide="ignore")
    with ONE_AT_A_TIME, _blas().limit(limits=1), quiet:
        for start in range(0, n * c, many):
            some = slice(start, start + many)
            between = np.empty((len(planes[some]), rows.outputs, w), np.float32)
            for out, into, dense in rows.blocks:
                np.matmul(dense, planes[some, into], out=between[:, out])
            for out, into, dense in columns.blocks:
                np.matmul(between[..., into], dense.T, out=result[some, :, out])
    return np.moveaxis(result.reshape(n, c, rows.outputs, columns.outputs), 1, 3)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")

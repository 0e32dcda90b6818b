"""Preconditioned limited-memory BFGS as pure functions: where to go from what was seen, and whether a step was good.

The two-loop recursion of Nocedal, Math. Comp. 1980, on a preconditioner M = I + A in the place of the identity. A
strongly convex function has (move · change) > 0 for every pair, so Armijo's condition is all that a step has to meet.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky
from scipy.linalg.lapack import dpptrs

from common.algorithms.exact import dot, dots, norm
from common.errors import WireError
from common.models.svm import pack

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

Solve = Callable[[Floats], Floats]
"""M⁻¹ v."""

SUFFICIENT = 1e-4
"""Armijo's constant."""


@dataclass(frozen=True)
class Chosen:
    """The best of the points that were tried, row by row."""

    point: Floats
    """float64[rows, d]"""
    objective: Floats
    """float64[rows]"""
    good: Flags
    """bool[rows]: whether it went down enough."""


def factored(triangle: Floats, d: int) -> Floats:
    """Cholesky factor of I + A, packed as A is: its upper triangle row by row, float64[d (d + 1) / 2].

    Raises:
        WireError: if A is not a sum of squares, as second moments are.
    """
    matrix = np.zeros((d, d))
    matrix[np.triu(np.ones((d, d), np.bool_))] = triangle
    matrix[np.diag_indices(d)] += 1.0  # the Hessian of ½ |w|²: positive definite even where A is not
    try:
        return pack(cholesky(matrix, lower=False, overwrite_a=True))
    except np.linalg.LinAlgError:
        raise WireError(
            "the summed second moments are not positive: expected Σ z zᵀ from every site. "
            "Bring all sites to the same release."
        ) from None


def solved(factor: Floats, vector: Floats) -> Floats:
    """M⁻¹ v from M's packed factor."""
    solution, _ = dpptrs(len(vector), factor, vector, lower=1)  # LAPACK packs column by column: our upper is its lower
    return np.asarray(solution, np.float64)


def aim(gradient: Floats, moves: Floats, changes: Floats, solve: Solve | None) -> Floats:
    """The quasi-Newton direction, float64[d].

    Args:
        moves, changes: float64[m, d], oldest first, of points and of their gradients; rows of zeros are empty.
        solve: the preconditioner, or None.
    """
    # BFGS would keep a d × d inverse Hessian H and correct it after each step by s = move, y = change of gradient, so
    # that H y = s. The recursion applies the last m corrections to one vector without H ever being there: O(m d).
    curved = [(s, y, dot(s, y)) for s, y in zip(moves, changes, strict=True)]
    pairs = [(s, y, 1 / sy) for s, y, sy in curved if sy > 0]
    if not pairs:  # steepest descent, no longer than 1: nothing is known yet of how the function curves
        return -solve(gradient) if solve else -gradient / max(1.0, norm(gradient))
    q, shares = gradient.copy(), []
    for s, y, inverse in reversed(pairs):
        shares.append(inverse * dot(s, q))
        q -= shares[-1] * y
    # Between the two loops stands H before all corrections: the preconditioner, scaled to fit the newest pair.
    s, y, inverse = pairs[-1]
    q = solve(q) / (inverse * dot(y, solve(y))) if solve else q / (inverse * dot(y, y))
    for (s, y, inverse), share in zip(pairs, reversed(shares), strict=True):
        q += s * (share - inverse * dot(y, q))
    return np.asarray(-q)


def choose(point: Floats, objective: Floats, gradient: Floats, tried: tuple[Floats, Floats]) -> Chosen:
    """The lowest of the tried points of each row; it takes no gradient but that at the start.

    Args:
        point, objective, gradient: where the rows are, float64[rows, d], [rows], [rows, d].
        tried: points and objectives with an axis of points in front.
    """
    rows = np.arange(len(point))
    best = np.argmin(tried[1], axis=0)
    there, value = tried[0][best, rows], tried[1][best, rows]
    # Armijo: down by at least a small part of what the slope at the start promises for this step.
    predicted = dots(there - point, gradient)
    return Chosen(there, value, (predicted < 0) & (value <= objective + SUFFICIENT * predicted))


def push_memory(memory: Floats, newest: Floats, rows: Flags) -> Floats:
    """Memory float64[rows, m, d] with the newest put last and the oldest forgotten, in the rows that moved."""
    shifted = np.concatenate([memory[:, 1:], newest[:, None]], axis=1)[:, -memory.shape[1] :]
    return np.where(rows[:, None, None], shifted, memory) if memory.shape[1] else memory

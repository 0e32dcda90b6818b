"""One step of the SVM's solver on its state: every class to the best of the points tried, then the gradient there."""

import numpy as np

from common.algorithms import State, descent, exact
from common.algorithms.descent import Floats
from common.errors import WireError
from common.models.moments import Moments
from common.models.svm import LinearSvm
from common.types import Tensors

SHORTER, SHORTEST = 0.2, 1e-8
"""Factor on the steps after a round in which none was good; below this scale the arithmetic has no more to give."""


def found_best(state: State, tried: tuple[Floats, Floats]) -> State:
    """Where every class goes, by the objectives alone: to the best of its tried points, or nowhere where none was good,
    with shorter steps from then on. It is there once the gradient is known."""
    best = descent.choose(state["point"], state["objective"], state["gradient"], tried)
    scale = np.where(best.good, 1.0, SHORTER * state["scale"])
    return state | {
        "found": np.where(best.good[:, None], best.point, state["point"]),
        "found_objective": np.where(best.good, best.objective, state["objective"]),
        "good": best.good,
        "scale": scale,
        "done": state["done"] | (scale < SHORTEST),
    }


def step_to_found(state: State, gradient: Floats) -> State:
    """Every class where `found_best` said, given the gradients there, float64[rows, d]; who stays keeps its own."""
    good = state["good"]
    return state | {
        "point": state["found"],
        "objective": state["found_objective"],
        "gradient": np.where(good[:, None], gradient, state["gradient"]),
        "moves": descent.push_memory(state["moves"], state["found"] - state["point"], good),
        "changes": descent.push_memory(state["changes"], gradient - state["gradient"], good),
    }


def weakened(state: State, times: float) -> State:
    """Where a descent goes on with C so many times as large: objective, slope and memory are those of the new function.

    Each is that of ½ |w|² and C times the loss's own, so what has no C in it is scaled by nothing.
    """

    def scaled(value: Floats, penalty: Floats) -> Floats:
        return penalty + times * (value - penalty)

    point, moves = state["point"], state["moves"]
    return state | {
        "objective": scaled(state["objective"], 0.5 * exact.dots(point, point)),
        "gradient": scaled(state["gradient"], point),
        "changes": scaled(state["changes"], moves),
        "scale": np.ones_like(state["scale"]),
        "done": np.zeros_like(state["done"]),
    }


def preconditioned(model: LinearSvm, scale: float, sums: Tensors) -> State:
    """I + scale · Σ z zᵀ, as far as the sums tell: `factor` float64[1, r, r] of the low frequencies' part, and `rest`
    float64[1], what every other direction is multiplied by; with the sums themselves, for a run that carries them.

    The Hessian of the squared hinge is I + 2 C Σ z zᵀ over the cases inside the margin. Which those are changes with
    the weights; a share of all cases has nearly the same shape, and is summed only once.
    """
    moments, d = model.moments, model.features.dimension + 1
    if moments is None:
        raise WireError("second moments that this run does not ask for. Bring both sides to one plan.")
    r = moments.size
    gram, rest = checked_sum(sums, "gram", (r * (r + 1) // 2,)), checked_sum(sums, "rest", (1,))
    matrix = np.zeros((r, r))
    matrix[np.triu_indices(r)] = scale * gram
    matrix = np.triu(matrix, 1).T + matrix + np.eye(r)  # with the Hessian of ½ |w|²
    remainder = 1 + scale * np.maximum(rest, 0.0) / max(1, d - r)
    return {"factor": exact.cholesky(matrix)[None], "rest": remainder, "gram": gram, "gram_rest": rest}


def solved_low(moments: Moments, factor: Floats, rest: float, vector: Floats) -> Floats:
    """M⁻¹ v for the M of `preconditioned`, for each class of a vector that joins several."""
    d = len(moments.basis) + 1
    parts = []
    for part in vector.reshape(-1, d):
        low = np.append(exact.dots(moments.basis.T, part[:-1]), part[-1])
        parts.append((part - _lifted(moments, low)) / rest + _lifted(moments, exact.solve(factor, low)))
    return np.concatenate(parts)


def _lifted(moments: Moments, low: Floats) -> Floats:
    """float64[r] back to float64[d]."""
    return np.append(exact.dots(moments.basis, low[:-1]), low[-1])


def checked_sum(sums: Tensors, name: str, shape: tuple[int, ...]) -> Floats:
    """One of the sums, float64, after a look at its shape and numbers."""
    value = sums.get(name)
    if value is None or value.shape != shape or not np.isfinite(value).all():
        what = "missing" if value is None else f"of shape {value.shape}" if value.shape != shape else "not finite"
        raise WireError(
            f"the summed '{name}' is {what}, expected finite numbers of shape {shape}. Bring all sites to the same "
            "release and configuration, and check the images' intensities with `client check`."
        )
    return np.asarray(value, np.float64)

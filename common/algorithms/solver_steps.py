"""One step of the SVM's solver on its state: every class goes to the best of the points that were tried."""

import numpy as np

from common.algorithms import State, descent
from common.algorithms.descent import Flags, Floats
from common.errors import WireError
from common.types import Tensors

SHORTER, SHORTEST = 0.2, 1e-8
"""Factor on the steps after a round in which none was good; below this scale the arithmetic has no more to give."""


def step_to_best(state: State, tried: tuple[Floats, Floats, Floats]) -> tuple[State, Flags]:
    """Every class at the best of its tried points, or with shorter steps where none was good; and which moved."""
    here = state["point"], state["objective"], state["gradient"]
    best = descent.choose(*here, tried)
    scale = np.where(best.good, 1.0, SHORTER * state["scale"])
    after = {
        "point": np.where(best.good[:, None], best.point, here[0]),
        "objective": np.where(best.good, best.objective, here[1]),
        "gradient": np.where(best.good[:, None], best.gradient, here[2]),
        "moves": descent.push_memory(state["moves"], best.point - here[0], best.good),
        "changes": descent.push_memory(state["changes"], best.gradient - here[2], best.good),
        "scale": scale,
        "done": state["done"] | (scale < SHORTEST),
    }
    return state | after, best.good


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

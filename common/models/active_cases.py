"""Of how many cases a gradient is really a sum: where one or two stand out, the sum shows these.

The squared hinge leaves the cases outside the margin out, so those inside are counted, but for what weighs next to
nothing beside the heaviest. With the other losses every case weighs something, and however many weigh a thousandth of
the heaviest, they do not hide it: what counts is as how many of the heaviest all together weigh. Nor is that enough.
Far out, where all of a class weigh 1, one case that weighs nothing any more is missing from a sum that was known
before. So the same is asked of the second derivatives: of the cases that are on their way from one side to the other.
"""

import numpy as np
from numpy.typing import NDArray

from common.models.losses import Loss, signs
from common.types import Labels

Floats = NDArray[np.float64]

NEXT_TO_NOTHING = 2.0**-10
"""Share of the heaviest case's weight below which a case hides nobody."""


def active_cases(loss: Loss, f: Floats, labels: Labels, by_case: Floats) -> Floats:
    """How many cases a gradient is a sum of, float64[rows, 2]: outside of the row's class, and of it.

    Args:
        f: decision values, float64[n, rows].
        by_case: what each case counts, float64[n].
    """
    weight, sides = np.abs(loss.slopes(f, labels)) * by_case[:, None], signs(labels, f.shape[1])
    return np.stack([_many(loss, np.where(sides == side, weight, 0.0)) for side in (-1, 1)], axis=1)


def is_of_few(loss: Loss, f: Floats, labels: Labels, by_case: Floats, least: int) -> bool:
    """Whether a gradient, or newton's matrix, is a sum of fewer cases than that.

    Of a class none may be active or so many. With a loss that never vanishes half of a class will do where there are
    hardly more, since no two cases weigh the same.
    """
    if least <= 1:  # as in a simulation: nobody is to be hidden
        return False
    counts, sides = active_cases(loss, f, labels, by_case), signs(labels, f.shape[1])
    if loss.vanishes:
        return bool(((counts > 0) & (counts < least)).any())
    there = np.stack([(sides == side).sum(axis=0) for side in (-1, 1)], axis=1)
    turning, most = _many(loss, loss.curves(f, labels) * by_case[:, None]), there.sum(axis=1)
    are_few = (counts > 0) & (counts < np.minimum(least, there / 2))
    return bool(are_few.any() or (turning < np.minimum(least, most / 2)).any())


def _many(loss: Loss, weight: Floats) -> Floats:
    """As how many cases they count, float64[rows], from weights float64[n, rows]."""
    share = weight / np.maximum(weight.max(axis=0, initial=0.0), np.finfo(float).tiny)
    part = (share >= NEXT_TO_NOTHING) if loss.vanishes else share
    return np.asarray(part.sum(axis=0), np.float64)

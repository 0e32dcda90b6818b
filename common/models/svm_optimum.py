"""The optimum of a linear model on cases that are all here, by scikit-learn: for a site alone, and for pooled cases.

Where a class has no cases, or all, there is an optimum too, which scikit-learn refuses to look for: a made-up case at
the origin, of next to no weight, lets it.
"""

import numpy as np
from numpy.typing import NDArray

from common.config import Svm
from common.models.losses import signs
from common.types import Labels

Floats = NDArray[np.float64]

_ONE_SIDED_WEIGHT = 1e-12  # of the made-up case


def optimum(config: Svm, z: Floats, labels: Labels, weight: Floats, rows: int, problems: int) -> Floats:
    """(α, b) of every row, float64[rows, d], for the first of several C.

    Args:
        z: (φ(x), 1) of each case, float64[n, d].
        weight: as how many cases each counts, float64[n].
        rows, problems: of the model; fewer problems than rows are one problem of all rows.
    """
    if problems == rows:
        sides = signs(labels, rows)
        return np.stack([_of_row(config, z[:, :-1], sides[:, row], weight) for row in range(rows)])
    from sklearn.linear_model import LogisticRegression  # heavy: only training alone or pooled needs it

    absent = np.setdiff1d(np.arange(rows), labels)
    z = np.concatenate([z, np.zeros((len(absent), z.shape[1]))])
    labels, weight = np.append(labels, absent), np.append(weight, np.full(len(absent), _ONE_SIDED_WEIGHT))
    # The constant 1 is one of the features here, so that the intercept is penalised as the objective does.
    solver = LogisticRegression(C=config.candidates[0], fit_intercept=False, tol=1e-9, max_iter=10_000)
    return np.asarray(solver.fit(z, labels, weight).coef_)


def _of_row(config: Svm, features: Floats, sides: Floats, weight: Floats) -> Floats:
    """One row's (α, b), float64[d]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if not (is_known := sides != 0).all():
        features, sides, weight = features[is_known], sides[is_known], weight[is_known]
    if not len(sides):  # nobody knows the finding: what is left of the objective is the penalty
        return np.zeros(features.shape[1] + 1)
    if abs(sides.sum()) == len(sides):
        features = np.concatenate([features, np.zeros((1, features.shape[1]))])
        sides, weight = np.append(sides, -sides[0]), np.append(weight, _ONE_SIDED_WEIGHT)
    settings = {"C": config.candidates[0], "dual": False, "tol": 1e-6, "max_iter": 10_000}
    # liblinear alone penalises the intercept, as the objective does.
    solver = (
        LinearSVC(**settings) if config.loss == "squared_hinge" else LogisticRegression(solver="liblinear", **settings)
    )
    fitted = solver.fit(features, sides, weight)
    return np.append(fitted.coef_[0], fitted.intercept_[0])

"""A linear support vector machine on the image or on random Fourier features of it, and the sums that a site computes.

f(x) = α·φ(x) + b; one row of α for two classes (the direction of class 1), one row a class for more (one-vs-rest). The
objective of a row penalises the intercept, as LinearSVC's does: ½(|α|² + b²) + C Σ l(s f(x)), s = ±1. The loss is the
squared hinge l(m) = max(0, 1 - m)², or log(1 + exp(-m)), which makes it logistic regression.

Everything here is a plain function of weights and cases, so that sums over sites are the sums over the pooled cases:

    gram      Σ z zᵀ at low frequencies    z = (φ(x), 1); no labels in it: one serves every class and every C
    loss      Σ l at several points        no C, no penalty in it
    gradient  Σ l and Σ l' s z             at one point
    hessian   the two, and Σ l'' z zᵀ      at one point

The model never contains an image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from common.config import Svm
from common.errors import DataError, WeightsError
from common.image_stack import batches, slices
from common.models import Evidence, Fitted, Logits, Work
from common.models.features import Fourier, Identity
from common.models.moments import Moments, cosines
from common.types import Cases, Images, Labels, Stack, Tensors

Floats = NDArray[np.float64]

_BATCH_ELEMENTS = 2**21  # features held at a time: 16 MB
_STEPS = 64  # from nothing to the image, for `evidence`
_ONE_SIDED_WEIGHT = 1e-12  # of the made-up case beside a class that has no cases, or all of them


@dataclass(frozen=True)
class MarginLoss:
    """A loss l(m) of margins m = s f(x), any shape, with its first and second derivative."""

    value: Callable[[Floats], NDArray[Any]]
    slope: Callable[[Floats], NDArray[Any]]
    curve: Callable[[Floats], NDArray[Any]]
    steepest: float
    """The largest second derivative."""


LOSSES = {
    "squared_hinge": MarginLoss(
        value=lambda m: np.square(np.maximum(0.0, 1 - m)), slope=lambda m: -2 * np.maximum(0.0, 1 - m),
        curve=lambda m: 2.0 * (m < 1), steepest=2.0,
    ),
    "logistic": MarginLoss(
        value=lambda m: np.logaddexp(0.0, -m), slope=lambda m: -expit(-m), curve=lambda m: expit(m) * expit(-m),
        steepest=0.25,
    ),
}  # fmt: skip


class LinearSvm:
    """The SVM behind the `Model` protocol. Weights: `alpha` float64[rows, features], `intercept` float64[rows].

    Args:
        frequencies: a side, whose second moments `gram` sums; 0: none are asked. Fourier features have none.
    """

    kind: str = "svm"

    def __init__(self, config: Svm, shape: tuple[int, int, int], classes: int, frequencies: int = 0) -> None:
        inputs = int(np.prod(shape))
        self.config, self.shape, self.classes = config, shape, classes
        self.rows = 1 if classes == 2 else classes
        gamma = config.gamma if config.gamma is not None else 1 / inputs
        self.loss_of = LOSSES[config.loss]
        self.features: Identity | Fourier = (
            Identity(inputs)
            if config.features == "identity"
            else Fourier(inputs, config.dimension, gamma, config.seed or 0)
        )
        asks = config.solver == "gram-lbfgs" and config.features == "identity"
        self.frequencies = frequencies if asks else 0
        self.moments = Moments(cosines(shape, self.frequencies)) if self.frequencies else None

    def init(self, seed: int) -> Tensors:
        """Zeros: the optimum is one point, whatever the start, so the seed is not used."""
        return {"alpha": np.zeros((self.rows, self.features.dimension)), "intercept": np.zeros(self.rows)}

    def fit(
        self,
        weights: Tensors,
        cases: Cases,
        work: Work,
        *,
        moments: Tensors | None = None,
        anchor: Tensors | None = None,
        correction: Tensors | None = None,
    ) -> Fitted:
        """The optimum on these cases by scikit-learn, row by row, from wherever the weights are.

        `loss_sum` is Σ l over rows and cases. A row whose cases all lie on one side has an optimum too, which
        scikit-learn refuses to look for: a made-up case at the origin, of weight 1e-12, lets it.

        Raises:
            DataError: without cases.
        """
        if not len(cases):
            raise DataError("no cases to train on: expected at least one. Give the site cases, or leave it out.")
        z = np.concatenate([phi for phi, _ in self._batches(cases.images)])
        signs = self._signs(cases.labels)
        optima = np.stack([self._optimum(z[:, :-1], signs[:, row]) for row in range(self.rows)])
        new = {"alpha": optima[:, :-1], "intercept": optima[:, -1]}
        loss = self.loss_of.value(signs * (z @ optima.T))
        right = np.argmax(self.scores(new, cases.images), axis=1) == cases.labels
        return Fitted(new, {}, self.rows, len(cases), float(loss.sum()), int(right.sum()))

    def scores(self, weights: Tensors, images: Images) -> Logits:
        """Decision values float32[n, classes]; for two classes the columns are [-f, f]."""
        points = self._points(weights)
        parts = [z @ points.T for z, _ in self._batches(images)]
        f = np.concatenate(parts) if parts else np.zeros((0, self.rows))
        return (np.concatenate([-f, f], axis=1) if self.classes == 2 else f).astype(np.float32)

    def evidence(self, weights: Tensors, image: Stack, label: int) -> Evidence:
        """What every pixel adds to f, on the way from an image of zeros to this one: α x where φ(x) = x.

        Integrated gradients (Sundararajan, Taly and Yan, ICML 2017) by the midpoint rule: the map sums to f(x) - f(0).
        Zero is the average training image where the preprocessing ends in the federated normalisation.
        """
        by_input = self.slopes(weights, image, label) * image.reshape(-1)
        return Evidence(by_input.reshape(image.shape[1:]).sum(axis=2).astype(np.float32), is_signed=True)

    def slopes(self, weights: Tensors, image: Stack, label: int) -> Floats:
        """How the score of a class changes with each input, on average from zeros to this image: float64[inputs]."""
        alpha = self._points(weights)[0 if self.classes == 2 else label, :-1]
        steps = (np.arange(_STEPS, dtype=np.float32)[:, None] + 0.5) / _STEPS
        mean: Floats = self.features.gradient((steps * image.reshape(1, -1)).astype(np.float32), alpha).mean(axis=0)
        return -mean if self.classes == 2 and label == 0 else mean

    def gram(self, images: Images) -> Tensors:
        """Second moments at the lowest frequencies: `gram` float64[r (r + 1) / 2], the intercept last; `rest`
        float64[1], what is left of Σ |z|²; `n` float64[1].

        The lower triangle column by column, as LAPACK packs it; on a symmetric matrix that is the upper one row by row.

        Raises:
            WeightsError: this model asks for none.
        """
        if self.moments is None:
            raise WeightsError("asked for second moments, and this run asks for none. Bring both sides to one plan.")
        total, squares = np.zeros((self.moments.size, self.moments.size)), 0.0
        for z, _ in self._batches(images):
            low = self.moments.low(z)
            total += low.T @ low
            squares += float(np.square(z).sum())
        rest = max(0.0, squares - float(np.trace(total)))
        return {"gram": pack(total), "rest": np.array([rest]), "n": np.array([float(len(images))])}

    def loss(self, weights: Tensors, cases: Cases) -> Tensors:
        """The loss alone, at several points: `loss` float64[points, rows], `n` float64[1].

        Args:
            weights: `alpha` float64[points, rows, features], `intercept` float64[points, rows].
        """
        points = self._points(weights, axes=1)
        flat, loss = points.reshape(-1, points.shape[-1]), np.zeros(points[..., 0].size)
        for z, part in self._batches(cases.images):
            signs = np.tile(self._signs(cases.labels[part]), len(points))
            loss += self.loss_of.value(signs * (z @ flat.T)).sum(axis=0)
        return {"loss": loss.reshape(points.shape[:2]), "n": np.array([float(len(cases))])}

    def gradient(self, weights: Tensors, cases: Cases) -> Tensors:
        """Loss and its gradient: `loss` float64[rows], `gradient` float64[rows, features + 1], `n` float64[1].

        At one point, never at several: along a line the second difference of the summed gradient is the image of the
        case that crossed the margin there.

        Args:
            weights: `alpha` float64[rows, features], `intercept` float64[rows].
        """
        point = self._points(weights)
        loss, gradient = np.zeros(self.rows), np.zeros(point.shape)
        for z, part in self._batches(cases.images):
            signs = self._signs(cases.labels[part])
            margins = signs * (z @ point.T)
            loss += self.loss_of.value(margins).sum(axis=0)
            gradient += (signs * self.loss_of.slope(margins)).T @ z
        return {"loss": loss, "gradient": gradient, "n": np.array([float(len(cases))])}

    def hessian(self, weights: Tensors, cases: Cases) -> Tensors:
        """What `gradient` gives, and `hessian` float64[rows, d (d + 1) / 2], packed as in `gram`."""
        point = self._points(weights)
        total = np.zeros((self.rows, point.shape[1], point.shape[1]))
        for z, part in self._batches(cases.images):
            curves = self.loss_of.curve(self._signs(cases.labels[part]) * (z @ point.T))
            for row in range(self.rows):
                inside = z[curves[:, row] > 0]
                total[row] += (curves[curves[:, row] > 0, row, None] * inside).T @ inside
        return dict(self.gradient(weights, cases)) | {"hessian": np.stack([pack(h) for h in total])}

    def active(self, weights: Tensors, cases: Cases) -> NDArray[np.int64]:
        """How many cases a gradient at a point is a sum of, int64[rows, 2]: outside of the row's class, and of it. With
        the squared hinge those inside the margin, else all."""
        point, counts = self._points(weights), np.zeros((self.rows, 2), np.int64)
        for z, part in self._batches(cases.images):
            signs = self._signs(cases.labels[part])
            inside = self.loss_of.slope(signs * (z @ point.T)) < 0
            counts += np.stack([(inside & (signs < 0)).sum(axis=0), (inside & (signs > 0)).sum(axis=0)], axis=1)
        return counts

    def _batches(self, images: Images) -> Iterator[tuple[Floats, slice]]:
        """z = (φ(x), 1) of a few images at a time, float64[k, d], and which they are."""
        if images.shape[1:] != self.shape:
            raise DataError(f"images of shape {images.shape[1:]}, expected {self.shape}: resize them in `preprocess`.")
        parts = slices(len(images), max(1, _BATCH_ELEMENTS // (self.features.dimension + 1)))
        for part, stack in zip(parts, batches(images, parts), strict=True):
            z = np.ones((len(stack), self.features.dimension + 1))
            z[:, :-1] = self.features(stack.reshape(len(stack), -1))
            yield z, part

    def _points(self, weights: Tensors, axes: int = 0) -> Floats:
        """float64[rows, d] of weights, or float64[points, rows, d] where they have an axis of points in front.

        Raises:
            WeightsError: for other shapes, among them an axis of points where there must be none; for NaN, infinities.
        """
        shape = (self.rows, self.features.dimension)
        alpha, intercept = weights.get("alpha"), weights.get("intercept")
        fits = alpha is not None and intercept is not None and alpha.ndim == 2 + axes and alpha.shape[axes:] == shape
        if alpha is None or intercept is None or not fits or alpha.shape[:-1] != intercept.shape:
            front = "an axis of points, " if axes else ""
            raise WeightsError(
                f"weights of shapes { {name: value.shape for name, value in weights.items()} } are not this SVM's, "
                f"expected {front}alpha {shape} and intercept {shape[:1]}. Use the configuration of their training."
            )
        points = np.concatenate([alpha, intercept[..., None]], axis=-1).astype(np.float64)
        if not np.isfinite(points).all():
            raise WeightsError(
                "alpha or intercept holds infinite or undefined numbers. Train again, or take a checkpoint."
            )
        return points

    def _signs(self, labels: Labels) -> Floats:
        """±1, float64[n, rows]: whether a case is of the row's class."""
        positive = np.ones(1, int) if self.classes == 2 else np.arange(self.classes)
        return np.where(labels[:, None] == positive, 1.0, -1.0)

    def _optimum(self, features: Floats, signs: Floats) -> Floats:
        """One row's (α, b), float64[d]."""
        from sklearn.linear_model import LogisticRegression  # heavy: only training alone or pooled needs it
        from sklearn.svm import LinearSVC

        weight = np.ones(len(signs))
        if abs(signs.sum()) == len(signs):
            features = np.concatenate([features, np.zeros((1, features.shape[1]))])
            signs, weight = np.append(signs, -signs[0]), np.append(weight, _ONE_SIDED_WEIGHT)
        settings = {"C": self.config.C, "dual": False, "tol": 1e-6, "max_iter": 10_000}
        # liblinear alone penalises the intercept, as the objective does.
        solver = (
            LinearSVC(**settings)
            if self.config.loss == "squared_hinge"
            else LogisticRegression(solver="liblinear", **settings)
        )
        fitted = solver.fit(features, signs, weight)
        return np.append(fitted.coef_[0], fitted.intercept_[0])


def pack(symmetric: Floats) -> Floats:
    """The upper triangle row by row: float64[d, d] to float64[d (d + 1) / 2]."""
    return symmetric[np.triu(np.ones(symmetric.shape, bool))]

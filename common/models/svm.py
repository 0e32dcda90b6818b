"""A linear support vector machine on the image or on random Fourier features of it, and the sums that a site computes.

f(x) = α·φ(x) + b; one row of α for two classes (the direction of class 1), one row a class for more, one row a finding
for several findings an image, where a row's sums run over the cases that know its finding. The objective penalises the
intercept, as LinearSVC's does: ½(|α|² + b²) + C Σ loss, row by row (one-vs-rest) or, with softmax, of all rows together
(`common.models.losses`). With weights by class a case's loss counts as often as its class says.

Everything here is a plain function of weights and cases, so that sums over sites are the sums over the pooled cases:

    classes   how many cases of each class
    gram      Σ z zᵀ at low frequencies    z = (φ(x), 1); no labels in it: one serves every class and every C
    loss      Σ l at several points        no C, no penalty in it
    gradient  Σ l and Σ l' s z             at one point
    hessian   the two, and Σ l'' z zᵀ      at one point

The model never contains an image.
"""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import Svm
from common.errors import DataError, WeightsError
from common.image_stack import batches, slices
from common.models import Evidence, Fitted, Logits, Work
from common.models.active_cases import active_cases, is_of_few
from common.models.features import Features, Fourier, Identity
from common.models.losses import loss_named
from common.models.moments import Moments, cosines
from common.models.svm_optimum import optimum
from common.types import UNKNOWN, Cases, Images, Labels, Stack, Tensors, cases_by_class

Floats = NDArray[np.float64]

_BATCH_ELEMENTS = 2**21  # features held at a time: 16 MB
_STEPS = 64  # from nothing to the image, for `evidence`


class LinearSvm:
    """The SVM behind the `Model` protocol. Weights: `alpha` float64[rows, features], `intercept` float64[rows].

    Args:
        frequencies: a side, whose second moments `gram` sums; 0: none are asked. Fourier features have none.
    """

    kind: str = "svm"

    def __init__(self, config: Svm, shape: tuple[int, int, int], classes: int, frequencies: int = 0) -> None:
        inputs = int(np.prod(shape))
        self.config, self.shape, self.classes = config, shape, classes
        self.multilabel = config.multilabel
        self.rows = 1 if classes == 2 and not self.multilabel else classes
        gamma = config.gamma if config.gamma is not None else 1 / inputs
        self.loss_of = loss_named(config.loss, classes)
        self.problems = self.loss_of.problems(self.rows)
        self.features: Features = (
            Fourier(inputs, config.dimension, gamma, config.seed or 0)
            if config.features == "fourier"
            else Identity(inputs)
        )
        # An encoder's numbers and random features have no neighbours, and so no frequencies.
        asks = config.solver == "gram-lbfgs" and config.features == "identity" and max(shape[:2]) > 1
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
        """The optimum on these cases by scikit-learn, from wherever the weights are, for the first of several C.

        `loss_sum` is Σ l over rows and cases.

        Raises:
            DataError: without cases.
        """
        if not len(cases):
            raise DataError("no cases to train on: expected at least one. Give the site cases, or leave it out.")
        z = np.concatenate([phi for phi, _ in self._batches(cases.images)])
        weight = np.ones(len(cases))
        if self.config.class_weight:
            weight = self.balance(self.count(cases)["classes"])[cases.labels]
        optima = optimum(self.config, z, cases.labels, weight, self.rows, self.problems)
        new = {"alpha": optima[:, :-1], "intercept": optima[:, -1]}
        loss = self.loss_of.values(z @ optima.T, cases.labels)
        right = self._right(self.scores(new, cases.images), cases.labels)
        return Fitted(new, {}, self.rows, len(cases), float(loss.sum()), int(right.sum()))

    def scores(self, weights: Tensors, images: Images) -> Logits:
        """Decision values float32[n, classes]; for two classes the columns are [-f, f], or half of these where f is
        log-odds: their difference is. Of findings, f of each."""
        points = self._points(weights)
        parts = [z @ points.T for z, _ in self._batches(images)]
        f = np.concatenate(parts) if parts else np.zeros((0, self.rows))
        return (f @ self.columns if self._is_binary else f).astype(np.float32)

    @property
    def columns(self) -> Floats:
        """Of two classes: what the score of each is times f, float64[1, 2]."""
        share = 1.0 if self.config.loss == "squared_hinge" else 0.5
        return np.array([[-share, share]])

    def evidence(self, weights: Tensors, image: Stack, label: int) -> Evidence:
        """What every pixel adds to f, on the way from an image of zeros to this one: α x where φ(x) = x.

        Integrated gradients (Sundararajan, Taly and Yan, ICML 2017) by the midpoint rule: the map sums to f(x) - f(0).
        Zero is the average training image where the preprocessing ends in the federated normalisation.
        """
        by_input = self.slopes(weights, image, label) * image.reshape(-1)
        return Evidence(by_input.reshape(image.shape[1:]).sum(axis=2).astype(np.float32), is_signed=True)

    def slopes(self, weights: Tensors, image: Stack, label: int) -> Floats:
        """How the score of a class changes with each input, on average from zeros to this image: float64[inputs]."""
        alpha = self._towards(weights, label)
        steps = (np.arange(_STEPS, dtype=np.float32)[:, None] + 0.5) / _STEPS
        mean: Floats = self.features.gradient((steps * image.reshape(1, -1)).astype(np.float32), alpha).mean(axis=0)
        return mean

    def _towards(self, weights: Tensors, label: int) -> Floats:
        """α of the row that scores a class, towards that class: float64[features]."""
        alpha: Floats = self._points(weights)[0 if self._is_binary else label, :-1]
        return -alpha if self._is_binary and label == 0 else alpha

    def candidates(self) -> Iterator["LinearSvm"]:
        """This model with each C that it may be trained with, from strong regularisation to weak."""
        for strength in self.config.candidates:
            candidate = copy.copy(self)
            candidate.config = self.config.model_copy(update={"C": strength})
            yield candidate

    def balance(self, by_class: NDArray[Any]) -> Floats:
        """What a case of each class counts, float64[classes]: with balanced weights n / (k n_c), so that all k classes
        that have cases count alike; else 1."""
        counts = np.asarray(by_class, np.float64)
        if self.config.class_weight is None:
            return np.ones(self.classes)
        return np.where(counts > 0, counts.sum() / np.maximum(1, (counts > 0).sum() * counts), 1.0)

    def count(self, cases: Cases) -> Tensors:
        """How many cases of each class: `classes` float64[classes]; `n` float64[1]."""
        by_class = cases_by_class(cases.labels, self.classes).astype(np.float64)
        return {"classes": by_class, "n": np.array([float(len(cases))])}

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

    def loss(self, weights: Tensors, cases: Cases, by_class: Floats | None = None) -> Tensors:
        """The loss alone, at several points: `loss` float64[points, problems], `n` float64[1].

        Args:
            weights: `alpha` float64[points, rows, features], `intercept` float64[points, rows].
            by_class: what a case of each class counts, float64[classes]; none: 1.
        """
        points = self._points(weights, axes=1)
        flat, loss = points.reshape(-1, points.shape[-1]), np.zeros((len(points), self.problems))
        for z, part in self._batches(cases.images):
            labels = cases.labels[part]
            values = self.loss_of.values((z @ flat.T).reshape(len(z), *points.shape[:2]), labels)
            loss += _weighted(values, labels, by_class).sum(axis=0)
        return {"loss": loss, "n": np.array([float(len(cases))])}

    def gradient(self, weights: Tensors, cases: Cases, by_class: Floats | None = None) -> Tensors:
        """Loss and its gradient: `loss` float64[problems], `gradient` float64[rows, features + 1], `n` float64[1].

        At one point, never at several: along a line the second difference of the summed gradient is the image of the
        case that crossed the margin there.

        Args:
            weights: `alpha` float64[rows, features], `intercept` float64[rows].
            by_class: as of `loss`.
        """
        point = self._points(weights)
        loss, gradient = np.zeros(self.problems), np.zeros(point.shape)
        for z, part in self._batches(cases.images):
            f, labels = z @ point.T, cases.labels[part]
            loss += _weighted(self.loss_of.values(f, labels), labels, by_class).sum(axis=0)
            gradient += _weighted(self.loss_of.slopes(f, labels), labels, by_class).T @ z
        return {"loss": loss, "gradient": gradient, "n": np.array([float(len(cases))])}

    def hessian(self, weights: Tensors, cases: Cases, by_class: Floats | None = None) -> Tensors:
        """What `gradient` gives, and `hessian` float64[rows, d (d + 1) / 2], packed as in `gram`."""
        point = self._points(weights)
        total = np.zeros((self.rows, point.shape[1], point.shape[1]))
        for z, part in self._batches(cases.images):
            labels = cases.labels[part]
            curves = _weighted(self.loss_of.curves(z @ point.T, labels), labels, by_class)
            for row in range(self.rows):
                inside = z[curves[:, row] > 0]
                total[row] += (curves[curves[:, row] > 0, row, None] * inside).T @ inside
        derivatives = self.gradient(weights, cases, by_class)
        return dict(derivatives) | {"hessian": np.stack([pack(h) for h in total])}

    def active(self, weights: Tensors, cases: Cases, by_class: Floats | None = None) -> Floats:
        """`active_cases` at a point, float64[rows, 2]."""
        return active_cases(self.loss_of, self._values(weights, cases), cases.labels, _by_case(cases.labels, by_class))

    def is_of_few(self, weights: Tensors, cases: Cases, least: int, by_class: Floats | None = None) -> bool:
        """Whether a gradient at a point would be nearly that of fewer cases than so many."""
        by_case = _by_case(cases.labels, by_class)
        return is_of_few(self.loss_of, self._values(weights, cases), cases.labels, by_case, least)

    def _values(self, weights: Tensors, cases: Cases) -> Floats:
        """f of each case at one point, float64[n, rows]."""
        point = self._points(weights)
        parts = [z @ point.T for z, _ in self._batches(cases.images)]
        return np.concatenate(parts) if parts else np.zeros((0, self.rows))

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

    @property
    def _is_binary(self) -> bool:
        return self.classes == 2 and not self.multilabel

    def _right(self, scores: Logits, labels: Labels) -> NDArray[np.bool_]:
        """Which cases are answered right; of several findings, in all that are known."""
        if self.multilabel:
            return np.asarray((((scores > 0) == (labels == 1)) | (labels == UNKNOWN)).all(axis=1))
        return np.asarray(np.argmax(scores, axis=1) == labels)


def _weighted(each: Floats, labels: Labels, by_class: Floats | None) -> Floats:
    """Numbers of each case, float64[n, ...], as often as its class counts."""
    return each if by_class is None else each * by_class[labels].reshape(-1, *(1,) * (each.ndim - 1))


def _by_case(labels: Labels, by_class: Floats | None) -> Floats:
    return np.ones(len(labels)) if by_class is None else by_class[labels]


def pack(symmetric: Floats) -> Floats:
    """The upper triangle row by row: float64[d, d] to float64[d (d + 1) / 2]."""
    return symmetric[np.triu(np.ones(symmetric.shape, bool))]

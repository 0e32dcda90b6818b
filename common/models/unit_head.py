"""A linear head of rows of length 1, and the sums from which it is trained under a budget of privacy.

f(x) = α·(φ(x) - m)/|φ(x) - m| + b, with φ of `common.models.unit_rows` and a centre m that all sites share. It is a
`LinearSvm` of other features, whose weights hold the centre. What a site sums (docs/privacy.md), each patient with
weight 1 in all:

    mean       Σ (φ(x), ½) / √1.25                       length of a patient's part: 1 at most
    gram       Σ z zᵀ, upper triangle, others × √2       1
    gradient   Σ clip(p - y) z                           ½

Source: Mehta et al., Differentially private image classification from features, TMLR 2023.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.config import Svm
from common.errors import ConfigError, WeightsError
from common.models import Evidence, Fitted, Logits, Work
from common.models.svm import LinearSvm
from common.models.unit_rows import CONSTANT, WHOLE, Floats, UnitRows, scaled, through_scaling
from common.privacy.price_list import CLIP
from common.types import Cases, Images, Stack, Tensors

COUNT = 0.5
"""What stands beside a row where the rows are added up: from it follows the number of patients."""
LENGTH = float(np.sqrt(1 + COUNT**2))


@dataclass(frozen=True)
class CentredRows:
    """φ(x) without the centre, at length 1."""

    rows: UnitRows
    centre: Floats

    @property
    def dimension(self) -> int:
        """As of the rows."""
        return self.rows.dimension

    def __call__(self, flat: NDArray[np.float32]) -> Floats:
        """float32[n, inputs] to float64[n, inputs]."""
        return scaled(self.rows(flat) - self.centre)[0]

    def gradient(self, flat: NDArray[np.float32], alpha: Floats) -> Floats:
        """Of α·φ(x) by x, at every x: float64[n, inputs]."""
        unit, length = scaled(self.rows(flat) - self.centre)
        return self.rows.gradient(flat, through_scaling(np.broadcast_to(alpha, unit.shape), unit, length))


class UnitHead(LinearSvm):
    """The head behind the `Model` protocol. Weights: `alpha` float64[rows, features], `intercept` float64[rows],
    `centre` float64[features].

    Raises:
        ConfigError: parts of a row that do not make up an image.
    """

    def __init__(self, config: Svm, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(config, shape, classes)
        inputs = int(np.prod(shape))
        self.unit_rows = UnitRows(config.parts or (inputs,))
        if self.unit_rows.dimension != inputs:
            raise ConfigError(
                f"model.parts: {', '.join(map(str, config.parts))} are {self.unit_rows.dimension} numbers together, "
                f"and an image has {inputs} after preprocessing. Leave it out: with embed it follows from the layers."
            )

    @property
    def length(self) -> int:
        """Of a row z, its constant included."""
        return self.unit_rows.dimension + 1

    def init(self, seed: int) -> Tensors:
        """Zeros, whatever the seed."""
        return {**super().init(seed), "centre": np.zeros(self.unit_rows.dimension)}

    def fit(
        self, weights: Tensors, cases: Cases, work: Work, *,
        moments: Tensors | None = None, anchor: Tensors | None = None, correction: Tensors | None = None,
    ) -> Fitted:  # fmt: skip
        """The optimum on these cases, as `LinearSvm.fit`, around their own centre; without a budget."""
        rows = [self.unit_rows(stack) for stack, _ in self._rows_of(cases.images)]
        centre = np.concatenate(rows).mean(axis=0) if rows else np.zeros(self.unit_rows.dimension)
        fitted = self._around(centre).fit({}, cases, work)
        return Fitted(
            {**fitted.weights, "centre": centre}, fitted.moments, fitted.steps, fitted.examples, fitted.loss_sum,
            fitted.correct,
        )  # fmt: skip

    def scores(self, weights: Tensors, images: Images) -> Logits:
        """As `LinearSvm.scores`, around the centre that the weights hold."""
        return self._of(weights).scores(weights, images)

    def gradient(self, weights: Tensors, cases: Cases, by_class: Floats | None = None) -> Tensors:
        """As `LinearSvm.gradient`, for a site by itself."""
        return self._of(weights).gradient(weights, cases, by_class)

    def slopes(self, weights: Tensors, image: Stack, label: int) -> Floats:
        """How the score of a class changes with each input, at this image: float64[inputs]."""
        slope: Floats = self._of(weights).features.gradient(image.reshape(1, -1), self._towards(weights, label))[0]
        return slope

    def evidence(self, weights: Tensors, image: Stack, label: int) -> Evidence:
        """What every number of the centred row adds to f: exact, since f is their sum and the intercept."""
        shares = self._of(weights).features(image.reshape(1, -1))[0] * self._towards(weights, label)
        by_place = shares.reshape(image.shape[1:]).sum(axis=2)
        return Evidence(by_place.astype(np.float32), is_signed=True)

    # --- what a site sums under a budget ------------------------------------------------------------------------------

    def mean_sum(self, images: Images, shares: Floats) -> Tensors:
        """`mean` float64[features + 1]: rows, and what counts them.

        Args:
            shares: what each image weighs, float64[n]; those of one patient are 1 together.
        """
        total = np.zeros(self.length)
        for stack, part in self._rows_of(images):
            total[:-1] += shares[part] @ self.unit_rows(stack)
            total[-1] += COUNT * shares[part].sum()
        return {"mean": total / LENGTH}

    def gram_sum(self, weights: Tensors, images: Images, shares: Floats) -> Tensors:
        """`gram` float64[d (d + 1) / 2]: the upper triangle of Σ z zᵀ row by row, what is off the diagonal times √2."""
        centre, total = self.centre_of(weights), np.zeros((self.length, self.length))
        for stack, part in self._rows_of(images):
            z = self._z(centre, stack)
            total += (z * shares[part, None]).T @ z
        return {"gram": total[np.triu_indices(self.length)] * triangle_scale(self.length)}

    def gradient_sum(self, weights: Tensors, cases: Cases, shares: Floats) -> Tensors:
        """`gradient` float64[rows, d]: residuals, all classes of a case together no longer than CLIP, times z."""
        total = np.zeros((self.rows, self.length))
        centre, points = self.centre_of(weights), self._points(weights) * WHOLE
        points[:, -1] /= CONSTANT
        for stack, part in self._rows_of(cases.images):
            z = self._z(centre, stack)
            residuals = self.loss_of.slopes(z @ points.T, cases.labels[part])
            length = np.linalg.norm(residuals, axis=1, keepdims=True)
            clipped = residuals * np.minimum(1.0, CLIP / np.maximum(length, CLIP))
            total += (clipped * shares[part, None]).T @ z
        return {"gradient": total}

    def centre_of(self, weights: Tensors) -> Floats:
        """The centre that weights hold.

        Raises:
            WeightsError: it is none of this head's.
        """
        centre = weights.get("centre")
        if centre is None or centre.shape != (self.length - 1,) or not np.isfinite(centre).all():
            raise WeightsError(f"a question without a centre of {self.length - 1} finite numbers.")
        return np.asarray(centre, np.float64)

    def weights_at(self, points: Floats, centre: Floats) -> Tensors:
        """The head whose scores are points · z, from float64[rows, d]."""
        return {"alpha": points[:, :-1] / WHOLE, "intercept": points[:, -1] * CONSTANT / WHOLE, "centre": centre}

    def _z(self, centre: Floats, stack: Floats) -> Floats:
        """Rows of length 1 about the centre, with the constant: float64[n, d]."""
        z = np.full((len(stack), self.length), CONSTANT)
        z[:, :-1] = scaled(self.unit_rows(stack) - centre)[0]
        return z / WHOLE

    def _rows_of(self, images: Images) -> Iterator[tuple[Floats, slice]]:
        """Images as rows float64[k, inputs], a few at a time, and which they are."""
        for z, part in self._batches(images):
            yield z[:, :-1], part

    def _of(self, weights: Tensors) -> LinearSvm:
        return self._around(self.centre_of(weights))

    def _around(self, centre: Floats) -> LinearSvm:
        """The linear model of rows about a centre."""
        head = LinearSvm(self.config, self.shape, self.classes)
        head.features = CentredRows(self.unit_rows, np.asarray(centre, np.float64))
        return head


def triangle_scale(size: int) -> Floats:
    """What makes a packed upper triangle as long as the matrix: 1 on the diagonal, else √2."""
    rows, columns = np.triu_indices(size)
    return np.where(rows == columns, 1.0, np.sqrt(2.0))

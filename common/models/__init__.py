"""The models behind one small protocol. A model holds no weights: it is handed them, so that nothing is left over.

`build(config.model, shape, classes)` imports only what that model needs: the SVM never loads TensorFlow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.config import Local, ModelConfig
from common.imaging.augment import Augment
from common.types import Cases, Images, Stack, Tensors

Logits = NDArray[np.float32]
"""float32[n, classes]: log-probabilities up to a constant a row (CNN), or one-vs-rest decision values (SVM). Of several
findings float32[n, findings], the log-odds of each, or its decision values."""


@dataclass(frozen=True)
class Work:
    """What one call of `fit` is to do."""

    local: Local
    learning_rate: float
    """Already scheduled for this round."""
    seed: int
    """Order of the cases, dropout and augmentation follow from it alone."""
    decay_to_zero: bool = False
    """Cosine schedule inside this call (training alone or pooled, where one call is the whole training)."""


@dataclass(frozen=True)
class Fitted:
    """The result of a call of `fit`: new weights, and how the training went."""

    weights: Tensors
    moments: Tensors
    """Adam's first and second moments and step count; empty where there are none."""
    steps: int
    examples: int
    """Cases seen, counted once for each time."""
    loss_sum: float
    correct: int


@dataclass(frozen=True)
class Evidence:
    """Where in an image the score of a class comes from."""

    map: NDArray[np.float32]
    """float32[h, w] over the whole image, on a grid of its own."""
    is_signed: bool
    """Whether below 0 is what speaks against the class; else the map is 0 and above."""


class Model(Protocol):
    """A trainable classifier."""

    kind: str
    multilabel: bool
    """Whether labels are int64[n, findings], UNKNOWN among them, and every finding has a score by itself."""

    def init(self, seed: int) -> Tensors:
        """Fresh weights; the same seed, the same bits, at every site."""
        ...

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
        """Train from `weights` on `cases`.

        Args:
            moments: Adam's moments to start from; none: zeros.
            anchor: FedProx pulls towards these weights with strength `work.local.proximal`.
            correction: SCAFFOLD adds this to every gradient (c - c_i), named as the weights.
        """
        ...

    def scores(self, weights: Tensors, images: Images) -> Logits:
        """Logits of every image."""
        ...

    def evidence(self, weights: Tensors, image: Stack, label: int) -> Evidence:
        """Where the score of class `label` comes from, in one image float32[1, h, w, c]."""
        ...


Shape = tuple[int, int, int]
"""Of an image: height, width, channels."""


def _network(config: Any, shape: Shape, classes: int, augment: Augment | None) -> Model:
    from common.models.cnn import KerasCnn

    return KerasCnn(config, shape, classes, augment)


def _svm(config: Any, shape: Shape, classes: int, augment: Augment | None) -> Model:
    from common.models.svm import LinearSvm
    from common.models.unit_head import UnitHead

    return UnitHead(config, shape, classes) if config.features == "unit" else LinearSvm(config, shape, classes)


MODELS: dict[str, Callable[[Any, Shape, int, Augment | None], Model]] = {
    "cnn": _network,
    "layers": _network,
    "plugin": _network,
    "svm": _svm,
}
"""By the configuration's `model.kind`; each imports only what it needs."""


def build(
    config: ModelConfig, shape: Shape, classes: int, augment: Augment | None = None, frequencies: int = 0
) -> Model:  # fmt: skip
    """The model that a configuration asks for, for images of one shape (h, w, c).

    Args:
        frequencies: of the SVM's second moments, as `common.plans.floors` allows them; 0: none are asked.
    """
    if config.kind == "svm" and frequencies and config.features != "unit":
        from common.models.svm import LinearSvm

        return LinearSvm(config, shape, classes, frequencies)
    return MODELS[config.kind](config, shape, classes, augment)

"""A network behind the model protocol. TensorFlow and Keras live in the files that it imports.

`training_graphs` holds the training loop, `architectures` and `own_networks` the networks, `augmentation` the random
changes of images.
"""

# ruff: noqa: E402

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import Local, Network
from common.encoders import tensorflow_loading
from common.errors import WeightsError
from common.image_stack import StoredImages, batches, slices, together
from common.imaging.augment import Augment
from common.models import Evidence, Fitted, Logits, Work
from common.privacy.price_list import SampledSteps
from common.types import Cases, Images, Stack, Tensors

os.environ["KERAS_BACKEND"] = "tensorflow"
tensorflow_loading.load("tensorflow")

from common.models.architectures import Shape
from common.models.gradcam import grad_cam
from common.models.private_descent import PrivateDescent
from common.models.training_graphs import OptimizerState, Progress, TrainingInputs, graphs

NOTHING_DONE = Progress(np.int32(0), np.float32(0.0), np.int32(0))
SCORED_TOGETHER_PX = 1 << 18
"""Pixels in one batch of `scores`: bounds the memory, whatever the size of the images."""


class KerasCnn:
    """A Keras network that holds no weights: it is handed them. Same weights, cases and seed: same bits."""

    def __init__(self, config: Network, shape: Shape, classes: int, augment: Augment | None = None) -> None:
        self.kind, self.multilabel, self.classes = config.kind, config.multilabel, classes
        self._augment = augment
        self._graphs = graphs(config, shape, classes, augment)
        self._together = max(1, SCORED_TOGETHER_PX // (shape[0] * shape[1]))

    def init(self, seed: int) -> Tensors:
        """Fresh weights: Glorot uniform kernels, everything else as Keras begins it."""
        random = np.random.default_rng(seed)
        return {name: _glorot(random, start) if start.ndim > 1 else start for name, start in self._graphs.start.items()}

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
        """Train from `weights`. See `common.models.Model`.

        Raises:
            WeightsError: arrays that do not fit the network or are not finite, before or after training.
        """
        flat, none = self._graphs.flat, np.zeros(self._graphs.count, np.float32)
        start = flat(weights, "weights")
        order = _order(len(cases), work.local, work.seed)
        course = TrainingInputs(
            order,
            _rates(len(order), work),
            np.random.SeedSequence(work.seed).generate_state(2).astype(np.int32),
            start if anchor is None else flat(anchor, "anchor"),
            np.float32(0.0 if anchor is None else work.local.proximal),
            none if correction is None else flat(correction, "correction"),
            np.float32(work.local.weight_decay),
        )
        state, progress = OptimizerState(start, *self._unpack(moments, none)), NOTHING_DONE
        for images, labels, portion in _portions(cases, course):
            state, progress = self._graphs.train[work.local.optimizer](images, labels, state, progress, portion)
        return Fitted(
            weights=self._graphs.split(state.weights),
            moments=self._pack(state) if work.local.optimizer == "adam" else {},
            steps=len(order),
            examples=int((order >= 0).sum()),
            loss_sum=float(progress.loss_sum),
            correct=int(progress.correct),
        )

    def fit_privately(
        self, weights: Tensors, cases: Cases, work: Work, steps: SampledSteps, step_patients: float
    ) -> Tensors:
        """The weights after a site's steps by DP-SGD (`common.models.private_descent`).

        Raises:
            WeightsError: as `fit`.
        """
        descent = PrivateDescent(self._graphs, self._augment, steps, work.local, work.learning_rate, step_patients)
        return self._graphs.split(descent.run(self._graphs.flat(weights, "weights"), cases))

    def scores(self, weights: Tensors, images: Images) -> Logits:
        """Logits of every image, float32[n, classes]; of several findings, the log-odds of each."""
        flat = self._graphs.flat(weights, "weights")
        parts = batches(images, slices(len(images), self._together))
        none = np.zeros((0, self._graphs.classes), np.float32)
        return np.concatenate([none, *(self._graphs.logits(part, flat).numpy() for part in parts)])

    def evidence(self, weights: Tensors, image: Stack, label: int) -> Evidence:
        """Grad-CAM on the last convolutional block, on that block's grid."""
        return Evidence(grad_cam(self._graphs, self._graphs.flat(weights, "weights"), image, label), is_signed=False)

    def _unpack(self, moments: Tensors | None, none: NDArray[np.float32]) -> tuple[Any, Any, np.float32]:
        if not moments:
            return none, none, np.float32(0.0)
        if "steps" not in moments:
            raise WeightsError("moments: expected 'steps' beside the moments, as `fit` returned them.")
        first, second = (self._graphs.flat(moments, "moments", prefix) for prefix in ("first/", "second/"))
        return first, np.maximum(second, 0.0), np.float32(moments["steps"][0])

    def _pack(self, state: OptimizerState) -> Tensors:
        moments = self._graphs.split(state.first, "first/") | self._graphs.split(state.second, "second/")
        return moments | {"steps": state.time.numpy().reshape(1)}


def _portions(cases: Cases, course: TrainingInputs) -> Iterator[tuple[Stack, NDArray[np.int32], TrainingInputs]]:
    """Images, labels and the steps that they are for: all at once, or as many as are read at a time."""
    labels = cases.labels.astype(np.int32)
    if not isinstance(cases.images, StoredImages) or not len(cases):
        yield cases.images[:], labels, course
        return
    count, width = course.order.shape
    parts = slices(count, max(1, together(cases.images) // width))
    case_places = [course.order[part][course.order[part] >= 0] for part in parts]
    for part, places, images in zip(parts, case_places, batches(cases.images, case_places), strict=True):
        order = np.full((part.stop - part.start, width), -1, np.int32)
        order[course.order[part] >= 0] = np.arange(len(places))
        yield images, labels[places], course._replace(order=order, rates=course.rates[part])


def _order(cases: int, local: Local, seed: int) -> NDArray[np.int32]:
    """Which case is seen when: int32[steps, batch], a new order each epoch, -1 where a batch is not full."""
    batch = max(1, min(local.batch, cases))
    per_epoch = -(-cases // batch)
    steps = local.steps or max(1, round((local.epochs or 1.0) * per_epoch))
    if cases == 0:
        return np.zeros((0, 1), np.int32)
    random = np.random.default_rng(seed)
    order = np.full((-(-steps // per_epoch), per_epoch * batch), -1, np.int32)
    for epoch in order:
        epoch[:cases] = random.permutation(cases)
    return order.reshape(-1, batch)[:steps]


def _rates(steps: int, work: Work) -> NDArray[np.float32]:
    """Learning rate of every step: float32[steps]. Cosine: Loshchilov and Hutter, ICLR 2017, without restarts."""
    share = 0.5 + 0.5 * np.cos(np.pi * np.arange(steps) / max(1, steps)) if work.decay_to_zero else np.ones(steps)
    return (work.learning_rate * share).astype(np.float32)


def _glorot(random: np.random.Generator, kernel: NDArray[Any]) -> NDArray[np.float32]:
    """Glorot and Bengio, AISTATS 2010. Shape: receptive field, then channels in and out."""
    field = int(np.prod(kernel.shape[:-2]))
    limit = np.sqrt(6.0 / (field * (kernel.shape[-2] + kernel.shape[-1])))
    return random.uniform(-limit, limit, kernel.shape).astype(np.float32)

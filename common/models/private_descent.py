"""DP-SGD: gradient descent of which every step is noised, so that all that comes after is private.

In a step each patient is drawn by chance, their gradients are clipped and added up, and discrete Gaussian noise is
added to the sum (Abadi et al., CCS 2016). Who is drawn and the noise are the operating system's randomness, never a
plan's seed: who knew either could take it off. Nothing else of a case goes into the weights: there are no counts, and
no statistics of a batch.

Of a patient with more images than fit into memory at a time, so many are drawn in each step.
"""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from common.config import Local
from common.imaging.augment import Augment
from common.models.clipped_gradients import clipped_sum, images_together
from common.models.training_graphs import Flat, Graphs, OptimizerState
from common.privacy.noise import DiscreteGaussian
from common.privacy.price_list import GRID, SampledSteps
from common.types import Cases


@dataclass(frozen=True)
class PrivateDescent:
    """A site's steps between two sums.

    Args:
        step_patients: patients in a step at a site of middle size, by which a step's sum is divided.
    """

    graphs: Graphs
    augment: Augment | None
    steps: SampledSteps
    local: Local
    learning_rate: float
    step_patients: float

    def run(self, start: Flat, cases: Cases) -> tf.Tensor:
        """The weights after all steps, float32[weights]."""
        none = np.zeros(self.graphs.count, np.float32)
        state, noise = OptimizerState(start, none, none, np.float32(0.0)), self._noise()
        step, images_of = self.graphs.step[self.local.optimizer], _images_by_patient(cases)
        for _ in range(self.steps.steps):
            total = self._clipped(state, cases, [images_of[i] for i in _draw(len(images_of), self.steps.rate)])
            if noise:
                total += noise.draw(len(total))
            gradient = (total * (GRID / self.step_patients)).astype(np.float32)
            state = step(state, gradient, np.float32(self.learning_rate), np.float32(self.local.weight_decay))
        return state.weights

    def _noise(self) -> DiscreteGaussian | None:
        """None where a simulation asks what the same steps give without."""
        return DiscreteGaussian.of((self.steps.sigma / GRID) ** 2) if self.steps.sigma else None

    def _clipped(self, state: OptimizerState, cases: Cases, patients: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        """The patients' clipped gradients together, int64[weights], in steps of the grid."""
        add_up, total = clipped_sum(self.graphs, self.augment, GRID), np.zeros(self.graphs.count, np.int64)
        many, labels = images_together(self.graphs.count), cases.labels.astype(np.int32)
        for group in _groups(patients, many):
            places, fill = np.concatenate(group), sum(map(len, group))
            images = np.zeros((many, *cases.images.shape[1:]), np.float32)
            images[:fill] = cases.images[places]
            shares, owners = np.zeros(many, np.float32), np.zeros(many, np.int32)
            shares[:fill] = np.concatenate([np.full(len(each), 1 / len(each)) for each in group])
            owners[:fill] = np.repeat(np.arange(len(group)), [len(each) for each in group])
            truth = np.zeros(many, np.int32)
            truth[:fill] = labels[places]
            seed = np.frombuffer(os.urandom(8), np.int32)
            summed = add_up(images, truth, shares, owners, state.weights, np.float32(self.steps.clip), seed)
            total += summed.numpy()
        return total


def _images_by_patient(cases: Cases) -> list[NDArray[np.int64]]:
    """Of each patient, which images are theirs."""
    if cases.people is None:
        return list(np.arange(len(cases)).reshape(-1, 1))
    order = np.argsort(cases.people, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(cases.people[order])) + 1) if len(order) else []


def _draw(patients: int, rate: float) -> NDArray[np.int64]:
    """Each of so many patients by a chance of its own."""
    uniform = np.frombuffer(os.urandom(8 * patients), np.uint64) >> np.uint64(11)
    return np.flatnonzero(uniform < rate * 2.0**53)


def _groups(patients: list[NDArray[np.int64]], many: int) -> Iterator[list[NDArray[np.int64]]]:
    """Patients in groups of so many images at most; of one with more images, so many of them."""
    group, room = list[NDArray[np.int64]](), many
    for images in patients:
        if len(images) > many:
            images = np.random.default_rng(secrets.randbits(128)).choice(images, many, replace=False)
        if len(images) > room:
            yield group
            group, room = [], many
        group.append(images)
        room -= len(images)
    if group:
        yield group

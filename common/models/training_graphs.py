"""The compiled half of the CNN: a whole call of training as one TensorFlow graph over flat vectors.

Weights, gradient and moments are each one vector, so the optimiser is a few operations and not a few a layer. The
graphs hold no variables: what they are handed is all they know, and calls from several threads do not meet. No
dimension that differs between sites is fixed, so nothing is traced twice.

Adam: Kingma and Ba, ICLR 2015, in the form of Keras; decoupled weight decay: Loshchilov and Hutter, ICLR 2019; proximal
term: Li et al., MLSys 2020; correction: Karimireddy et al., ICML 2020.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from common.config import Network, PluginNetwork
from common.errors import WeightsError
from common.imaging.augment import Augment
from common.models.architectures import Shape, network
from common.models.augmentation import augmented
from common.types import Tensors

# TensorFlow would turn a sum of three large vectors into one over a temporary variable, which has one name for all
# threads that run the graph: of two sites that train beside each other in a simulation, one would fail.
tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})

Flat = NDArray[np.float32]
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


class TrainingInputs(NamedTuple):
    """What one call of training is handed besides images and labels; vectors are flat, in the order of the weights."""

    order: Any
    """int32[steps, batch]: which case is seen when; -1 fills up the last batch of an epoch."""
    rates: Any
    """float32[steps]: learning rates."""
    seed: Any
    """int32[2]."""
    anchor: Any
    proximal: Any
    """float32: pull towards the anchor."""
    correction: Any
    """Added to every gradient."""
    decay: Any
    """float32: weight decay of the kernels."""


class OptimizerState(NamedTuple):
    """What training changes step by step: weights, and the optimiser's moments."""

    weights: Any
    first: Any
    second: Any
    time: Any
    """float32: steps that the moments have seen (an average of sites may fall between)."""


class Progress(NamedTuple):
    """How far a call of training is. Images that are not all in memory come in portions, and the next goes on here."""

    steps: Any
    """int32: done."""
    loss_sum: Any
    """float32."""
    correct: Any
    """int32."""


class Graphs:
    """One network, compiled: `train[optimizer](images, labels, state, progress, course)`, `logits(images, weights)`."""

    def __init__(self, config: Network, shape: Shape, classes: int, augment: Augment | None) -> None:
        self.network = network(config, shape, classes)
        self.multilabel = config.multilabel
        self._judged = _of_findings if config.multilabel else _of_classes
        self._augment = augment
        self.classes = classes
        variables = self.network.trainable_variables
        # Keras numbers the layers of a process: what a plug-in leaves unnamed would have other names at another site.
        is_plugin = isinstance(config, PluginNetwork)
        names = [f"{place}/{v.name}" if is_plugin else v.path for place, v in enumerate(variables)]
        self.start = {name: np.asarray(v) for name, v in zip(names, variables, strict=True)}
        """What Keras begins with, by name; the kernels among it are to be drawn anew."""
        self._sizes = [array.size for array in self.start.values()]
        self.count = sum(self._sizes)
        self._kernels = np.concatenate([np.full(a.size, a.ndim > 1, np.float32) for a in self.start.values()])
        images, vector, number = tf.TensorSpec([None, *shape]), tf.TensorSpec([self.count]), tf.TensorSpec([])
        labels = tf.TensorSpec([None, classes] if config.multilabel else [None], tf.int32)
        order = tf.TensorSpec([None, None], tf.int32)
        seed = tf.TensorSpec([2], tf.int32)
        state = OptimizerState(vector, vector, vector, number)
        course = TrainingInputs(order, tf.TensorSpec([None]), seed, vector, number, vector, number)
        progress = Progress(tf.TensorSpec([], tf.int32), number, tf.TensorSpec([], tf.int32))
        signature = [images, labels, state, progress, course]
        self.train: dict[str, Callable[..., Any]] = {
            rule.__name__: tf.function(partial(self._train, rule), input_signature=signature) for rule in (adam, sgd)
        }
        self.step: dict[str, Callable[..., Any]] = {
            rule.__name__: tf.function(partial(self._step, rule), input_signature=[state, vector, number, number])
            for rule in (adam, sgd)
        }
        """One step along a gradient: `step[optimizer](state, gradient, rate, decay)`."""
        self.logits = tf.function(self._logits, input_signature=[images, vector])

    def flat(self, arrays: Tensors, what: str, prefix: str = "") -> Flat:
        """Join named arrays into one vector.

        Raises:
            WeightsError: a name, a shape, or a value that is not finite.
        """
        for name, start in self.start.items():
            array = arrays.get(prefix + name)
            if array is None or array.shape != start.shape:
                actual = "nothing of that name" if array is None else f"{array.shape}"
                raise WeightsError(
                    f"{what}: expected '{prefix}{name}' of shape {start.shape}, got {actual}. They belong to another "
                    "model: the configuration's model and image size must be those they were made with."
                )
        vector = np.concatenate([np.ravel(arrays[prefix + name]) for name in self.start]).astype(np.float32)
        if not np.isfinite(vector).all():
            odd = _first_odd({name: np.asarray(arrays[prefix + name]) for name in self.start})
            raise WeightsError(f"{what}: NaN or infinite values in '{prefix}{odd}', expected finite ones. {DIVERGED}")
        return vector

    def split(self, vector: tf.Tensor, prefix: str = "") -> dict[str, NDArray[Any]]:
        """Cut a vector into named arrays.

        Raises:
            WeightsError: training ended in values that are not finite.
        """
        parts = np.split(vector.numpy(), np.cumsum(self._sizes)[:-1])
        arrays = {
            prefix + name: part.reshape(start.shape)
            for (name, start), part in zip(self.start.items(), parts, strict=True)
        }
        if odd := _first_odd(arrays):
            raise WeightsError(f"training ended in NaN or infinite values in '{odd}'. {DIVERGED}")
        return arrays

    def variables(self, weights: tf.Tensor) -> list[tf.Tensor]:
        """A vector of weights as the network's own variables, in their order."""
        parts = zip(tf.split(weights, self._sizes), self.start.values(), strict=True)
        return [tf.reshape(part, start.shape) for part, start in parts]

    def losses(self, images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Of every case, float32[n], within another graph; without dropout."""
        return self._judged(labels, self._logits(images, weights))[0]

    def _step(
        self, rule: "Rule", state: OptimizerState, gradient: tf.Tensor, rate: tf.Tensor, decay: tf.Tensor
    ) -> OptimizerState:
        decayed = state.weights * (1.0 - rate * decay * self._kernels)
        return rule(state._replace(weights=decayed), gradient, rate)

    def _logits(self, images: tf.Tensor, weights: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Run the network on weights from outside; with a seed as in training (dropout's only state is its seed)."""
        variables = self.variables(weights)
        state = [v.value if seed is None else tf.cast(seed, v.dtype) for v in self.network.non_trainable_variables]
        logits, _ = self.network.stateless_call(variables, state, images, training=seed is not None)
        return logits

    def _train(
        self, rule: "Rule", images: tf.Tensor, labels: tf.Tensor, state: OptimizerState, progress: Progress,
        course: TrainingInputs,
    ) -> tuple[OptimizerState, Progress]:  # fmt: skip
        """All steps of `course.order`; along the way the losses are summed and the right answers counted."""
        steps, loss_sum, correct = progress
        for step in tf.range(tf.shape(course.order)[0]):
            row = course.order[step]
            rows = row[: tf.math.count_nonzero(row >= 0, dtype=tf.int32)]
            seeds = tf.random.split(tf.random.fold_in(course.seed, steps + step))
            batch = augmented(tf.gather(images, rows), self._augment, seeds[0])
            truth = tf.gather(labels, rows)
            with tf.GradientTape() as tape:
                tape.watch(state.weights)
                logits = self._logits(batch, state.weights, seeds[1])
                losses, right = self._judged(truth, logits)
                loss = tf.reduce_mean(losses)
            gradient = tape.gradient(loss, state.weights) + course.correction
            gradient += course.proximal * (state.weights - course.anchor)
            rate = course.rates[step]
            state = self._step(rule, state, gradient, rate, course.decay)
            loss_sum += tf.reduce_sum(losses)
            correct += tf.math.count_nonzero(right, dtype=tf.int32)
        return state, Progress(steps + tf.shape(course.order)[0], loss_sum, correct)


def _of_classes(truth: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Loss of every case, and whether the largest logit is right."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
    return losses, tf.argmax(logits, 1, tf.int32) == truth


def _of_findings(truth: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Loss of every case, and whether all that is known of it is right.

    A case's loss is Σ over its known findings by the number of all, and not by that of the known: so that the mean over
    the cases of several sites is that over the pooled ones.
    """
    is_known, present = tf.cast(truth >= 0, tf.float32), tf.cast(truth > 0, tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(present, logits) * is_known
    wrong = tf.not_equal(logits > 0, truth > 0) & (truth >= 0)
    return tf.reduce_mean(losses, axis=1), tf.logical_not(tf.reduce_any(wrong, axis=1))


Rule = Callable[[OptimizerState, tf.Tensor, tf.Tensor], OptimizerState]
DIVERGED = "If it was this training that diverged, lower federation.local.learning_rate."


def adam(state: OptimizerState, gradient: tf.Tensor, rate: tf.Tensor) -> OptimizerState:
    """One step of Adam."""
    time = state.time + 1.0
    first = BETA_1 * state.first + (1.0 - BETA_1) * gradient
    second = BETA_2 * state.second + (1.0 - BETA_2) * tf.square(gradient)
    rate *= tf.sqrt(1.0 - tf.pow(BETA_2, time)) / (1.0 - tf.pow(BETA_1, time))
    return OptimizerState(state.weights - rate * first / (tf.sqrt(second) + EPSILON), first, second, time)


def sgd(state: OptimizerState, gradient: tf.Tensor, rate: tf.Tensor) -> OptimizerState:
    """One step of plain gradient descent."""
    return state._replace(weights=state.weights - rate * gradient)


@lru_cache(maxsize=8)
def graphs(config: Network, shape: Shape, classes: int, augment: Augment | None) -> Graphs:
    """The compiled network of a configuration, made once a process."""
    return Graphs(config, shape, classes, augment)


def _first_odd(arrays: Tensors) -> str | None:
    """The first array that has values which are not finite."""
    return next((name for name, value in arrays.items() if not np.isfinite(value).all()), None)

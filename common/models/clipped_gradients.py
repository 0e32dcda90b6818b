"""Gradients of single patients, clipped, rounded and added up: one TensorFlow graph over a few images at a time.

All of a patient's images make one gradient, which is clipped to a length; so much one patient can move the sum, and no
more. It is rounded to whole steps of a grid first, so that adding up is exact, in whatever order. A gradient that is
not finite counts as none.

Gradients of single images: `tf.vectorized_map`, over convolutions that it need not loop over.
"""

from collections.abc import Callable
from functools import lru_cache

import tensorflow as tf

from common.imaging.augment import Augment
from common.models.augmentation import augmented
from common.models.convolution import of_single_images
from common.models.training_graphs import Graphs

MOST_NUMBERS_TOGETHER = 2**21
"""Numbers of single gradients in memory at a time."""
MOST_IMAGES_TOGETHER = 64

ClippedSum = Callable[..., tf.Tensor]
"""clipped_sum(images float32[m, h, w, c], labels, shares float32[m], patients int32[m], weights, length, seed):
int32[weights], in steps of the grid. `shares` says what an image weighs in its patient's gradient, 0 for none."""


def images_together(weights: int) -> int:
    """How many images' gradients are worked out at a time, for a network of so many weights."""
    return max(1, min(MOST_IMAGES_TOGETHER, MOST_NUMBERS_TOGETHER // weights))


@lru_cache(maxsize=8)
def clipped_sum(graphs: Graphs, augment: Augment | None, grid: float) -> ClippedSum:
    """The compiled sum for a network, made once a process."""
    many, shape = images_together(graphs.count), graphs.network.input_shape[1:]

    def add_up(
        images: tf.Tensor, labels: tf.Tensor, shares: tf.Tensor, patients: tf.Tensor, weights: tf.Tensor,
        length: tf.Tensor, seed: tf.Tensor,
    ) -> tf.Tensor:  # fmt: skip
        def gradient(case: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
            image, label, share = case
            with of_single_images(), tf.GradientTape() as tape:
                tape.watch(weights)
                loss = share * graphs.losses(image[None], label[None], weights)[0]
            return tape.gradient(loss, weights)

        batch = augmented(images, augment, seed)
        by_image = tf.vectorized_map(gradient, (batch, labels, shares), fallback_to_while_loop=False)
        by_patient = tf.math.unsorted_segment_sum(by_image, patients, many)
        lengths = tf.norm(by_patient, axis=1, keepdims=True)
        clipped = by_patient * (length / tf.maximum(lengths, length))
        steps = tf.round(tf.where(tf.math.is_finite(lengths), clipped, 0.0) / grid)
        return tf.reduce_sum(tf.cast(steps, tf.int32), axis=0)

    return tf.function(  # type: ignore[no-any-return]
        add_up,
        input_signature=[
            tf.TensorSpec([many, *shape]), tf.TensorSpec([many], tf.int32), tf.TensorSpec([many]),
            tf.TensorSpec([many], tf.int32), tf.TensorSpec([graphs.count]), tf.TensorSpec([]),
            tf.TensorSpec([2], tf.int32),
        ],
    )  # fmt: skip

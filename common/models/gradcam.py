"""Where a convolutional network looked: Grad-CAM, Selvaraju et al., ICCV 2017."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from common.models.training_graphs import Flat, Graphs
from common.types import Stack


def grad_cam(graphs: Graphs, weights: Flat, image: Stack, label: int) -> NDArray[np.float32]:
    """What in the last convolutional block speaks for a class: float32[h', w'], 0 and above.

    Args:
        image: float32[1, h, w, c].
    """
    network = graphs.network
    both = keras.Model(network.input, [_last_maps(network), network.output])
    places = map(id, network.trainable_variables)
    variables = dict(zip(places, graphs.variables(tf.constant(weights)), strict=True))
    pixels = tf.constant(image)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        (maps, logits), _ = both.stateless_call(
            [variables[id(v)] for v in both.trainable_variables],
            [v.value for v in both.non_trainable_variables], pixels, training=False,
        )  # fmt: skip
        # Against the other classes: what raises all logits alike raises none of the probabilities.
        # A finding has a probability of its own.
        score = logits[0, label] - (0.0 if graphs.multilabel else tf.reduce_mean(logits[0]))
    importance = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    heat: NDArray[np.float32] = tf.nn.relu(tf.reduce_sum(importance * maps, axis=3))[0].numpy()
    return heat


def _last_maps(network: keras.Model) -> keras.KerasTensor:
    """What the last layer gives in which everything still has a place, before a pooling behind it."""
    spatial = [one for one in network.layers if len(one.output.shape) == 4 and not isinstance(one, layers.MaxPooling2D)]
    return spatial[-1].output

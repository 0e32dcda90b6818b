"""An encoder's operations run by TensorFlow: from images to its layers' maps, and to their means."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.encoders.encoder_file import Encoder
from common.encoders.encoder_graph import IMAGES, Activation, AnyOperation, Combination, Convolution, Pad, Pool, Scale
from common.types import Stack, Tensors

BATCH = 8
"""Images that the network sees at once, the last filled up with zeros: an image's numbers do not hang on its batch."""

_ONE = threading.Lock()


class EncoderNetwork:
    """An encoder with the layers that are asked for.

    Args:
        layers: names of the description, in the order in which their means are joined.
    """

    def __init__(self, encoder: Encoder, layers: Sequence[str]) -> None:
        from common.encoders.tensorflow_loading import load

        load("tensorflow")
        import tensorflow as tf

        operations = encoder.graph.needed_for(layers)
        constants = {name: tf.constant(array) for name, array in encoder.arrays.items()}

        def run(images: Any) -> list[Any]:
            results = {IMAGES: images}
            for operation in operations:
                results[operation.name] = _run(tf, operation, [results[name] for name in operation.inputs], constants)
            return [results[layer] for layer in layers]

        self._maps: Callable[[Any], list[Any]] = tf.function(run)

        def means(images: Any) -> Any:
            return tf.concat([tf.reduce_mean(one, axis=(1, 2)) for one in run(images)], axis=1)

        self._means = tf.function(means, reduce_retracing=True)

    def maps(self, images: Stack) -> list[NDArray[np.float32]]:
        """What the layers give, of which `embed` takes the means: float32[n, h', w', c] each."""
        return [one.numpy() for one in self._maps(images)]

    def embed(self, images: Stack) -> NDArray[np.float32]:
        """Means of the layers' maps, one layer behind the other: float32[n, h, w, 3] to float32[n, d]."""
        starts = range(0, len(images), BATCH)
        with ThreadPoolExecutor(max(1, min(len(starts), os.cpu_count() or 1))) as pool:  # an operation takes one thread
            parts = pool.map(lambda start: self._batch(images[start : start + BATCH]), starts)
            return np.concatenate(list(parts))

    def _batch(self, images: Stack) -> NDArray[np.float32]:
        batch = np.zeros((BATCH, *images.shape[1:]), np.float32)
        batch[: len(images)] = images
        means: NDArray[np.float32] = self._means(batch).numpy()
        return means[: len(images)]


def network(encoder: Encoder, layers: Sequence[str]) -> EncoderNetwork:
    """The network of an encoder, made once a process."""
    with _ONE:
        return _network(encoder, tuple(layers))


@lru_cache(maxsize=2)
def _network(encoder: Encoder, layers: tuple[str, ...]) -> EncoderNetwork:
    return EncoderNetwork(encoder, layers)


def _run(tf: Any, operation: AnyOperation, inputs: list[Any], arrays: Tensors) -> Any:
    x = inputs[0]
    if isinstance(operation, Convolution):
        y = _convolved(tf, operation, x, arrays[f"{operation.name}/kernel"])
        bias = arrays.get(f"{operation.name}/bias")
        return y if bias is None else tf.nn.bias_add(y, bias)
    if isinstance(operation, Scale):
        return x * arrays[f"{operation.name}/scale"] + arrays[f"{operation.name}/offset"]
    if isinstance(operation, Activation):
        return _FUNCTIONS[operation.function](tf, x)
    if isinstance(operation, Combination):
        return _combined(tf, operation, inputs)
    if isinstance(operation, Pool):
        return _pool(tf, operation, x)
    if isinstance(operation, Pad):
        return tf.pad(x, _zeros(operation.zeros))
    return tf.reduce_mean(x, axis=(1, 2), keepdims=True)


def _convolved(tf: Any, operation: Convolution, x: Any, kernel: Any) -> Any:
    padding, sizes = operation.padding, [1, *operation.strides, 1]
    if isinstance(padding, tuple):
        x, padding = tf.pad(x, _zeros(padding)), "valid"
    if operation.groups == kernel.shape[3] == x.shape[3] and operation.dilation == (1, 1) and sizes[1] == sizes[2]:
        return tf.nn.depthwise_conv2d(x, tf.transpose(kernel, (0, 1, 3, 2)), sizes, padding.upper())
    return tf.nn.conv2d(x, kernel, sizes, padding.upper(), dilations=[1, *operation.dilation, 1])


def _combined(tf: Any, operation: Combination, inputs: list[Any]) -> Any:
    if operation.by == "concatenate":
        return tf.concat(inputs, axis=3)
    result = inputs[0]
    for one in inputs[1:]:
        result = result + one if operation.by == "add" else result * one
    return result


def _pool(tf: Any, operation: Pool, x: Any) -> Any:
    padding, sizes = operation.padding, ([1, *operation.size, 1], [1, *operation.strides, 1])
    if not isinstance(padding, tuple):
        pool = tf.nn.max_pool2d if operation.by == "max" else tf.nn.avg_pool2d
        return pool(x, *sizes, padding.upper())
    if operation.by == "max":
        return tf.nn.max_pool2d(tf.pad(x, _zeros(padding), constant_values=x.dtype.min), *sizes, "VALID")
    # The mean over what lies inside: sum of the window over how much of it is no padding.
    counts = tf.nn.avg_pool2d(tf.pad(tf.ones_like(x[:1, :, :, :1]), _zeros(padding)), *sizes, "VALID")
    return tf.nn.avg_pool2d(tf.pad(x, _zeros(padding)), *sizes, "VALID") / counts


def _zeros(padding: tuple[int, int, int, int]) -> list[list[int]]:
    top, bottom, left, right = padding
    return [[0, 0], [top, bottom], [left, right], [0, 0]]


_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda tf, x: tf.nn.relu(x),
    "relu6": lambda tf, x: tf.nn.relu6(x),
    "swish": lambda tf, x: tf.nn.silu(x),
    "sigmoid": lambda tf, x: tf.nn.sigmoid(x),
    "hard_sigmoid": lambda tf, x: tf.nn.relu6(x + 3.0) / 6.0,
    "hard_swish": lambda tf, x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "gelu": lambda tf, x: tf.nn.gelu(x, approximate=False),
    "tanh": lambda tf, x: tf.nn.tanh(x),
}

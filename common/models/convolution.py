"""A convolution whose kernel's gradient can be worked out for many images side by side.

TensorFlow's own gradient of a kernel is one operation for a batch, and `tf.vectorized_map` has to loop over it. Within
`of_single_images` it is a matrix product instead: of the places that the kernel saw, and of what came out there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import tensorflow as tf
from keras import layers

_IS_OF_SINGLE_IMAGES: ContextVar[bool] = ContextVar("is_of_single_images", default=False)


@contextmanager
def of_single_images() -> Iterator[None]:
    """What is traced within this block takes kernels' gradients as matrix products."""
    token = _IS_OF_SINGLE_IMAGES.set(True)
    try:
        yield
    finally:
        _IS_OF_SINGLE_IMAGES.reset(token)


class TwoWayConvolution(layers.Conv2D):  # type: ignore[misc]
    """As `keras.layers.Conv2D`, with the same numbers."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """What Keras calls for the sum over the kernel."""
        if not _IS_OF_SINGLE_IMAGES.get():
            return super().convolution_op(inputs, kernel)
        return _convolve(inputs, tf.convert_to_tensor(kernel), self.strides, self.padding.upper())


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int], padding: str) -> tf.Tensor:
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(x: tf.Tensor, weights: tf.Tensor) -> object:
        def gradients(slope: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            by_x = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x), filter=weights, out_backprop=slope, strides=[1, *strides, 1], padding=padding
            )
            places = tf.reshape(_places(x, weights, slope, strides), [-1, tf.size(weights) // weights.shape[-1]])
            by_weights = tf.matmul(places, tf.reshape(slope, [-1, weights.shape[-1]]), transpose_a=True)
            return by_x, tf.reshape(by_weights, weights.shape)

        return tf.nn.conv2d(x, weights, strides, padding), gradients

    return convolve(inputs, kernel)


def _places(x: tf.Tensor, kernel: tf.Tensor, slope: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """What the kernel saw for each number that came out, [n, h, w, kernel's height × width × channels]."""
    size, out = kernel.shape[:2], slope.shape[1:3]
    reach = [(out[k] - 1) * strides[k] + 1 for k in range(2)]
    beyond = [max(reach[k] - 1 + size[k] - x.shape[1 + k], 0) for k in range(2)]  # 0 where nothing is padded
    wide = tf.pad(x, [[0, 0], *([b // 2, b - b // 2] for b in beyond), [0, 0]])
    return tf.concat(
        [
            wide[:, i : i + reach[0] : strides[0], j : j + reach[1] : strides[1]]
            for i in range(size[0])
            for j in range(size[1])
        ],
        axis=-1,
    )

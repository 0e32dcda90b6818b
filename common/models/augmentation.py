"""Augmentation inside TensorFlow's graph: one affine resampling and one linear change of intensity for a whole batch.

Every draw is stateless, from a seed handed in: the same seed, the same images. Settings: `common.imaging.augment`.
"""

import math

import tensorflow as tf

from common.imaging.augment import Augment


def augmented(images: tf.Tensor, settings: Augment | None, seed: tf.Tensor) -> tf.Tensor:
    """Change each image of float32[n, h, w, c] at random; `seed` is int32[2]. All off: the images themselves."""
    if settings is None:
        return images
    seeds = tf.random.split(seed, 3)
    if settings.flip or settings.shift or settings.rotate_degrees or settings.zoom:
        images = _moved(images, settings, seeds[0])
    if settings.brightness or settings.contrast:
        images = _relit(images, settings, seeds[1])
    if settings.noise:
        deviation = settings.noise * tf.math.reduce_std(images, axis=[1, 2], keepdims=True)
        images += deviation * tf.random.stateless_normal(tf.shape(images), seeds[2], alg="philox")
    return images


def _moved(images: tf.Tensor, settings: Augment, seed: tf.Tensor) -> tf.Tensor:
    """Flip, zoom and rotate about the centre, then shift; bilinear, the border's value continued outside."""
    n, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    draw = tf.unstack(tf.random.stateless_uniform([5, n], seed, -1.0, 1.0, alg="philox"))
    angle = draw[0] * math.radians(settings.rotate_degrees)
    scale = 1.0 + draw[1] * settings.zoom
    mirror = tf.where(draw[2] < 0.0, -1.0, 1.0) if settings.flip else tf.ones_like(scale)
    # Where each output pixel is read from: [a0 a1 a2; b0 b1 b2; 0 0 1], x to the right, y down.
    a0, a1 = scale * mirror * tf.cos(angle), -scale * mirror * tf.sin(angle)
    b0, b1 = scale * tf.sin(angle), scale * tf.cos(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    a2 = x - a0 * x - a1 * y + draw[3] * settings.shift * width
    b2 = y - b0 * x - b1 * y + draw[4] * settings.shift * height
    zero = tf.zeros_like(scale)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1),
        output_shape=[height, width],
        interpolation="BILINEAR",
        fill_mode="NEAREST",
        fill_value=0.0,
    )


def _relit(images: tf.Tensor, settings: Augment, seed: tf.Tensor) -> tf.Tensor:
    """Stretch each image about its mean, then add a constant, both in units of its own standard deviation."""
    n = tf.shape(images)[0]
    draw = tf.random.stateless_uniform([2, n, 1, 1, 1], seed, -1.0, 1.0, alg="philox")
    mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
    deviation = tf.math.reduce_std(images, axis=[1, 2], keepdims=True)
    stretched = mean + (images - mean) * (1.0 + draw[0] * settings.contrast)
    return stretched + draw[1] * settings.brightness * deviation

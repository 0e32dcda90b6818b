"""A network."""

import keras
from keras import layers


def small(shape: tuple[int, int, int], classes: int, *, filters: int = 4) -> keras.Model:
    """One convolution, its means, a dense layer: float32[n, h, w, c] to logits float32[n, classes]."""
    image = layers.Input(shape)
    x = layers.Conv2D(filters, 3, strides=2, activation="relu")(image)
    return keras.Model(image, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))

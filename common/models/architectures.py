"""Keras networks that survive averaging: logits out, no batch statistics, any number of classes and channels.

plain: the two-convolution network of the Keras "Simple MNIST convnet" kind, valid padding, 121 410 weights on 28×28×1.
groupnorm: the same idea with group normalisation (Wu and He, ECCV 2018) and global pooling.
resnet: residual blocks in the order of He et al., ECCV 2016, normalised by groups; for images up to 224 and more.
"""

from collections.abc import Callable

import keras
from keras import layers

from common.config import Cnn, Described, Network, PluginNetwork
from common.errors import ConfigError
from common.models.convolution import TwoWayConvolution
from common.models.own_networks import layer_by_layer, of_plugin, refuse_too_large, refuse_too_many

Shape = tuple[int, int, int]
SMALLEST_PX = {"plain": 10, "groupnorm": 8, "resnet": 16}


def network(config: Network, shape: Shape, classes: int) -> keras.Model:
    """Build the network: float32[n, h, w, c] to logits float32[n, classes].

    Raises:
        ConfigError: the images are too small for the architecture, or there are fewer than two classes.
        PluginError: a plug-in that builds no such network.
    """
    if classes < 2:
        raise ConfigError(f"model: a classifier needs at least 2 classes, got {classes}. Check the labels of the data.")
    if isinstance(config, PluginNetwork):
        return of_plugin(config, shape, classes)
    image = layers.Input(shape)
    if isinstance(config, Described):
        whole = keras.Model(image, layers.Dense(classes, name="logits")(layer_by_layer(config, image)))
        refuse_too_large(whole)
        return whole
    assert isinstance(config, Cnn)  # noqa: S101 - there are no others
    refuse_too_small(config, shape)
    x = BUILDERS[config.architecture](image, config.width)
    if config.dropout:
        x = layers.Dropout(config.dropout, seed=0)(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x))


def refuse_too_small(config: Cnn, shape: Shape) -> None:
    """Refuse images that an architecture cannot take in.

    Raises:
        ConfigError: with the size that would do.
    """
    height, width, channels = shape
    smallest = SMALLEST_PX[config.architecture]
    if min(height, width) < smallest or channels < 1:
        raise ConfigError(
            f"model.architecture: {config.architecture} needs images of at least {smallest}×{smallest} pixels, got "
            f"{height}×{width}×{channels}. Resize to a larger size in preprocess, or choose another architecture."
        )


def _plain(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    for number, filters in enumerate((width, 2 * width), start=1):
        x = TwoWayConvolution(filters, 3, activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    refuse_too_many(2 * width * x.shape[-1])
    return layers.Dense(2 * width, activation="relu", name="dense")(x)


def _groupnorm(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    for number, filters in enumerate((width, 2 * width, 4 * width), start=1):
        x = _conv(x, filters, f"conv{number}")
        if number < 3:
            x = layers.MaxPooling2D(2)(x)  # before the norm: a quarter of the work, and the maximum is the same
        x = _norm_relu(x, f"norm{number}")
    return layers.GlobalAveragePooling2D()(x)


def _resnet(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    side = min(x.shape[1], x.shape[2])
    x = _conv(x, width, "stem", size=3 if side < 96 else 7, strides=1 if side < 96 else 2)
    if side >= 96:
        x = layers.MaxPooling2D(2)(x)
    for stage in range(4 if side >= 96 else 3):
        for block in range(2):
            x = _residual(x, width << stage, f"stage{stage + 1}/block{block + 1}", 2 if stage and not block else 1)
    return layers.GlobalAveragePooling2D()(_norm_relu(x, "norm"))


def _residual(x: keras.KerasTensor, filters: int, name: str, strides: int) -> keras.KerasTensor:
    y = _norm_relu(x, f"{name}/norm1")
    skip = x if x.shape[-1] == filters else _conv(y, filters, f"{name}/skip", size=1, strides=strides)
    y = _conv(y, filters, f"{name}/conv1", strides=strides)
    y = _conv(_norm_relu(y, f"{name}/norm2"), filters, f"{name}/conv2")
    return layers.Add()([skip, y])


def _conv(x: keras.KerasTensor, filters: int, name: str, size: int = 3, strides: int = 1) -> keras.KerasTensor:
    return TwoWayConvolution(filters, size, strides, padding="same", use_bias=False, name=name.replace("/", "_"))(x)


def _norm_relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    groups = max(g for g in range(1, 9) if x.shape[-1] % g == 0)
    return layers.ReLU()(layers.GroupNormalization(groups, name=name.replace("/", "_"))(x))


BUILDERS: dict[str, Callable[[keras.KerasTensor, int], keras.KerasTensor]] = {
    "plain": _plain,
    "groupnorm": _groupnorm,
    "resnet": _resnet,
}

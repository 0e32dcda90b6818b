"""Networks that are not built in: described layer by layer in the configuration, or built by a plug-in's function."""

from typing import Any

import keras
from keras import layers

from common.config import Described, PluginNetwork
from common.config.layer_settings import AnyLayer
from common.errors import ConfigError, PluginError
from common.plugins import checked_settings, load_part, run_part

FEW_WEIGHTS = "Add a pooling layer, strides, or a resize step to `preprocess`."
MOST_WEIGHTS = 2**27
"""float32: half a gigabyte, of which training holds six."""


def layer_by_layer(config: Described, image: keras.KerasTensor) -> keras.KerasTensor:
    """The layers of a configuration one after the other, float32[n, h, w, c] to float32[n, d].

    Raises:
        ConfigError: a layer that does not fit behind the one before, naming its place.
    """
    x, weights = image, 0
    for place, layer in enumerate(config.layers, start=1):
        weights += _weights(layer, x.shape[-1])
        refuse_too_many(weights)
        settings = layer.model_dump(exclude={"layer"}) | ({"seed": 0} if layer.layer == "Dropout" else {})
        try:
            x = getattr(layers, layer.layer)(**settings, name=f"{layer.layer.lower()}{place}")(x)
        except ValueError as error:
            raise ConfigError(f"model.layers: {place}. {layer.layer}: {' '.join(str(error).split())[:300]}") from None
    if len(x.shape) != 2:
        raise ConfigError(
            f"model.layers: they end in {'×'.join(map(str, x.shape[1:]))} for an image, expected numbers in a row: end "
            "with GlobalAveragePooling2D or Flatten."
        )
    return x


def of_plugin(config: PluginNetwork, shape: tuple[int, int, int], classes: int) -> keras.Model:
    """What a plug-in's function builds, float32[n, h, w, c] to logits float32[n, classes].

    Raises:
        PluginError: it is no such network, or one whose weights cannot be averaged over sites.
    """
    function = load_part("models", config.part)
    settings = checked_settings(config.part, function, config.settings)
    network: Any = run_part(config.part, function, shape, classes, **settings)
    if not isinstance(network, keras.Model) or (network.input_shape, network.output_shape) != (
        (None, *shape), (None, classes)
    ):  # fmt: skip
        raise PluginError(
            "plugin-fails",
            f"{config.part}: expected a keras.Model from images {shape} to {classes} logits, got {network}.",
        )
    states = [v.path for v in network.non_trainable_variables if "seed" not in v.path]
    if states:
        raise PluginError(
            "plugin-fails",
            f"{config.part}: {states[0]} is state beside the weights, as of BatchNormalization: it is in no sum. Use "
            "GroupNormalization or LayerNormalization.",
        )
    return network


def refuse_too_large(network: keras.Model) -> None:
    """Refuse what no machine could train.

    Raises:
        ConfigError: saying how many weights it has.
    """
    refuse_too_many(network.count_params())


def refuse_too_many(weights: int) -> None:
    """Refuse so many weights, before anything is made of them: whoever drew up the plan may mean harm.

    Raises:
        ConfigError: saying how many.
    """
    if weights > MOST_WEIGHTS:
        raise ConfigError(f"model: {weights:,} weights, expected {MOST_WEIGHTS:,} at most. {FEW_WEIGHTS}")


def _weights(layer: AnyLayer, channels: int) -> int:
    """How many weights a layer has beside its biases, behind so many channels."""
    each = getattr(layer, "filters", 0) or getattr(layer, "units", 0) or int(layer.layer == "DepthwiseConv2D")
    return int(each * channels * getattr(layer, "kernel_size", 1) ** 2)

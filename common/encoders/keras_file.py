"""A Keras model (.keras) as an encoder: its configuration and weights are read as data; neither Keras nor code runs.

Keras's own loader builds whatever classes a file names, and Lambda layers hold code. Here a layer is one of a few kinds
of arithmetic that an encoder's graph has, or is refused with its name.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.encoders import keras_weights
from common.encoders.encoder_file import LARGEST_BYTES, Encoder, EncoderAbout
from common.encoders.encoder_graph import IMAGES, EncoderGraph
from common.errors import EncoderError

MOST_TEXT = 2**26
"""Bytes of the configuration."""

ACTIVATIONS = {
    "relu": "relu", "relu6": "relu6", "silu": "swish", "swish": "swish", "sigmoid": "sigmoid", "tanh": "tanh",
    "gelu": "gelu", "hard_sigmoid": "hard_sigmoid", "hard_silu": "hard_swish", "hard_swish": "hard_swish",
    "linear": "",
}  # fmt: skip
"""By Keras's name; empty: none."""
SETTLED: Mapping[str, tuple[Any, ...]] = {
    "data_format": ("channels_last",), "axis": (-1, 3, [3], [-1]), "threshold": (0,), "negative_slope": (0,),
    "renorm": (False,), "invert": (False,),
}  # fmt: skip
"""Settings of which only these are known here, wherever they stand."""

Layer = Mapping[str, Any]
Arrays = list[NDArray[np.float32]]


def read_keras(path: Path, about: EncoderAbout) -> Encoder:
    """An encoder from a .keras file.

    Args:
        about: what is said of it; its layers are called as the model's.

    Raises:
        EncoderError: naming the file, and the layer that cannot be one of an encoder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            version = str(json.loads(_member(archive, "metadata.json", MOST_TEXT))["keras_version"])
            model = json.loads(_member(archive, "config.json", MOST_TEXT))
            weights = _member(archive, "model.weights.h5", LARGEST_BYTES)
        if int(version.split(".")[0]) < 3:
            raise EncoderError(f"was written by Keras {version}, expected 3 or later.")
        layers = list(_layers(model))
        build = _Conversion()
        for layer, arrays in zip(layers, keras_weights.arrays(io.BytesIO(weights), _classes(layers)), strict=True):
            build.add(layer, arrays)
        return Encoder.of(about, EncoderGraph.model_validate({"operations": build.operations}), build.arrays)
    except EncoderError as error:
        raise EncoderError(f"{path}: {error}") from None
    except OSError as error:
        raise EncoderError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise EncoderError(f"{path}: is no Keras model of a kind that is known here ({error}).") from None


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    if (size := archive.getinfo(name).file_size) > most:
        raise EncoderError(f"{name} has {size:,} bytes, expected {most:,} at most.")
    return archive.read(name)


def _classes(layers: list[Layer]) -> list[str]:
    return [str(layer["class_name"]) for layer in layers]


def _layers(model: Layer) -> Iterator[Layer]:
    """The layers in order, each with `inputs`: the names of those that it takes."""
    if model["class_name"] not in ("Functional", "Sequential", "Model"):
        raise EncoderError(f"is a {model['class_name']}, expected a Functional or a Sequential model.")
    before = ""
    for layer in model["config"]["layers"]:
        name = str(layer["config"]["name"])
        if model["class_name"] == "Sequential":
            inputs = [] if layer["class_name"] == "InputLayer" else [before]
        else:
            nodes = layer["inbound_nodes"]
            if len(nodes) > 1:
                raise EncoderError(f"layer {name} is used {len(nodes)} times, expected once.")
            inputs = [source for node in nodes for source in _sources(node)]
        yield {**layer, "name": name, "inputs": inputs}
        before = name


def _sources(value: Any) -> Iterator[str]:
    """The layers whose results a call takes, in order."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield str(value["config"]["keras_history"][0])
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _sources(one)


class _Conversion:
    """Operations and arrays, as layer after layer is added."""

    def __init__(self) -> None:
        self.operations: list[dict[str, Any]] = []
        self.arrays: dict[str, NDArray[np.float32]] = {}
        self._results = {"": IMAGES}
        """By layer, the operation that gives its result."""
        self._channels = {IMAGES: 3}
        self._pixels: set[str] = set()
        """Results of one pixel a channel, of which other shapes are the same numbers."""

    def add(self, layer: Layer, arrays: Arrays) -> None:
        """One more layer.

        Raises:
            EncoderError: it is of no kind that an encoder has, or set otherwise than is known here.
        """
        kind, name, config = layer["class_name"], layer["name"], layer["config"]
        convert = None if layer.get("registered_name") else getattr(self, f"_{kind.lower()}", None)
        if convert is None or kind not in KINDS:
            raise EncoderError(f"layer {name} is a {kind}, expected one of {', '.join(KINDS)}.")
        for setting, values in SETTLED.items():
            if config.get(setting) is not None and config[setting] not in values:
                raise EncoderError(f"layer {name} has {setting} {config[setting]}, expected {values[0]}.")
        inputs = [self._results[source] for source in layer["inputs"]] or [IMAGES]
        self._results[name] = convert(name.replace("/", "."), config, inputs, arrays)

    def _op(self, op: str, name: str, inputs: list[str], channels: int = 0, **settings: Any) -> str:
        self.operations.append({"op": op, "name": name, "inputs": inputs, **settings})
        self._channels[name] = channels or self._channels[inputs[0]]
        if op == "global_mean" or (op != "pad" and self._pixels.issuperset(inputs)):
            self._pixels.add(name)
        return name

    def _activated(self, name: str, function: Any, source: str) -> str:
        """The layer's result behind its activation."""
        if function not in ACTIVATIONS:
            raise EncoderError(f"layer {name} has activation {function}, expected one of {', '.join(ACTIVATIONS)}.")
        return (
            self._op("activation", name, [source], function=ACTIVATIONS[function]) if ACTIVATIONS[function] else source
        )

    def _convolved(self, name: str, config: Layer, x: str, kernel: NDArray[np.float32], arrays: Arrays,
                   **settings: Any) -> str:  # fmt: skip
        inner = f"{name}.linear" if ACTIVATIONS.get(config["activation"], "-") else name
        self.arrays[f"{inner}/kernel"] = kernel
        if config["use_bias"]:
            self.arrays[f"{inner}/bias"] = arrays[1]
        return self._activated(
            name, config["activation"], self._op("convolution", inner, [x], kernel.shape[3], **settings)
        )

    def _conv2d(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return self._convolved(name, config, inputs[0], arrays[0], arrays, groups=config["groups"], **_steps(config))

    def _depthwiseconv2d(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        height, width, channels, many = arrays[0].shape
        kernel = arrays[0].reshape(height, width, 1, channels * many)
        return self._convolved(name, config, inputs[0], kernel, arrays, groups=channels, **_steps(config))

    def _dense(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return self._convolved(name, config, inputs[0], arrays[0][None, None], arrays, padding="valid")

    def _scaled(self, name: str, x: str, scale: Any, offset: Any) -> str:
        wide = np.zeros(self._channels[x])
        self.arrays[f"{name}/scale"] = np.asarray(wide + scale, np.float32)
        self.arrays[f"{name}/offset"] = np.asarray(wide + offset, np.float32)
        return self._op("scale", name, [x])

    def _batchnormalization(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        rest = [array.astype(np.float64) for array in arrays]
        gain = rest.pop(0) if config["scale"] else 1.0
        shift = rest.pop(0) if config["center"] else 0.0
        mean, variance = rest
        factor = gain / np.sqrt(variance + config["epsilon"])
        return self._scaled(name, inputs[0], factor, shift - mean * factor)

    def _rescaling(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return self._scaled(name, inputs[0], np.array(config["scale"], float), np.array(config["offset"], float))

    def _normalization(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        moments = arrays[:2] or [config["mean"], config["variance"]]
        mean, variance = (np.array(one, float).reshape(-1) for one in moments)
        factor = 1 / np.maximum(np.sqrt(variance), 1e-7)
        return self._scaled(name, inputs[0], factor, -mean * factor)

    def _activation(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return self._activated(name, config["activation"], inputs[0])

    def _relu(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        most = config.get("max_value")
        if most not in (None, 6):
            raise EncoderError(f"layer {name} has max_value {most}, expected none or 6.")
        return self._activated(name, "relu6" if most else "relu", inputs[0])

    def _zeropadding2d(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return self._op("pad", name, inputs, zeros=[side for pair in config["padding"] for side in pair])

    def _maxpooling2d(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return self._pool("max", name, config, inputs)

    def _averagepooling2d(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return self._pool("mean", name, config, inputs)

    def _pool(self, by: str, name: str, config: Layer, inputs: list[str]) -> str:
        steps = {"strides": config["strides"] or config["pool_size"], "padding": config["padding"]}
        return self._op("pool", name, inputs, by=by, size=config["pool_size"], **steps)

    def _globalaveragepooling2d(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return self._op("global_mean", name, inputs)

    def _add(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return self._op("combination", name, inputs, by="add")

    def _multiply(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        wide = [one for one in inputs if one not in self._pixels]
        return self._op("combination", name, [*wide, *(one for one in inputs if one not in wide)], by="multiply")

    def _concatenate(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return self._op("combination", name, inputs, sum(self._channels[one] for one in inputs), by="concatenate")

    def _inputlayer(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        if (config["batch_shape"] or [0])[-1] != 3:
            raise EncoderError(f"layer {name} takes images of shape {config['batch_shape'][1:]}, expected 3 channels.")
        return IMAGES

    def _dropout(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        return inputs[0]

    _spatialdropout2d = _dropout

    def _reshape(self, name: str, config: Layer, inputs: list[str], arrays: Arrays) -> str:
        if inputs[0] not in self._pixels:
            raise EncoderError(f"layer {name} reshapes maps, expected none but of one pixel.")
        return inputs[0]

    _flatten = _reshape


KINDS = (
    "InputLayer", "Conv2D", "DepthwiseConv2D", "Dense", "BatchNormalization", "Normalization", "Rescaling",
    "Activation", "ReLU", "ZeroPadding2D", "MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D", "Add",
    "Multiply", "Concatenate", "Dropout", "SpatialDropout2D", "Reshape", "Flatten",
)  # fmt: skip
"""The layers that are known here."""


def _steps(config: Layer) -> dict[str, Any]:
    return {"strides": config["strides"], "padding": config["padding"], "dilation": config["dilation_rate"]}

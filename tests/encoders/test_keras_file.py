"""A Keras model as an encoder: the same numbers as Keras gives, and a name for whatever is no arithmetic."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from client.__main__ import main as client
from common.encoders import encoder_library
from common.encoders.encoder_file import EncoderAbout
from common.encoders.encoder_network import network
from common.encoders.keras_file import read_keras
from common.encoders.tensorflow_loading import load
from common.errors import EncoderError
from tests.encoders.conftest import about

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""Of Keras, where it saves a model with NumPy 2."""

ABOUT = {"size": 32, "mean": (0.0, 0.0, 0.0), "deviation": (1.0, 1.0, 1.0)}


def said(**changes: Any) -> EncoderAbout:
    return about(**(ABOUT | changes))


@pytest.fixture(scope="module")
def keras() -> Any:
    load("keras")
    import keras

    return keras


@pytest.fixture(scope="module")
def saved(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model with every kind of layer, at random weights."""
    k = keras.layers
    keras.utils.set_random_seed(5)
    images = k.Input((32, 32, 3))
    x = k.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])(k.Rescaling(2.0, -0.5)(images))
    x = k.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = k.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = y = k.ReLU(6.0, name="first")(k.BatchNormalization()(x))
    x = k.Activation("swish")(k.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x))
    gate = k.Reshape((1, 1, 16))(k.GlobalAveragePooling2D()(x))
    gate = k.Conv2D(16, 1, activation="hard_sigmoid")(k.Dense(4, activation="relu")(gate))
    x = k.Conv2D(8, 3, padding="same", groups=4)(k.Multiply()([gate, x]))
    x = k.Add(name="sum")([k.Dropout(0.2)(k.BatchNormalization(scale=False, name="b")(x)), y])
    x = k.Concatenate()([k.MaxPooling2D(3, 2, padding="same")(x), k.AveragePooling2D(2)(x)])
    model = keras.Model(images, k.Conv2D(12, 3, dilation_rate=2, activation="gelu", padding="same", name="last")(x))
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(0.1, 0.9, w.shape) - 0.4 * (w.ndim > 1) for w in model.get_weights()])
    model.save(path := tmp_path_factory.mktemp("keras") / "all.keras")
    return model, path


def test_the_numbers_are_keras_s(keras: Any, saved: tuple[Any, Path]) -> None:
    model, path = saved
    layers = {"first": 8, "sum": 8, "last": 12}
    encoder = read_keras(path, said(layers=layers, usual=("last",)))
    images = np.random.default_rng(1).random((3, 32, 32, 3), np.float32)
    theirs = keras.Model(model.input, [model.get_layer(name).output for name in layers])(images)
    for one, other in zip(network(encoder, tuple(layers)).maps(images), theirs, strict=True):
        np.testing.assert_allclose(one, np.asarray(other), rtol=1e-5, atol=2e-5)


def test_a_sequential_model_too(keras: Any, tmp_path: Path) -> None:
    k = keras.layers
    model = keras.Sequential(
        [k.Input((32, 32, 3)), k.Conv2D(4, 3, name="a"), k.Conv2D(5, 3, activation="tanh", name="b")]
    )
    model.save(tmp_path / "two.keras")
    encoder = read_keras(tmp_path / "two.keras", said(layers={"b": 5}, usual=("b",)))
    images = np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    np.testing.assert_allclose(network(encoder, ("b",)).maps(images)[0], np.asarray(model(images)), atol=1e-5)


def rewritten(path: Path, out: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A file whose configuration was changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                change(tree := json.loads(content))
                content = json.dumps(tree).encode()
            new.writestr(name, content)
    return out


def _layer(tree: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in tree["config"]["layers"] if one["class_name"] == kind)
    return found


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: _layer(t, "Dropout").update(class_name="Lambda"), "layer dropout.* is a Lambda, expected one of"),
        (lambda t: _layer(t, "Dropout").update(registered_name="mine>Odd"), "layer dropout.* is a Dropout, expected"),
        (lambda t: _layer(t, "Dropout").update(class_name="__class__"), "is a __class__, expected one of"),
        (lambda t: _layer(t, "Activation")["config"].update(activation="softmax"), "has activation softmax"),
        (lambda t: _layer(t, "Conv2D")["config"].update(data_format="channels_first"), "data_format channels_first"),
        (lambda t: _layer(t, "ReLU")["config"].update(negative_slope=0.1), "layer first has negative_slope 0.1"),
        (lambda t: _layer(t, "Add")["inbound_nodes"].append({"args": []}), "layer sum is used 2 times"),
        (lambda t: _layer(t, "InputLayer")["config"].update(batch_shape=[None, 32, 32, 1]), "expected 3 channels"),
        (lambda t: t.update(class_name="Odd"), "is a Odd, expected a Functional"),
        (lambda t: t.pop("config"), "is no Keras model of a kind that is known"),
    ],
)
def test_what_is_no_arithmetic_is_refused_with_its_name(
    saved: tuple[Any, Path], change: Callable[[dict[str, Any]], None], why: str, tmp_path: Path
) -> None:
    path = rewritten(saved[1], tmp_path / "odd.keras", change)
    with pytest.raises(EncoderError, match=rf"odd.keras: .*{why}"):
        read_keras(path, said(layers={"last": 12}, usual=("last",)))


def test_weights_that_lie_in_another_file_are_not_read(saved: tuple[Any, Path], tmp_path: Path) -> None:
    (secret := tmp_path / "secret").write_bytes(bytes(4096))
    for kind in ("external", "link"):
        with zipfile.ZipFile(saved[1]) as old, zipfile.ZipFile(tmp_path / "far.keras", "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "model.weights.h5":
                    with h5py.File(store := io.BytesIO(content), "r+") as file:
                        shape = file["layers/conv2d/vars/0"].shape
                        del file["layers/conv2d/vars/0"]
                        if kind == "external":
                            place = [(str(secret), 0, 4096)]
                            file["layers/conv2d/vars"].create_dataset("0", shape, np.float32, external=place)
                        else:
                            file["layers/conv2d/vars/0"] = h5py.ExternalLink(str(secret), "/x")
                    content = store.getvalue()
                new.writestr(name, content)
        with pytest.raises(EncoderError, match=r"weights layers/conv2d/vars.*in this"):
            read_keras(tmp_path / "far.keras", said(layers={"last": 12}, usual=("last",)))


def test_the_command_keeps_one_with_what_is_said_of_it(
    saved: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(encoder_library.VARIABLE, str(tmp_path / "library"))
    tree = said(name="mine", layers={"last": 12}, usual=("last",)).model_dump(mode="json")
    (told := tmp_path / "about.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert client(["encoders", "add", str(saved[1])]) == 2
    assert "expected --about FILE" in capsys.readouterr().err
    assert client(["encoders", "add", str(saved[1]), "--about", str(told)]) == 0
    assert encoder_library.find("mine").about.layers == {"last": 12}
    told.write_text(yaml.safe_dump(tree | {"licence": ""}), encoding="utf-8")
    assert client(["encoders", "add", str(saved[1]), "--about", str(told)]) == 2
    assert "about.yaml: licence" in capsys.readouterr().err

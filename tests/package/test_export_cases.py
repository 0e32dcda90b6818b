"""Exported and read back, a model of any kind behind any recipe gives the bits it gave, and ONNX its logits."""

import hashlib
from typing import Any

import numpy as np
import onnxruntime
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter

from common.config import Cnn, Local, Svm
from common.imaging import Picture, Pipeline
from common.imaging.step_order import Steps
from common.models import Work, build
from common.package import ModelPackage, build_package, load_verified_package
from common.package.onnx_graph import graph, inside
from common.package.package_file import ARRAYS, CARD, GRAPH, PAGE
from common.storage import tensorfile
from common.trust.keys import public_of
from common.types import Cases, Stack, Tensors, prefixed

KEY = Ed25519PrivateKey.from_private_bytes(b"publisher of the tests, 32 bytes")
SVM = Svm(kind="svm")
FOURIER = Svm(kind="svm", features="fourier", dimension=33, seed=5)
PLAIN = Cnn(kind="cnn", width=5, dropout=0.3)
GROUPNORM = Cnn(kind="cnn", architecture="groupnorm", width=7)
RESNET = Cnn(kind="cnn", architecture="resnet", width=5, dropout=0.2)


def step(name: str, **told: Any) -> dict[str, Any]:
    return {"step": name, **told}


RESIZE, FEDERATED = step("resize", size=[18, 23]), step("normalise")
RECIPES: dict[str, list[dict[str, Any]]] = {
    "mean": [RESIZE, step("mean", radius=2)],
    "gaussian": [RESIZE, step("gaussian", sigma=1.3)],
    "edges beside": [RESIZE, step("edges", close=1, min_pixels=3)],
    "edges alone": [RESIZE, step("edges", output="mask", threshold=0.1)],
    "edges over": [RESIZE, step("edges", output="overlay")],
    "clusters beside": [RESIZE, step("clusters", k=3)],
    "clusters alone": [RESIZE, step("clusters", k=4, output="mask", bins=65536)],
    "window of percentiles": [step("window", source="percentile", low=2, high=95), RESIZE],
    "fixed window": [step("window", center=90, width=120), RESIZE],
    "whole image": [step("resize", size=[17, 30], keep_aspect=True)],
    "crop": [step("crop", box=[0.1, 0.2, 0.6, 0.5], unit="share"), RESIZE],
    "crop after": [RESIZE, step("crop", size=[16, 19])],
    "grey": [step("grey"), RESIZE],
    "clahe": [RESIZE, step("clahe", tiles=3)],
    "image": [RESIZE, step("normalise", by="image")],
    "fixed": [RESIZE, step("normalise", by="fixed", mean=0.4, std=0.2)],
    "by channel": [RESIZE, FEDERATED],
    "by pixel": [RESIZE, step("normalise", per="pixel")],
    "steps after the federated": [RESIZE, FEDERATED, step("gaussian"), step("mean")],
    "federated, then by image": [RESIZE, step("normalise", per="pixel"), step("normalise", by="image")],
    "everything": [
        step("window", source="percentile"), step("grey"), step("crop", size=[0.9, 0.8], unit="share"), RESIZE,
        step("clahe", tiles=2), step("mean"), step("gaussian", sigma=0.7), step("clusters", k=3), step("edges"),
        step("normalise", per="pixel"),
    ],
}  # fmt: skip


def pictures(channels: int) -> list[Picture]:
    """Ten of two sizes, none square."""
    random = np.random.default_rng(channels)
    sizes = [(31, 40), (44, 29)]
    drawn = [random.integers(0, 256, (*sizes[i % 2], channels)).astype(np.float32) for i in range(10)]
    return [Picture(image, 0.0, 255.0, f"{i}.png") for i, image in enumerate(drawn)]


def trained(config: Cnn | Svm, images: Stack, classes: int) -> Tensors:
    """A little."""
    model, labels = build(config, images.shape[1:], classes), np.arange(len(images)) % classes
    return model.fit(model.init(3), Cases(images, labels), Work(Local(batch=4, epochs=2), 1e-3, seed=1)).weights


def package(
    config: Cnn | Svm, shape: tuple[int, ...], weights: Tensors, whole: Pipeline, recipe: Tensors, classes: int
) -> ModelPackage:
    """Sealed as an export seals it, and read back."""
    labels = [f"class {i}" for i in range(classes)]
    said = {
        "name": "case", "publisher": {"name": "tests", "roots": [public_of(KEY).hex()]}, "labels": labels,
        "model": config.model_dump(mode="json"), "shape": shape,
        "preprocess": [one.model_dump(mode="json") for one in whole.steps],
        "recipe": Pipeline(whole.steps).fingerprint(), "fingerprint": whole.fingerprint(),
        "threshold": 0.0 if classes == 2 else None, "rule": "youden", "calibration": [], "likeness": None,
        "licence": "none",
        "provenance": {
            "kind": "synthetic", "run": "case", "sites": ["a"], "release": "0", "code": "0" * 64, "exported_s": 0,
            "weights": hashlib.sha256(tensorfile.pack(weights, {})).hexdigest(),
        },
    }  # fmt: skip
    arrays = prefixed("weights", weights) | prefixed("recipe", recipe)
    members = {
        ARRAYS: tensorfile.pack(arrays, {}), CARD: b"card", PAGE: b"page",
        GRAPH: graph(config, whole_shape(shape), labels, weights, whole),
    }  # fmt: skip
    return load_verified_package(build_package(said, members, [KEY]), "case", [public_of(KEY)])


def whole_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    height, width, channels = shape
    return height, width, channels


def by_onnx(file: bytes, images: Stack) -> Any:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"images": images})[0]


def exported(config: Cnn | Svm, steps: list[dict[str, Any]], channels: int, classes: int) -> float:
    """Train, export, read back and compare; by how much ONNX's logits differ."""
    pipeline, recipe = Pipeline(TypeAdapter[Any](Steps).validate_python(steps)), {}
    read = pipeline.before(pictures(channels))
    if pipeline.needs_statistics:
        recipe = {"mean": read.mean(axis=0, dtype=np.float64), "variance": read.var(axis=0, dtype=np.float64)}
        pipeline = pipeline.with_statistics(recipe["mean"], recipe["variance"])
    images = pipeline.after(read)
    weights = trained(config, images, classes)
    own = build(config, images.shape[1:], classes).scores(weights, images)

    shared = package(config, images.shape[1:], weights, pipeline, recipe, classes)
    again = shared.pipeline.before(pictures(channels))
    assert np.array_equal(again, read)
    assert np.array_equal(shared.scores(shared.model(), again), own)
    given = again if inside(shared.pipeline) else shared.pipeline.after(again)
    return float(np.abs(by_onnx(shared.members[GRAPH], given) - own).max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", RECIPES)
def test_behind_every_recipe_three_classes_keep_their_bits(name: str, channels: int) -> None:
    for config in (SVM, FOURIER):
        assert exported(config, RECIPES[name], channels, 3) <= 1e-5


@pytest.mark.parametrize("config", [PLAIN, GROUPNORM, RESNET], ids=["plain", "groupnorm", "resnet"])
def test_a_network_of_odd_width_on_oblong_images_keeps_its_bits(config: Cnn) -> None:
    assert exported(config, RECIPES["everything"], 3, 3) <= 1e-5

"""The head that a run with a budget trains: its scores, what it says of an image, and its ONNX graph."""

import numpy as np
import onnxruntime
import pytest

from common.config import Svm
from common.imaging import Pipeline
from common.models import Work, build
from common.models.unit_head import UnitHead
from common.package.onnx_graph import graph
from common.types import Cases, Tensors
from tests.privacy.private_world import private_config

SHAPE = (2, 3, 2)


def head(classes: int = 2, parts: tuple[int, ...] = (4, 8)) -> UnitHead:
    loss = "logistic" if classes == 2 else "softmax"
    model = build(Svm(kind="svm", features="unit", loss=loss, parts=parts, C=10.0), SHAPE, classes)
    assert isinstance(model, UnitHead)
    return model


def cases(n: int = 300, classes: int = 2) -> Cases:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, classes, n)
    images = rng.normal(1.0, 1.0, (n, *SHAPE))
    images[np.arange(n), labels % 2, labels % 3, 0] += 3.0
    return Cases(images.astype(np.float32), labels)


def weights(model: UnitHead, seed: int = 0) -> Tensors:
    rng = np.random.default_rng(seed)
    return model.weights_at(rng.normal(0, 3, (model.rows, model.length)), rng.normal(0, 0.2, model.length - 1))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_onnx_graph_has_the_scores_of_the_head(classes: int) -> None:
    model, images = head(classes), cases().images[:]
    images[3] = 0.0
    at = weights(model)
    labels = tuple("abc")[:classes]
    session = onnxruntime.InferenceSession(graph(model.config, SHAPE, labels, at, Pipeline(())))
    (logits,) = session.run(None, {"images": images})
    assert np.allclose(logits, model.scores(at, images), atol=1e-5)


def test_scores_do_not_change_with_an_images_brightness_or_contrast() -> None:
    model, images = head(parts=()), cases().images[:]
    at = weights(model)
    assert np.allclose(model.scores(at, images), model.scores(at, images * 7 + 2), atol=1e-4)


def test_slopes_are_those_of_the_score() -> None:
    model, image = head(), cases(1).images[:]
    at, step = weights(model), 1e-3
    slopes = model.slopes(at, image, 1)
    for place in range(12):
        moved = [image.copy().reshape(1, -1) for _ in range(2)]
        moved[0][0, place] += step
        moved[1][0, place] -= step
        up, down = (np.diff(model.scores(at, one.reshape(1, *SHAPE)))[0, 0] for one in moved)
        assert slopes[place] == pytest.approx((up - down) / (2 * step), abs=5e-3)


def test_what_it_says_of_an_image_sums_to_its_score() -> None:
    model, image = head(), cases(1).images[:]
    at = weights(model)
    shares = model.evidence(at, image, 1).map.sum()
    assert shares + at["intercept"][0] == pytest.approx(np.diff(model.scores(at, image))[0, 0], abs=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_site_alone_finds_what_tells_the_classes_apart(classes: int) -> None:
    model, part = head(classes), cases(classes=classes)
    fitted = model.fit({}, part, Work(private_config().federation.local, 0.0, 1))
    right = model.scores(fitted.weights, part.images).argmax(axis=1) == part.labels
    assert right.mean() > 0.8
    assert np.linalg.norm(model.gradient_sum(fitted.weights, part, part.shares())["gradient"]) < len(part)

"""A dense layer on pixels: one step of plain descent over all sites shows every image that alone activates a unit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from client.plans import judge
from client.plans.inbox import PlanInbox
from common.config import Training
from common.models import Work, build
from common.plans import floors
from common.trust.documents import sign_document
from common.types import Cases
from tests.attacks.conftest import Attack
from tests.attacks.hospitals import CNN, SIX, SIZE, Hospitals, pictures

DENSE = [{"layer": "Flatten"}, {"layer": "Dense", "units": 256, "activation": "relu"}]
IDENTITY = {"layer": "Conv2D", "filters": 1, "kernel_size": 1}
CONVOLUTION = {"layer": "Conv2D", "filters": 4, "kernel_size": 3, "activation": "relu"}
MODEL: dict[str, Any] = {"kind": "layers", "layers": DENSE}
CASES, NEAR = 60, 0.02


def training_of(**changes: Any) -> Training:
    return Training.model_validate({"name": "dense", "model": MODEL} | changes)


def nearest(image: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    return float(np.abs(others - image).max(1).min())


def test_where_nobody_looks_patients_images_are_read_from_one_sum(show: Callable[[str], None]) -> None:
    images, labels = pictures("train", CASES)
    stack = (images / np.float32(255))[..., None]
    training = training_of(federation={"local": {"optimizer": "sgd", "steps": 1, "batch": CASES, "learning_rate": 1.0}})
    model, local = build(training.model, (SIZE, SIZE, 1), 2), training.federation.local
    first = model.init(1)
    after = model.fit(first, Cases(stack, labels), Work(local, 1.0, 1)).weights
    (weights,) = (name for name, array in first.items() if array.shape == (SIZE * SIZE, 256))
    bias = weights.replace("kernel", "bias")
    by_weight, by_bias = (CASES * (after[name] - first[name]) for name in (weights, bias))
    rounded = np.round(by_weight * 2**16) / 2**16, np.round(by_bias * 2**16) / 2**16  # as sums under masks are
    units = np.flatnonzero(np.abs(rounded[1]) > 2e-3)
    members = stack.reshape(CASES, -1)
    read = [nearest(rounded[0][:, unit] / rounded[1][unit], members) for unit in units]
    show(f"one step over {CASES} images: {sum(n < NEAR for n in read)} units show one, the nearest by {min(read):.4f}")
    assert min(read) < NEAR


@pytest.mark.parametrize("before", [[], [IDENTITY]])
def test_no_plan_has_one(before: list[dict[str, Any]], attack: Attack) -> None:
    layers = {"kind": "layers", "layers": [*before, *DENSE]}
    with attack("a plan with a dense layer on pixels", "dense-on-pixels"):
        floors.refuse_dense_on_pixels(training_of(model=layers))
    floors.refuse_dense_on_pixels(training_of(model={"kind": "layers", "layers": [CONVOLUTION, *DENSE]}))


def test_no_site_takes_one_that_was_signed_all_the_same(tmp_path: Path) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(SIX[:3], (30, 10)), CNN)
    content = hospitals.plan(tree=CNN).content.model_dump(mode="json")
    content["training"] = content["training"] | {"model": training_of().model.model_dump(mode="json")}
    site = hospitals.sites[SIX[0]]
    plan = PlanInbox(site).take_plan(sign_document("plan", content, hospitals.roots).encode())
    assert plan is not None
    assert "a Dense layer stands on the images' own numbers" in judge.objection(site, plan)

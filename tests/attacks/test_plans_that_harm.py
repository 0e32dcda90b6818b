"""A plan that the roots have signed may mean harm: to the person who reads its page, or to the site's process."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from client.plans.inbox import PlanInbox
from common.config import Cnn, Described
from common.errors import ConfigError, WireError
from common.models import build
from common.trust.documents import sign_document
from tests.attacks.conftest import Attack
from tests.attacks.hospitals import CNN, SIX, Hospitals

BESIDE = "x\n\nWHAT LEAVES  nothing"
ODD: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "a data set that is a page": (("dataset",), BESIDE),
    "a purpose that is a page": (("purpose",), BESIDE),
    "a class that is a page": (("labels", 0), BESIDE),
    "a site that is a page": (("cohort", 1), BESIDE),
    "a release that is a page": (("release",), "0.3.0\u2028WHAT LEAVES  nothing"),
    "an earlier run that is a page": (
        ("carried",), {"name": BESIDE, "plan": "0" * 64, "sha256": [], "frequencies": 0}),
    "a name without an end": (("training", "name"), "x" * 100_000),
    "images without an end": (("shape", 0), 2**62),
    "images of too many numbers": (("shape",), [2**16, 2**16, 1]),
    "changes that no word holds": (("training", "federation", "clip"), 5e-324),
    "changes beyond all": (("training", "federation", "clip"), 1e308),
    "work without an end": (("training", "federation", "local", "epochs"), 1e308),
}  # fmt: skip


@pytest.fixture(scope="module")
def plan_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes | None]:
    """Signs a plan that differs in one field, and shows it to a site."""
    hospitals = Hospitals(tmp_path_factory.mktemp("plans"), dict.fromkeys(SIX[:4], (30, 10)), CNN)
    content = hospitals.plan(tree=CNN).content.model_dump(mode="json")

    def show(path: tuple[str | int, ...], value: Any) -> bytes | None:
        changed = at = json.loads(json.dumps(content))
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        taken = PlanInbox(hospitals.sites[SIX[0]]).take_plan(sign_document("plan", changed, hospitals.roots).encode())
        return taken and taken.document.encode()

    return show


def test_the_plan_itself_is_taken(plan_with: Callable[..., bytes | None]) -> None:
    assert plan_with(("training", "name"), "chest")


@pytest.mark.parametrize("what", ODD)
def test_it_is_not_taken(plan_with: Callable[..., bytes | None], what: str, attack: Attack) -> None:
    with attack(f"a signed plan with {what}", WireError.__name__):
        plan_with(*ODD[what])


HUGE: dict[str, Cnn | Described] = {
    "a dense layer behind all pixels": Cnn(kind="cnn", architecture="plain", width=256),
    "layer by layer": Described.model_validate({"kind": "layers", "layers": [
        {"layer": "Conv2D", "filters": 4096}, {"layer": "Flatten"}, {"layer": "Dense", "units": 16384}]}),
    "convolutions of everything": Described.model_validate({"kind": "layers", "layers": [
        {"layer": "Conv2D", "filters": 4096, "kernel_size": 32, "padding": "same"},
        {"layer": "Conv2D", "filters": 4096, "kernel_size": 32, "padding": "same"},
        {"layer": "GlobalAveragePooling2D"}]}),
}  # fmt: skip


@pytest.mark.parametrize("what", HUGE)
def test_a_network_without_an_end_is_refused_before_it_is_made(what: str, attack: Attack) -> None:
    with attack(f"a network: {what}", ConfigError.__name__):
        build(HUGE[what], (8192, 8192, 1) if what.startswith("a dense") else (28, 28, 1), 2)

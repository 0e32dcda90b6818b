"""The coordinator asks another question than the signed plan does, and every site answers (A2)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.messages.transport import Request
from tests.attacks.hospitals import CNN, SIX, Hospitals
from tests.attacks.hostile import HostileCoordinator

pytestmark = pytest.mark.usefixtures("many_hospitals")
CASES = dict.fromkeys(SIX, (20, 8))


def setting(**changes: float) -> Callable[[Request], Request]:
    return lambda request: replace(request, settings={**request.settings, **changes})


def ulp(request: Request) -> Request:
    return setting(learning_rate=float(np.nextafter(request.settings["learning_rate"], 1)))(request)


def evaluation(request: Request) -> Request:
    return replace(request, kind="evaluate", settings={"recipe": request.settings["recipe"]})


def random_weights(request: Request) -> Request:
    rng = np.random.default_rng(1)
    return replace(
        request, tensors={n: rng.standard_normal(a.shape).astype(a.dtype) for n, a in request.tensors.items()}
    )


Ends = Callable[..., None]
QUESTIONS: dict[str, tuple[Callable[[Request], Request], str]] = {
    "round 1,000,000": (lambda request: replace(request, round=1_000_000), "run-is-over"),
    "a round after the last": (lambda request: replace(request, round=3), "run-is-over"),
    "learning rate .9": (setting(learning_rate=0.9), "model-does-not-follow"),
    "learning rate one ulp higher": (ulp, "model-does-not-follow"),
    "seed 4711": (setting(seed=4711), "model-does-not-follow"),
    "random first weights": (random_weights, "model-does-not-follow"),
    "an evaluation before any training": (evaluation, "missing-transcript"),
}
PROPOSALS = {
    "another run": ({"run": bytes(range(16))}, "changed-plan"),
    "another configuration": ({"config": bytes(32)}, "changed-plan"),
    "more rounds": ({"rounds": 1000}, "changed-plan"),
}


@pytest.fixture
def hospitals(tmp_path: Path) -> Hospitals:
    return Hospitals(tmp_path, CASES, CNN)


@pytest.mark.parametrize("what", QUESTIONS)
def test_a_question_that_the_plan_does_not_ask(hospitals: Hospitals, what: str, ends: Ends) -> None:
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    change, code = QUESTIONS[what]
    loot = coordinator.attempt(lambda: coordinator.sum(SIX, change(coordinator.honest_training())))
    ends(f"A2 {what}", coordinator, {code: SIX}, loot)


@pytest.mark.parametrize("what", PROPOSALS)
def test_a_key_period_that_the_plan_does_not_have(hospitals: Hospitals, what: str, ends: Ends) -> None:
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    before, (changes, code) = coordinator.remembered(), PROPOSALS[what]
    loot = coordinator.attempt(lambda: coordinator.sum(SIX, coordinator.honest_training(), **changes))
    ends(f"A2 {what}", coordinator, {code: SIX}, loot)
    assert coordinator.remembered() == before


def test_a_cohort_drawn_by_lot(hospitals: Hospitals, ends: Ends) -> None:
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    cohort = sorted(map(str, np.random.default_rng(3).choice(SIX, 4, replace=False)))
    loot = coordinator.attempt(lambda: coordinator.sum(cohort, coordinator.honest_training()))
    ends("A2 a random cohort of 4", coordinator, {"other-cohort": cohort}, loot)


def test_what_the_plan_asks_is_answered(hospitals: Hospitals) -> None:
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    assert coordinator.attempt(lambda: coordinator.sum(SIX, coordinator.honest_training()))
    assert not coordinator.codes()

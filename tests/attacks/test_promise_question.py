"""The coordinator asks another question than the signed plan does, and every site answers (A2)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.messages.transport import Request
from tests.attacks.hospitals import CNN, SIX, Hospitals
from tests.attacks.hostile import HostileCoordinator, invented

pytestmark = pytest.mark.usefixtures("many_hospitals")
CASES = dict.fromkeys(SIX, (20, 8))


def setting(**changes: float) -> Callable[[Request], Request]:
    return lambda request: replace(request, settings={**request.settings, **changes})


def ulp(request: Request) -> Request:
    return setting(learning_rate=float(np.nextafter(request.settings["learning_rate"], 1)))(request)


def random_weights(request: Request) -> Request:
    rng = np.random.default_rng(1)
    return replace(
        request, tensors={n: rng.standard_normal(a.shape).astype(a.dtype) for n, a in request.tensors.items()}
    )


QUESTIONS: dict[str, Callable[[Request], Request]] = {
    "round 1,000,000": lambda request: replace(request, round=1_000_000),
    "a round after the last": lambda request: replace(request, round=3),
    "learning rate .9": setting(learning_rate=0.9),
    "learning rate one ulp higher": ulp,
    "seed 4711": setting(seed=4711),
    "random first weights": random_weights,
    "an evaluation before any training": lambda request: replace(request, kind="evaluate", round=0),
}
PROPOSALS = {
    "another run": {"run": bytes(range(16))},
    "another configuration": {"config": invented(b"config")},
    "other rounds": {"rounds": 1000},
}


@pytest.fixture
def hospitals(tmp_path: Path) -> Hospitals:
    return Hospitals(tmp_path, CASES, CNN)


@pytest.mark.parametrize("what", QUESTIONS)
def test_a_question_that_the_plan_does_not_ask(hospitals: Hospitals, what: str, show: Callable[[str], None]) -> None:
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    question = QUESTIONS[what](coordinator.honest_training())
    if question.kind == "evaluate":
        question = replace(question, settings={"recipe": question.settings["recipe"]})
    total = coordinator.attempt(lambda: coordinator.sum(SIX, question))
    answered = len(SIX) - len(coordinator.codes("submit"))
    show(f"A2 {what}: answered by {answered} of {len(SIX)}")
    assert answered == 6
    assert total is not None


@pytest.mark.parametrize("what", PROPOSALS)
def test_a_key_period_that_the_plan_does_not_have(hospitals: Hospitals, what: str, show: Callable[[str], None]) -> None:
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    changes = PROPOSALS[what]
    total = coordinator.attempt(lambda: coordinator.sum(SIX, coordinator.honest_training(), **changes))
    answered = len(SIX) - len(coordinator.codes("join"))
    show(f"A2 {what}: joined by {answered} of {len(SIX)}")
    assert answered == 6
    assert total is not None


def test_a_cohort_drawn_by_lot(hospitals: Hospitals, show: Callable[[str], None]) -> None:
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    cohort = sorted(np.random.default_rng(3).choice(SIX, 4, replace=False))
    total = coordinator.attempt(lambda: coordinator.sum([str(name) for name in cohort], coordinator.honest_training()))
    answered = len(cohort) - len(coordinator.codes())
    show(f"A2 a random cohort of 4: answered by {answered} of 4")
    assert answered == 4
    assert total is not None

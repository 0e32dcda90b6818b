"""Every field of a key period's plan follows from the signed plan and the signed approvals: no site joins another."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from client.training import hospital_site
from common.messages.transport import Request
from common.secagg.key_period_plan import KeyPeriodPlan
from server.evaluation import model_store
from tests.attacks.hospitals import CNN, SIX, Hospitals
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.test_promise_cohort import Ends, coordinator_of_evaluation

FIVE = SIX[:5]
Change = Callable[[HostileCoordinator], dict[str, Any]]
Asked = tuple[HostileCoordinator, Request]


def fewer_kinds(coordinator: HostileCoordinator) -> dict[str, Any]:
    kinds = coordinator.kinds(len(FIVE))
    return {"question_kinds": {"other": kinds[next(iter(kinds))]}}


FIELDS: dict[str, tuple[Change, str]] = {
    "federation": (lambda _: {"federation": "others"}, "changed-plan"),
    "run": (lambda _: {"run": bytes(range(16))}, "changed-plan"),
    "number": (lambda c: {"number": c.number - 1}, "replayed-epoch"),
    "roster": (lambda _: {"roster": bytes(32)}, "changed-plan"),
    "config": (lambda _: {"config": bytes(range(32))}, "changed-plan"),
    "purpose": (lambda _: {"purpose": "advertising"}, "changed-plan"),
    "cohort": (lambda _: {"cohort": FIVE[:4]}, "other-cohort"),
    "threshold": (lambda _: {"threshold": 5}, "wrong-threshold"),
    "n_min": (lambda _: {"n_min": 4}, "changed-plan"),
    "rounds": (lambda _: {"rounds": 1000}, "changed-plan"),
    "question_kinds": (fewer_kinds, "changed-plan"),
}
"""By field, what the coordinator writes there, and what every site refuses it for."""


@pytest.fixture(scope="module")
def consortia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Asked]]:
    """A training and an evaluation, each in its first key period, which all hospitals have joined."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
        training = in_training(tmp_path_factory.mktemp("training"))
        evaluation = coordinator_of_evaluation(tmp_path_factory.mktemp("evaluation"))
        [model] = evaluation.plan.content.models
        asked = model.question(model_store.arrays(evaluation.hospitals.home, model), 0)
        yield {"training": (training, training.honest_training()), "evaluation": (evaluation, asked)}


def in_training(folder: Path) -> HostileCoordinator:
    hospitals = Hospitals(folder, dict.fromkeys(FIVE, (20, 8)), CNN)
    return HostileCoordinator(hospitals, hospitals.approved("likeness=false"))


def test_no_field_is_forgotten() -> None:
    assert list(FIELDS) == list(KeyPeriodPlan.__dataclass_fields__)


@pytest.mark.parametrize("work", ["training", "evaluation"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_field_is_refused_by_every_site(
    consortia: dict[str, Asked], field: str, work: str, ends: Ends
) -> None:
    coordinator, question = consortia[work]
    coordinator.refused.clear()
    coordinator.begin()  # the honest one is joined by all
    assert not coordinator.codes()
    before, (change, code) = coordinator.remembered(), FIELDS[field]
    assert len(before) >= len(FIVE)
    changes = change(coordinator)
    cohort = changes.pop("cohort", FIVE)
    loot = coordinator.attempt(lambda: coordinator.sum(cohort, question, **changes))
    ends(f"{field} of the key period's plan, {work}", coordinator, {code: cohort}, loot)
    assert coordinator.remembered() == before


def test_audit_false_of_an_older_folder_has_no_effect(tmp_path: Path, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (20, 8)), CNN, {"audit": False})
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    question = coordinator.honest_training()
    arrays = {name: value + value.dtype.type(1) for name, value in question.tensors.items()}
    changed = Request(question.kind, question.round, arrays, question.settings)
    loot = coordinator.attempt(lambda: coordinator.sum((), changed))
    ends("crafted weights where site.yaml says audit: false", coordinator, {"model-does-not-follow": FIVE}, loot)

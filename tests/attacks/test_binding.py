"""Every field of a key period's plan follows from the signed plan and the signed approvals: no site joins another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.secagg.key_period_plan import KeyPeriodPlan
from server.evaluation import model_store
from tests.attacks.hospitals import CNN, SIX, Hospitals
from tests.attacks.hostile import HostileCoordinator, invented
from tests.attacks.test_promise_cohort import Ends, coordinator_of_evaluation

pytestmark = pytest.mark.usefixtures("many_hospitals")
FIVE = SIX[:5]
Change = Callable[[HostileCoordinator], dict[str, Any]]


def fewer_kinds(coordinator: HostileCoordinator) -> dict[str, Any]:
    kinds = coordinator.kinds(len(FIVE))
    return {"question_kinds": {"other": kinds[next(iter(kinds))]}}


FIELDS: dict[str, tuple[Change, str]] = {
    "federation": (lambda _: {"federation": "others"}, "other-federation"),
    "run": (lambda _: {"run": bytes(range(16))}, "changed-plan"),
    "number": (lambda c: {"number": c.last_number}, "replayed-epoch"),
    "roster": (lambda _: {"roster": bytes(32)}, "other-roster"),
    "config": (lambda _: {"config": invented(b"config")}, "changed-plan"),
    "purpose": (lambda _: {"purpose": "advertising"}, "changed-plan"),
    "cohort": (lambda _: {"cohort": FIVE[:4], "threshold": 3}, "other-cohort"),
    "threshold": (lambda _: {"threshold": 3}, "wrong-threshold"),
    "n_min": (lambda _: {"n_min": 2}, "changed-plan"),
    "rounds": (lambda _: {"rounds": 1000}, "changed-plan"),
    "question_kinds": (fewer_kinds, "changed-plan"),
}
"""By field, what the coordinator writes there, and what every site refuses it for."""


def test_no_field_is_forgotten() -> None:
    assert list(FIELDS) == list(KeyPeriodPlan.__dataclass_fields__)


@pytest.mark.parametrize("audit", [True, False], ids=["audit", "audit: false of an older folder"])
@pytest.mark.parametrize("work", ["training", "evaluation"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_field_is_refused_by_every_site(
    tmp_path: Path, field: str, work: str, audit: bool, ends: Ends
) -> None:
    if work == "training":
        hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (20, 8)), CNN, {"audit": audit})
        coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
        coordinator.follow(FIVE)
        question = coordinator.honest_training()
    else:
        coordinator = coordinator_of_evaluation(tmp_path, audit)
        [model] = coordinator.plan.content.models
        question = model.question(model_store.arrays(coordinator.hospitals.home, model), 0)
    coordinator.begin(FIVE)  # the honest one is joined by all
    assert not coordinator.codes()
    before, (change, code) = coordinator.remembered(), FIELDS[field]
    changes = change(coordinator)
    cohort = changes.pop("cohort", FIVE)
    loot = coordinator.attempt(lambda: coordinator.sum(cohort, question, **changes))
    ends(f"{field} of the key period's plan, {work}", coordinator, {code: cohort}, loot)
    assert coordinator.remembered() == before

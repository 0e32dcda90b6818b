"""A site whose rule is to approve: a plan that it refuses holds up no other, and the coordinator hears why."""

import logging
from functools import lru_cache
from pathlib import Path

import pytest

from client.plans import sync
from client.plans.inbox import PlanInbox
from client.service import ResidentProcess
from client.training import hospital_site
from common.plans.plan import RunPlan
from server.runs import driver
from tests.runs.test_carrying import CNN, FOUR, THREE, Life


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    """Four sites have trained; Lisbon approves by rule."""
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    monkeypatch.setattr(driver, "LONGEST_PAUSE_S", 0.01)
    life = Life(tmp_path / "life")
    assert life.lived(FOUR, *CNN).state.stage == "finished"
    settings = life.sites["Lisbon"].folder / "site.yaml"
    settings.write_text(settings.read_text("utf-8").replace("policy:", "policy:\n  plans: approve", 1), "utf-8")
    assert life.sites["Lisbon"].settings.policy.plans == "approve"
    return life


def test_a_plan_that_is_refused_is_named_to_the_coordinator_and_the_next_one_is_approved(
    life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    lisbon = life.sites["Lisbon"]
    anew, carrying = life.drawn_up(THREE, *CNN, anew=True), life.drawn_up(THREE, *CNN)
    process, inbox = ResidentProcess(lisbon), PlanInbox(lisbon)

    def verdict(plan: RunPlan) -> str:
        decision = inbox.decision(plan)
        return decision.verdict if decision else ""

    with caplog.at_level(logging.ERROR, "consilium"):
        process._approve()
        process._approve()  # nothing has changed: it is not tried, nor said, again
    assert (verdict(anew), verdict(carrying)) == ("", "approve")
    assert process._images == sync.ImageState(anew.name, "repeated-question")
    (said,) = (record.message for record in caplog.records if "is not approved" in record.message)
    assert f"plan {anew.name} is not approved, though policy.plans is approve: Lisbon: what plan {anew.name}" in said
    (failure,) = sync.approve_by_rule(lisbon)
    assert failure[0].digest == anew.digest
    assert getattr(failure[1], "cause", "") == "repeated-question"


def test_a_plan_that_a_person_refused_is_not_approved_by_rule(life: Life) -> None:
    from client.plans.decide import decide

    lisbon, plan = life.sites["Lisbon"], life.drawn_up(THREE, *CNN)
    decide(lisbon, plan, "refuse", "no ethics vote")
    assert sync.approve_by_rule(lisbon) == []
    decision = PlanInbox(lisbon).decision(plan)
    assert decision is not None
    assert decision.verdict == "refuse"

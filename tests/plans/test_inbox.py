"""Plans that come to a site: kept once, decided on under its key, and judged by its rules."""

from pathlib import Path

import pytest
import yaml

from client.dataset.for_plan import site_config
from client.home import Home as Hospital
from client.plans import judge
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.setup import enrol
from common.errors import ConfigError, PlanError
from tests.consortium.consortium import Consortium


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


@pytest.fixture
def lisbon(consortium: Consortium) -> Hospital:
    return consortium.sites["Lisbon"]


@pytest.fixture
def inbox(lisbon: Hospital) -> PlanInbox:
    return PlanInbox(lisbon)


def test_a_plan_is_kept_once_and_only_by_whom_it_is_for(consortium: Consortium, inbox: PlanInbox) -> None:
    consortium.sites["Quito"] = quito = consortium.hospital("Quito")
    plan = consortium.plan("plan.cohort=[Lisbon, Nairobi, Osaka]")
    assert inbox.take_plan(plan.document.encode()) is None  # it has it already
    assert list(inbox.plans()) == [plan]
    assert list(PlanInbox(quito).plans()) == []
    assert inbox.decision(plan) is None


def test_a_plan_is_found_by_as_much_of_its_name_as_is_unique(consortium: Consortium, inbox: PlanInbox) -> None:
    with pytest.raises(PlanError, match="there is: none has come yet"):
        inbox.plan("small")
    one, other = consortium.plan(), consortium.plan("name=other")
    assert inbox.plan("small") == inbox.plan(one.name) == inbox.plan(one.digest) == inbox.plan(one.digest[:12]) == one
    assert list(inbox.plans()) == [one, other]
    with pytest.raises(PlanError, match=f"2 of that name; there is: {one.name}, {other.name}"):
        inbox.plan("")
    with pytest.raises(PlanError, match="none of that name"):
        inbox.plan("../identity")


@pytest.mark.parametrize("digest", ["", "..", "../../identity", "0" * 63, "0" * 65, "G" * 64, "0" * 63 + "/"])
def test_what_is_no_digest_leads_to_no_folder(digest: str, inbox: PlanInbox) -> None:
    with pytest.raises(PlanError, match="64 hexadecimal digits"):
        inbox.room(digest)


def test_a_decision_holds_under_the_key_that_the_site_has(
    consortium: Consortium, lisbon: Hospital, inbox: PlanInbox
) -> None:
    plan = consortium.plan()
    decide(inbox.home, plan, "approve", "")
    assert judge.approved_plan(lisbon, plan.digest) == plan
    file = inbox.room(plan.digest) / "decision.json"
    good = file.read_bytes()
    file.write_bytes(good[:100])
    assert inbox.decision(plan) is None
    file.write_bytes(good)
    enrol.rekey(lisbon, "")
    assert inbox.decision(plan) is None  # it is asked anew
    with pytest.raises(PlanError, match="not approved here"):
        judge.approved_plan(lisbon, plan.digest)


def test_a_decision_in_another_plans_folder_is_none(consortium: Consortium, lisbon: Hospital, inbox: PlanInbox) -> None:
    one, other = consortium.plan(), consortium.plan()
    decide(inbox.home, one, "approve", "")
    (inbox.room(other.digest) / "decision.json").write_bytes((inbox.room(one.digest) / "decision.json").read_bytes())
    assert inbox.decision(other) is None
    (inbox.room(other.digest) / "plan.json").write_bytes((inbox.room(one.digest) / "plan.json").read_bytes())
    with pytest.raises(PlanError):
        judge.approved_plan(lisbon, other.digest)


def test_delivery_is_of_the_decision_that_holds_now(consortium: Consortium, inbox: PlanInbox) -> None:
    plan = consortium.plan()
    inbox.note_delivered(decide(inbox.home, plan, "approve", ""))
    assert inbox.is_delivered(plan)
    decide(inbox.home, plan, "refuse", "")
    assert not inbox.is_delivered(plan)


def test_a_site_says_what_it_has_against_a_plan(consortium: Consortium, lisbon: Hospital, inbox: PlanInbox) -> None:
    plan = consortium.plan()
    assert judge.objection(lisbon, plan) == ""
    told = yaml.safe_load((lisbon.folder / "site.yaml").read_text())
    for change, objection in (
        ({"policy": {"purposes": ["audit"]}}, "purpose 'training' is not in policy.purposes"),
        ({"policy": {"plans": "refuse"}}, "policy.plans of site.yaml is refuse"),
        ({"datasets": {}}, "there is no data set 'chest'"),
    ):
        (lisbon.folder / "site.yaml").write_text(yaml.safe_dump(told | change))
        assert objection in judge.objection(lisbon, plan)
    with pytest.raises(ConfigError, match="no data set 'chest' under datasets"):
        site_config(lisbon, plan)


def test_a_sites_own_data_complete_the_plans_training(
    consortium: Consortium, lisbon: Hospital, inbox: PlanInbox
) -> None:
    config, take = site_config(lisbon, consortium.plan("federation.rounds=7"))
    assert config.federation.rounds == 7
    assert config.data.kind == "synthetic"
    assert take == "Lisbon"

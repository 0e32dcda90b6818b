"""All sites of a run are shown the same signed approvals: others, fewer, older, or under other keys begin nothing."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.plans.decide import decide
from client.setup import enrol
from common.plans.approvals import Approvals
from common.plans.decision import Decision
from server.consortium import membership
from tests.attacks.hospitals import CNN, SIX, Hospitals
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.test_promise_cohort import Ends

pytestmark = pytest.mark.usefixtures("many_hospitals")
FIVE = SIX[:5]
QUIET = "likeness=false"
Papers = Mapping[str, Decision]


@pytest.fixture
def hospitals(tmp_path: Path) -> Hospitals:
    return Hospitals(tmp_path, dict.fromkeys(FIVE, (20, 8)), CNN)


@pytest.fixture
def coordinator(hospitals: Hospitals) -> HostileCoordinator:
    return HostileCoordinator(hospitals, hospitals.approved(QUIET))


def shown(*papers: Decision) -> bytes:
    """As a coordinator would hand them over, whatever is in them."""
    return json.dumps([paper.document.to_json() for paper in papers]).encode()


def of_another_plan(hospitals: Hospitals, papers: Papers) -> list[Decision]:
    other = hospitals.approved(QUIET, "name=other")
    return [*(papers[site] for site in FIVE[1:]), other.decisions[FIVE[0]]]


def refused(hospitals: Hospitals, papers: Papers) -> list[Decision]:
    first = papers[FIVE[0]]
    no = Decision.make(FIVE[0], hospitals.plan_of(first), "refuse", "", hospitals.identity(FIVE[0]), first.commitment)
    return [no, *(papers[site] for site in FIVE[1:])]


def under_the_coordinators_key(hospitals: Hospitals, papers: Papers) -> list[Decision]:
    first = papers[FIVE[0]]
    key = Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(32))
    forged = Decision.make(FIVE[0], hospitals.plan_of(first), "approve", "", key, first.commitment)
    return [forged, *(papers[site] for site in FIVE[1:])]


def taken_for_others(hospitals: Hospitals, papers: Papers) -> list[Decision]:
    first = papers[FIVE[0]]
    odd = replace(first.commitment, members="0" * 64)
    other = Decision.make(FIVE[0], hospitals.plan_of(first), "approve", "", hospitals.identity(FIVE[0]), odd)
    return [other, *(papers[site] for site in FIVE[1:])]


def too_few(hospitals: Hospitals, papers: Papers) -> list[Decision]:
    return [papers[site] for site in FIVE[:3]]


def twice(hospitals: Hospitals, papers: Papers) -> list[Decision]:
    return [*papers.values(), papers[FIVE[0]]]


CHANGES: dict[str, tuple[Callable[[Hospitals, Papers], list[Decision]], str]] = {
    "one of another plan": (of_another_plan, "other-decision"),
    "one that refuses": (refused, "other-decision"),
    "one under a key of the coordinator's": (under_the_coordinators_key, "bad-signature"),
    "one by a site that took the others for somebody else": (taken_for_others, "other-members"),
    "three of five": (too_few, "too-few-approvals"),
    "one twice": (twice, "other-decision"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_no_run_begins_with_other_approvals(
    hospitals: Hospitals, coordinator: HostileCoordinator, what: str, ends: Ends
) -> None:
    change, code = CHANGES[what]
    coordinator.shown = shown(*change(hospitals, coordinator.approvals.decisions))
    coordinator.follow(FIVE)
    loot = coordinator.attempt(lambda: coordinator.sum((), coordinator.honest_training()))
    ends(f"approvals with {what}", coordinator, {code: FIVE}, loot)
    assert not coordinator.remembered()
    coordinator.shown, coordinator.refused = b"", []
    coordinator.begin()  # what was refused was not written down: the true ones are taken still
    assert not coordinator.codes()


def test_a_site_that_was_left_out_of_the_approvals_joins_nothing_and_the_others_take_no_second_ones(
    hospitals: Hospitals, coordinator: HostileCoordinator, ends: Ends
) -> None:
    every, four = coordinator.approvals, [coordinator.approvals.decisions[site] for site in FIVE[:4]]
    few = HostileCoordinator(hospitals, Approvals(every.plan, {paper.site: paper for paper in four}))
    few.follow(FIVE)
    ends("approvals without this site's own", few, {"other-decision": FIVE[4:]}, None)
    coordinator.follow(FIVE)
    loot = coordinator.attempt(lambda: coordinator.sum((), coordinator.honest_training()))
    ends("second approvals, before the first key period", coordinator, {"other-approvals": FIVE[:4]}, loot)
    few.refused.clear()
    assert few.attempt(lambda: few.sum((), few.honest_training())) is not None  # the four go on with the first
    coordinator.refused.clear()
    coordinator.number = few.number
    loot = coordinator.attempt(lambda: coordinator.sum((), coordinator.honest_training()))
    ends("second approvals, after a sum", coordinator, {"other-approvals": FIVE[:4]}, loot)


def test_an_older_approval_of_a_site_is_none(hospitals: Hospitals, coordinator: HostileCoordinator, ends: Ends) -> None:
    decide(hospitals.sites[FIVE[0]], coordinator.plan, "refuse", "")
    decide(hospitals.sites[FIVE[0]], coordinator.plan, "approve", "")
    coordinator.follow(FIVE)
    ends("an approval from before the newest", coordinator, {"other-decision": FIVE[:1]}, None)


def test_a_members_new_key_ends_what_was_approved_under_the_old_one(
    hospitals: Hospitals, coordinator: HostileCoordinator, ends: Ends
) -> None:
    coordinator.begin()
    before, home = coordinator.remembered(), hospitals.home
    own = coordinator.hospitals.identity(FIVE[0])
    membership.admit(home, enrol.rekey(hospitals.sites[FIVE[0]], ""), hospitals.roots, new_keys=True)
    assert own.public_key() != hospitals.identity(FIVE[0]).public_key()
    loot = coordinator.attempt(lambda: coordinator.sum((), coordinator.honest_training()))
    assert not loot
    codes = coordinator.codes()
    assert {codes[site] for site in FIVE[1:]} <= {"bad-signature", "other-members", "swapped-key"}, codes
    ends("a roster with a new key of a member", coordinator, dict_of(codes), loot)
    assert {path: before[path] for path in before if FIVE[0] not in path} == {
        path: content for path, content in coordinator.remembered().items() if FIVE[0] not in path
    }


def test_a_suspended_site_is_done_without_while_enough_are_left(
    hospitals: Hospitals, coordinator: HostileCoordinator, ends: Ends
) -> None:
    coordinator.begin()
    membership.revoke(hospitals.home, FIVE[4], hospitals.roots)
    question = coordinator.honest_training()
    assert coordinator.attempt(lambda: coordinator.sum((), question)) is not None
    assert not coordinator.codes()
    membership.revoke(hospitals.home, FIVE[3], hospitals.roots)
    loot = coordinator.attempt(lambda: coordinator.sum((), question))
    ends("three of five members left, threshold 4", coordinator, {"wrong-threshold": FIVE[:3]}, loot)
    coordinator.refused.clear()
    loot = coordinator.attempt(lambda: coordinator.sum((), question, threshold=3))
    ends("three of five members left, threshold 3", coordinator, {"wrong-threshold": FIVE[:3]}, loot)


def test_members_that_the_coordinator_invents_change_nothing(
    hospitals: Hospitals, coordinator: HostileCoordinator, ends: Ends
) -> None:
    invented = [hospitals.hospital(name, 20, 8).site for name in ("Eve", "Mallory", "Sybil")]
    assert set(invented) <= set(coordinator.roster().active)
    assert coordinator.proposal().cohort == FIVE
    lord = HostileCoordinator(hospitals, coordinator.approvals, colluding=invented)
    loot = lord.attempt(lambda: lord.sum([FIVE[0], *invented], lord.honest_training()))
    assert loot is None or not any(value.any() for value in loot.values())  # of the three that it owns
    ends("one site among invented ones", lord, {"other-cohort": FIVE[:1]}, None)
    assert coordinator.attempt(lambda: coordinator.sum((), coordinator.honest_training())) is not None
    assert not coordinator.codes()


def dict_of(codes: Mapping[str, str]) -> dict[str, list[str]]:
    return {code: [site for site, its in codes.items() if its == code] for code in sorted(set(codes.values()))}

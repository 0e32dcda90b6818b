"""Attacks on the beginning of a key period: rosters, plans, keys, shares."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from common.plans.binding import refuse_other
from common.secagg import key_schedule
from common.secagg.directory import checked_directory, directory_digest
from common.secagg.fixedpoint import Layout, Segment
from common.secagg.key_period import KeyPeriodOpening
from common.secagg.key_period_messages import Advert, Delivery, Directory, Shares
from common.secagg.key_period_plan import KeyPeriodPlan, QuestionKind
from common.secagg.participant import Participant
from common.secagg.pending_message import PendingMessage
from common.trust.keys import public_of
from common.trust.roster import ConsortiumPolicy, Member
from tests.attacks.conftest import Attack
from tests.secagg.world import NOW_S, ROOT, World, forget, identity, plain

LOW_ORDER = {
    "zero": 0,
    "one": 1,
    "order 8": 325606250916557431795983626356110631294008115727848805560023387167927233504,
    "order 8, other": 39382357235489614581723060781553021112529911719440698176882885853963445705823,
    "minus one": 2**255 - 20,
    "p": 2**255 - 19,
    "one, not reduced": 2**255 - 18,
    "zero, high bit set": 2**255,
}


@pytest.fixture
def world() -> World:
    return World.of(5, rounds=2)


def first(world: World) -> Participant:
    return world.sites["site-000"]


def join(
    world: World, plan: KeyPeriodPlan | None = None, roster: bytes | None = None, now_s: float = NOW_S
) -> PendingMessage:
    return first(world).join((plan or world.plan).content, roster or world.signed_roster, now_s)


def adverts(world: World) -> list[bytes]:
    return [world.send(name, lambda s: s.join(world.plan.content, world.signed_roster, NOW_S)) for name in world.sites]


def deliveries(world: World) -> tuple[KeyPeriodOpening, dict[str, bytes]]:
    opening = KeyPeriodOpening(world.plan, world.roster)
    for advert in adverts(world):
        opening.receive(advert)
    opening.close()
    for name, request in opening.requests().items():
        opening.receive(world.send(name, lambda s, m=request: s.share(m)))
    opening.close()
    return opening, opening.requests()


PLANS: dict[str, tuple[str, Callable[[KeyPeriodPlan], dict[str, Any]]]] = {
    "a cohort of one": ("cohort-too-small", lambda p: {"cohort": p.cohort[:1], "threshold": 1}),
    "a cohort of two": ("cohort-too-small", lambda p: {"cohort": p.cohort[:2], "threshold": 2}),
    "a cohort of two, n_min of two": (
        "cohort-too-small",
        lambda p: {"cohort": p.cohort[:2], "threshold": 2, "n_min": 2},
    ),
    "an invented site": ("unknown-site", lambda p: {"cohort": (*p.cohort, "zz"), "threshold": 5}),
    "a site listed twice": ("duplicate-site", lambda p: {"cohort": (*p.cohort[:4], p.cohort[3]), "threshold": 4}),
    "a cohort without the site itself": ("not-in-cohort", lambda p: {"cohort": p.cohort[1:], "threshold": 3}),
    "a lowered threshold": ("wrong-threshold", lambda p: {"threshold": 1}),
    "a threshold just too low": ("wrong-threshold", lambda p: {"threshold": p.threshold - 1}),
    "a threshold above the cohort": ("wrong-threshold", lambda p: {"threshold": len(p.cohort) + 1}),
    "a lowered n_min": ("cohort-too-small", lambda p: {"n_min": 1}),
    "another federation": ("other-federation", lambda p: {"federation": "others"}),
    "a plan for another roster": ("other-roster", lambda p: {"roster": bytes(32)}),
    "a purpose that is not allowed": ("purpose", lambda p: {"purpose": "advertising"}),
    "no rounds": ("bad-plan", lambda p: {"rounds": 0}),
    "no kinds of rounds": ("bad-plan", lambda p: {"question_kinds": {}}),
    "a weight bound beyond the roster's": ("bounds", lambda p: {"question_kinds": kinds(Layout((SMALL,), 64, 1e9))}),
    "a clip bound beyond the roster's": ("bounds", lambda p: {"question_kinds": kinds(Layout((WIDE,), 64, 1.0))}),
    "sums that could wrap round": ("capacity", lambda p: {"question_kinds": kinds(Layout((SMALL,), 32, 1e6))}),
    "an empty vector": ("bad-layout", lambda p: {"question_kinds": kinds(Layout((), 32, 1.0))}),
    "a vector beyond all memory": ("bad-layout", lambda p: {"question_kinds": kinds(plain(2**31))}),
    "words of no bits": ("WireError", lambda p: {"question_kinds": kinds(replace(plain(1), bits=0))}),
}
SMALL = Segment("x", (1,), 1.0, 16, weighted=True)
WIDE = Segment("x", (1,), 11.0, 16, weighted=True)


def kinds(layout: Layout) -> dict[str, QuestionKind]:
    return {"train": QuestionKind(layout)}


@pytest.mark.parametrize("what", PLANS)
def test_a_plan_against_the_rules_is_refused(world: World, attack: Attack, what: str) -> None:
    cause, change = PLANS[what]
    with attack(f"plan: {what}", cause):
        join(world, replace(world.plan, **change(world.plan)))


@pytest.mark.parametrize("by", [1, -1])
def test_another_threshold_than_follows_from_the_signed_plan_is_refused(world: World, attack: Attack, by: int) -> None:
    with attack(f"plan: a threshold off by {by}", "wrong-threshold"):
        refuse_other(replace(world.plan, threshold=world.plan.threshold + by), world.plan)


def test_the_untouched_plan_is_accepted(world: World) -> None:
    join(world).commit(forget)


def test_a_roster_that_the_consortium_did_not_sign_is_refused(world: World, attack: Attack) -> None:
    with attack("roster signed by the coordinator", "bad-signature"):
        join(world, roster=world.roster.sign([identity("the coordinator")]))
    with attack("roster without signatures", "bad-signature"):
        join(world, roster=world.roster.sign([]))
    site = replace(
        first(world), pins=replace(world.pins, roots=(*world.pins.roots, public_of(identity("second root"))))
    )
    with attack("roster signed by one of two roots", "bad-signature"):
        site.join(world.plan.content, world.signed_roster, NOW_S)
    with attack("site without pinned roots", "no-root"):
        replace(site, pins=replace(world.pins, roots=())).join(world.plan.content, world.signed_roster, NOW_S)


def test_an_expired_rolled_back_or_split_roster_is_refused(world: World, attack: Attack) -> None:
    with attack("expired roster", "expired-roster"):
        join(world, now_s=NOW_S + 86_400)
    newer = world.with_roster(version=7)
    newer.sites["site-000"], _ = join(newer).commit(forget)
    older = replace(newer, roster=world.roster, plan=replace(world.plan, number=1))
    with attack("rolled-back roster", "rolled-back-roster"):
        join(older)
    with attack("rolled-back roster after a restart", "rolled-back-roster"):
        site = first(newer)
        Participant.restore(site.name, site.identity, site.pins, site.state).join(
            older.plan.content, older.signed_roster, NOW_S
        )
    split = newer.with_roster(expires_s=NOW_S + 999_999)
    with attack("another roster of the same version", "split-roster"):
        join(split, replace(split.plan, number=1))


def test_a_roster_with_weak_rules_or_of_others_is_refused(world: World, attack: Attack) -> None:
    weak = world.with_roster(policy=ConsortiumPolicy(2, 10.0, 1e6, ("training",)))
    with attack("roster with n_min 2", "cohort-too-small"):
        join(weak)
    other = world.with_roster(federation="others")
    with attack("roster of another federation", "other-federation"):
        join(other)
    members = world.roster.members
    twice = world.with_roster(members=(members[0], *members))
    with attack("roster with a site twice", "duplicate-site"):
        join(twice)
    cloned = world.with_roster(members=(*members[:4], Member("site-004", members[0].key)))
    with attack("roster with one key for two sites", "duplicate-site"):
        join(cloned)
    suspended = world.with_roster(members=(*members[:4], replace(members[4], status="suspended")))
    with attack("cohort with a suspended site", "unknown-site"):
        join(suspended)
    swapped = world.with_roster(members=(Member("site-000", public_of(identity("x"))), *members[1:]))
    with attack("roster with another key for the site itself", "swapped-key"):
        join(swapped)


def test_two_sites_with_different_rosters_do_not_come_together(world: World, attack: Attack) -> None:
    other = world.with_roster(version=2)
    advert = other.send("site-001", lambda s: s.join(other.plan.content, other.signed_roster, NOW_S))
    own = world.send("site-000", lambda s: s.join(world.plan.content, world.signed_roster, NOW_S))
    with attack("split roster", "other-epoch"):
        first(world).share(Directory((own, advert, own, own)).encode())


def test_a_changed_plan_does_not_come_together(world: World, attack: Attack) -> None:
    other = replace(world, plan=replace(world.plan, config=b"\1" * 32), sites=dict(world.sites))
    with attack("changed plan for one site", "other-epoch"):
        first_adverts, others = adverts(world), adverts(other)
        first(world).share(Directory((first_adverts[0], *others[1:])).encode())


def test_a_replayed_key_period_is_refused(world: World, attack: Attack) -> None:
    old = adverts(world)
    with attack("replayed key period", "replayed-epoch"):
        join(world)
    with attack("replayed key period after a restart", "replayed-epoch"):
        site = first(world)
        Participant.restore(site.name, site.identity, site.pins, site.state).join(
            world.plan.content, world.signed_roster, NOW_S
        )
    world.plan = replace(world.plan, number=1)
    new = adverts(world)
    with attack("replayed advertisement", "other-epoch"):
        first(world).share(Directory((new[0], old[1], *new[2:])).encode())
    with attack("replayed advertisement, to the coordinator", "other-epoch"):
        KeyPeriodOpening(world.plan, world.roster).receive(old[1])


def test_keys_of_the_coordinators_own_making_are_refused(world: World, attack: Attack) -> None:
    true = adverts(world)
    theirs = Advert.decode(true[1])
    evil = identity("the coordinator")
    site = first(world)
    for what, false, cause in (
        ("swapped channel key", replace(theirs, channel=b"\7" * 32), "bad-signature"),
        ("swapped mask keys", replace(theirs, rounds=b"\7" * len(theirs.rounds)), "bad-signature"),
        ("keys signed by another", replace(theirs, channel=b"\7" * 32).sign(evil), "bad-signature"),
        ("keys moved to another site", replace(theirs, sender=2), "bad-signature"),
        ("unsigned keys", replace(theirs, signature=bytes(64)), "bad-signature"),
        ("invented site in the directory", replace(theirs, sender=9).sign(evil), "unknown-site"),
    ):
        with attack(what, cause):
            site.share(Directory((true[0], false.encode(), *true[2:])).encode())
    own = Advert.decode(true[0])
    with attack("the site's own keys swapped", "bad-signature"):
        site.share(Directory((replace(own, channel=b"\7" * 32).encode(), *true[1:])).encode())
    again = replace(own, channel=b"\7" * 32).sign(identity("site-000"))
    with attack("the site's own keys of another time", "swapped-key"):
        site.share(Directory((again.encode(), *true[1:])).encode())
    with attack("the site's own keys left out", "swapped-key"):
        site.share(Directory(tuple(true[1:])).encode())
    with attack("a site twice in the directory", "duplicate-site"):
        site.share(Directory((true[0], true[1], true[1], *true[2:])).encode())
    with attack("a directory of one", "QuorumError"):
        site.share(Directory((true[0],)).encode())
    with attack("a directory below the threshold", "QuorumError"):
        site.share(Directory(tuple(true[:3])).encode())


@pytest.mark.parametrize("point", LOW_ORDER)
def test_keys_of_low_order_are_refused(world: World, attack: Attack, point: str) -> None:
    true = adverts(world)
    bad, signer = LOW_ORDER[point].to_bytes(32, "little"), identity("site-001")
    theirs = Advert.decode(true[1])
    channel = replace(theirs, channel=bad).sign(signer)
    with attack(f"low-order channel key ({point})", "low-order-key"):
        first(world).share(Directory((true[0], channel.encode(), *true[2:])).encode())
    mask = replace(theirs, rounds=theirs.rounds[:64] + bad + theirs.rounds[96:]).sign(signer)
    with attack(f"low-order mask key ({point})", "low-order-key"):
        first(world).share(Directory((true[0], mask.encode(), *true[2:])).encode())
    opening = KeyPeriodOpening(world.plan, world.roster)
    with attack(f"low-order mask key ({point}), to the coordinator", "low-order-key", opening):
        opening.receive(mask.encode())


def test_shares_for_the_wrong_peer_or_key_period_are_refused(world: World, attack: Attack) -> None:
    opening, requests = deliveries(world)
    site = first(world)
    mine, other = (dict(Delivery.decode(requests[name]).boxes) for name in ("site-000", "site-001"))
    with attack("share for the wrong peer", "bad-seal"):
        site.take(Delivery(tuple(sorted((mine | {2: other[2]}).items()))).encode())
    with attack("share from the wrong peer", "bad-seal"):
        site.take(Delivery(tuple(sorted((mine | {2: mine[3]}).items()))).encode())
    changed = mine[2][:-1] + bytes([mine[2][-1] ^ 1])
    with attack("changed share", "bad-seal"):
        site.take(Delivery(tuple(sorted((mine | {2: changed}).items()))).encode())
    with attack("share from the site itself", "unknown-site"):
        site.take(Delivery(tuple(sorted((mine | {0: mine[1]}).items()))).encode())
    with attack("too few shares", "QuorumError"):
        site.take(Delivery(tuple(mine.items())[:2]).encode())
    world.send("site-001", lambda s: s.take(requests["site-001"]))
    fewer = dict(list(mine.items())[:3])
    split = site.take(Delivery(tuple(fewer.items())).encode()).commit(forget)[1]
    with attack("split view of who shared", "other-round", opening):
        opening.receive(split)
    world.plan = replace(world.plan, number=1)
    _, later = deliveries(world)
    now = dict(Delivery.decode(later["site-000"]).boxes)
    with attack("share replayed from the key period before", "bad-seal"):
        first(world).take(Delivery(tuple(sorted((now | {2: mine[2]}).items()))).encode())


@pytest.mark.parametrize("short", [1, 10, 64, 128])
def test_a_peer_s_shares_of_another_length_are_refused(world: World, attack: Attack, short: int) -> None:
    sent = Directory(tuple(adverts(world))).encode()
    liar = world.sites["site-001"]
    directory = checked_directory(Directory.decode(sent).adverts, world.plan, world.roster)
    channel = key_schedule.channel_key(liar.state.secrets.dealer, world.plan.context)
    name = directory_digest(directory, world.plan)
    box = key_schedule.sealed_shares(channel, directory[0].channel, bytes(128 - short), 1, 0, name, who="site-000")
    dealt = [Shares.decode(world.send(peer, lambda s: s.share(sent))) for peer in world.sites]
    boxes = {i: dict(dealt[i].boxes)[0] for i in (2, 3, 4)} | {1: box}
    with attack(f"a peer's shares {short} bytes short", "bad-share"):
        first(world).take(Delivery(tuple(sorted(boxes.items()))).encode())


def test_malicious_sites_do_not_get_past_the_coordinator(world: World, attack: Attack) -> None:
    opening = KeyPeriodOpening(world.plan, world.roster)
    sent = adverts(world)
    opening.receive(sent[1])
    with attack("two adverts of one site", "duplicate-site", opening):
        opening.receive(sent[1])
    theirs = Advert.decode(sent[2])
    with attack("advert in the name of another", "bad-signature", opening):
        opening.receive(replace(theirs, sender=3).sign(identity("site-002")).encode())
    with attack("advert with keys for fewer rounds", "bad-advert", opening):
        opening.receive(replace(theirs, rounds=theirs.rounds[:64]).sign(identity("site-002")).encode())
    for advert in (sent[0], *sent[2:]):
        opening.receive(advert)
    opening.close()
    shares = Shares.decode(world.send("site-001", lambda s: s.share(opening.requests()["site-001"])))
    with attack("shares for some peers only", "bad-share", opening):
        opening.receive(replace(shares, boxes=shares.boxes[1:]).sign(identity("site-001")).encode())
    with attack("shares in the name of another", "bad-signature", opening):
        opening.receive(replace(shares, sender=2).encode())
    with attack("an advert after its time", "WireError", opening):
        opening.receive(sent[1])


def test_stages_of_a_key_period_cannot_be_skipped(world: World, attack: Attack) -> None:
    sent = Directory(tuple(adverts(world))).encode()
    fresh = Participant("site-000", identity("site-000"), world.pins)
    with attack("a directory before the proposal", "out-of-order"):
        fresh.share(sent)
    with attack("a delivery before the directory", "out-of-order"):
        first(world).take(Delivery(()).encode())
    with attack("a round before the delivery", "out-of-order"):
        first(world).open(b"", bytes(32), NOW_S)
    world.send("site-000", lambda s: s.share(sent))
    with attack("a second directory", "out-of-order"):
        first(world).share(sent)


def test_the_root_of_the_tests_is_the_pinned_one(world: World) -> None:
    assert world.pins.roots == (public_of(ROOT),)

"""Attacks on a round: models, survivors, signatures, shares, restarts, transcripts."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from common.errors import ShareError
from common.secagg.audit import audit
from common.secagg.durable_participant import DurableParticipant, StateInMemory
from common.secagg.envelope import kind_of
from common.secagg.key_period import KeyPeriodOpening
from common.secagg.key_period_messages import Delivery
from common.secagg.key_period_plan import QuestionKind
from common.secagg.participant import Participant
from common.secagg.pending_message import PendingMessage
from common.secagg.round import RoundOpening
from common.secagg.round_messages import Agreement, Agreements, Masked, Release, Start, Survivors
from common.secagg.sketch import SKETCH_BYTES
from common.secagg.state import ParticipantState
from common.trust.keys import seal_state, unseal_state
from tests.attacks.conftest import Attack
from tests.secagg.world import NOW_S, QUESTION, World, expected, forget, identity, plain

OTHER = b"\1" * 32
SUM = b"\2" * 32
"""A commitment to some sum."""


@pytest.fixture
def world() -> World:
    world = World.of(
        6, rounds=3, exchanges={"gram": QuestionKind(plain(2), whole=True), "train": QuestionKind(plain(4))}
    )
    world.open_key_period()
    return world


def first(world: World) -> Participant:
    return world.sites["site-000"]


def submitted(world: World, slot: int = 0, absent: tuple[str, ...] = (), kind: str = "train") -> RoundOpening:
    """A round in which the vectors have arrived."""
    assert world.key_period is not None
    opening = RoundOpening(world.key_period, slot, kind, QUESTION)
    vectors = world.vectors(kind)
    for name, start in opening.requests().items():
        if name not in absent:
            world.sites[name] = world.sites[name].open(start, QUESTION, NOW_S)
            opening.receive(world.submit(name, vectors[name]))
    opening.close()
    return opening


def agreed(world: World, absent: tuple[str, ...] = ()) -> RoundOpening:
    """A round in which the survivors are signed."""
    opening = submitted(world, absent=absent)
    for name, request in opening.requests().items():
        opening.receive(world.agree(name, request))
    opening.close()
    return opening


def restarted(site: Participant) -> Participant:
    """The site as it is after losing power: all that it has is what it recorded."""
    content = unseal_state(seal_state(site.state.encode(), b"k" * 32), b"k" * 32)
    return Participant.restore(site.name, site.identity, site.pins, ParticipantState.decode(content))


def signatures(context: bytes, members: tuple[int, ...], signers: tuple[int, ...]) -> bytes:
    """Agreements that are signed with the sites' true keys, as if these sites were the coordinator's."""
    signed = (Agreement(context, i, members, SUM, bytes(SKETCH_BYTES)).sign(identity(f"site-{i:03d}")) for i in signers)
    return Agreements(context, SUM, tuple((a.sender, a.sketch, a.signature) for a in signed)).encode()


def test_a_split_model_is_refused_and_if_signed_for_does_not_add_up(world: World, attack: Attack) -> None:
    with attack("split model", "split-model"):
        first(world).open(Start(0, "train", QUESTION).encode(), OTHER, NOW_S)
    lied_to = first(world).open(Start(0, "train", OTHER).encode(), OTHER, NOW_S)
    words = world.vectors()["site-000"]
    site, vector = lied_to.submit(words).commit(forget)
    opening = submitted(world, absent=("site-000",))
    with attack("split model, consistently told: signing the others' survivors", "other-round"):
        site.agree(Survivors(opening.context, (0, *opening.survivors), SUM).encode(), words.data)
    assert world.key_period is not None
    fresh = RoundOpening(world.key_period, 0, "train", QUESTION)
    with attack("split model, consistently told: adding its vector", "other-round", fresh):
        fresh.receive(vector)


def test_a_round_is_answered_once(world: World, attack: Attack) -> None:
    submitted(world, slot=1)
    for slot, what in ((1, "replayed round"), (0, "a round passed by"), (3, "a round beyond the key period")):
        with attack(what, "replayed-round"):
            first(world).open(Start(slot, "train", OTHER).encode(), OTHER, NOW_S)
    with attack("replayed round after a restart", "replayed-round"):
        restarted(first(world)).open(Start(1, "train", OTHER).encode(), OTHER, NOW_S)
    with attack("a second vector for one round", "out-of-order"):
        first(world).submit(world.vectors()["site-000"])


def test_a_vector_is_not_sent_without_its_masks(world: World, attack: Attack) -> None:
    with attack("plaintext downgrade: a kind that the plan does not have", "unknown-kind"):
        first(world).open(Start(0, "plain", QUESTION).encode(), QUESTION, NOW_S)
    start = bytearray(Start(0, "train", QUESTION).encode())
    start[3] = ord("0")
    with attack("plaintext downgrade: another protocol version", "WireError"):
        first(world).open(bytes(start), QUESTION, NOW_S)
    with attack("skipped stage: a vector before the round begins", "out-of-order"):
        first(world).submit(world.vectors()["site-000"])
    with attack("a round under an expired roster", "expired-roster"):
        first(world).open(Start(0, "train", QUESTION).encode(), QUESTION, NOW_S + 90_000)


def test_survivors_are_signed_once_and_only_if_they_hold(world: World, attack: Attack) -> None:
    opening = submitted(world)
    site, context = first(world), opening.context
    for what, members, cause in (
        ("survivors: the site alone", (0,), "QuorumError"),
        ("survivors: two", (0, 1), "QuorumError"),
        ("survivors: below the threshold", (0, 1, 2, 3), "QuorumError"),
        ("survivors without the site", (1, 2, 3, 4, 5), "bad-survivors"),
        ("survivors with an invented site", (0, 1, 2, 3, 4, 77), "bad-survivors"),
        ("survivors with a site twice", (0, 1, 1, 2, 3, 4), "WireError"),
    ):
        with attack(what, cause):
            site.agree(Survivors(context, members, SUM).encode(), world.sent["site-000"])
    with attack("survivors of another round", "other-round"):
        site.agree(Survivors(OTHER, (0, 1, 2, 3, 4), SUM).encode(), world.sent["site-000"])
    with attack("skipped stage: release before agreeing", "out-of-order"):
        site.release(signatures(context, (0, 1, 2, 3, 4), (0, 1, 2, 3, 4)))
    signed, _ = site.agree(Survivors(context, (0, 1, 2, 3, 4), SUM).encode(), world.sent["site-000"]).commit(forget)
    for again, how in ((signed, ""), (restarted(signed), " after a restart")):
        with attack(f"split survivors: a second set to sign{how}", "out-of-order"):
            again.agree(Survivors(context, (0, 1, 2, 3, 5), SUM).encode(), world.sent["site-000"])


def test_split_survivors_are_never_unmasked(world: World, attack: Attack) -> None:
    opening = submitted(world)
    one, two = (0, 1, 2, 3, 4), (0, 1, 2, 3, 5)
    site, _ = first(world).agree(Survivors(opening.context, one, SUM).encode(), world.sent["site-000"]).commit(forget)
    with attack("split survivors: signatures under another set", "bad-signature"):
        site.release(signatures(opening.context, two, one))
    with attack("split survivors: one signature under another set among them", "bad-signature"):
        mixed = list(Agreements.decode(signatures(opening.context, one, one)).signatures)
        mixed[3:4] = Agreements.decode(signatures(opening.context, two, (3,))).signatures
        site.release(Agreements(opening.context, SUM, tuple(mixed)).encode())
    with attack("fewer signatures than the threshold", "too-few-signatures"):
        site.release(signatures(opening.context, one, one[:-1]))
    with attack("no signatures", "too-few-signatures"):
        site.release(Agreements(opening.context, SUM, ()).encode())
    with attack("one signature counted several times", "WireError"):
        pair = Agreements.decode(signatures(opening.context, one, (1,))).signatures
        site.release(Agreements(opening.context, SUM, pair * 5).encode())
    with attack("a signature by a site that is not among the survivors", "unknown-site"):
        site.release(signatures(opening.context, one, (0, 1, 2, 3, 5)))
    with attack("signatures of another round", "other-round"):
        site.release(signatures(OTHER, one, one))
    with attack("signatures of the coordinator's own making", "bad-signature"):
        forged = tuple((i, bytes(SKETCH_BYTES), identity("the coordinator").sign(b"x")) for i in one)
        site.release(Agreements(opening.context, SUM, forged).encode())


def test_shares_are_released_once(world: World, attack: Attack) -> None:
    opening = agreed(world, absent=("site-005",))
    request = opening.requests()["site-000"]
    released, message = first(world).release(request).commit(forget)
    content = Release.decode(message)
    assert len(content.shares) == 32 * 6, "one share for each participant: there is no room for both"
    for site, how in ((released, ""), (restarted(released), " after a restart")):
        with attack(f"second unmask{how}", "out-of-order"):
            site.release(request)
        with attack(f"both shares of one site: as a survivor this time{how}", "out-of-order"):
            site.agree(Survivors(opening.context, (0, 1, 2, 3, 4, 5), SUM).encode(), world.sent["site-000"])
    assert 0 not in released.state.secrets.held_shares
    assert 0 not in released.state.secrets.rounds


def test_a_crash_between_signing_and_releasing_frees_no_second_answer(world: World, attack: Attack) -> None:
    opening = submitted(world)
    request = opening.requests()["site-000"]
    recorded: list[ParticipantState] = []
    first(world).agree(request, world.sent["site-000"]).commit(recorded.append)
    back = Participant.restore("site-000", identity("site-000"), world.pins, recorded[0])
    with attack("crash after signing: other survivors", "out-of-order"):
        back.agree(Survivors(opening.context, (0, 1, 2, 3, 4), SUM).encode(), world.sent["site-000"])
    for name, message in opening.requests().items():
        opening.receive(world.agree(name, message))
    opening.close()
    request = opening.requests()["site-000"]
    gone, _ = back.release(request).commit(recorded.append)
    back = restarted(replace(gone, state=recorded[1]))
    with attack("crash after releasing: again", "out-of-order"):
        back.release(request)


def test_a_message_is_not_to_be_had_when_its_record_fails(world: World, attack: Attack) -> None:
    def full(_: ParticipantState) -> None:
        raise OSError(28, "No space left on device")

    outgoing: PendingMessage = (
        first(world).open(Start(0, "train", QUESTION).encode(), QUESTION, NOW_S).submit(world.vectors()["site-000"])
    )
    with pytest.raises(OSError, match="No space"):
        outgoing.commit(full)
    assert "_message" not in repr(outgoing)
    assert "secrets" not in repr(world.sites["site-000"])


def test_two_requests_at_once_do_not_make_a_site_sign_twice(world: World, attack: Attack) -> None:
    opening = submitted(world)
    recorded: list[ParticipantState] = []

    class Noted(StateInMemory):
        def record(self, state: ParticipantState) -> None:
            recorded.append(state)
            super().record(state)

    keeper = DurableParticipant(lambda state: replace(first(world), state=state), Noted(first(world).state))
    sets = [Survivors(opening.context, members, SUM).encode() for members in ((0, 1, 2, 3, 4), (0, 1, 2, 3, 5))]
    with attack("split survivors: two sets at the same time", "out-of-order"), ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(keeper.step, lambda s, m=message: s.agree(m, world.sent["site-000"])) for message in sets]
        for answer in asked:
            answer.result()
    assert len(recorded) == 1
    assert keeper.participant.state == recorded[0]


def test_a_keeper_goes_through_a_round_and_stays_as_it_was_when_its_record_fails(world: World) -> None:
    class Full(StateInMemory):
        def record(self, state: ParticipantState) -> None:
            raise OSError(28, "No space left on device")

    keeper = DurableParticipant(lambda state: replace(first(world), state=state), Full(first(world).state))
    start, before = Start(0, "train", QUESTION).encode(), keeper.participant
    with pytest.raises(OSError, match="No space"):
        keeper.step(lambda s: s.open(start, QUESTION, NOW_S).submit(world.vectors()["site-000"]))
    assert keeper.participant is before


def test_a_sealed_state_is_opened_by_its_key_alone(world: World, attack: Attack) -> None:
    content = seal_state(first(world).state.encode(), b"k" * 32)
    with attack("sealed state under another key", "bad-seal"):
        unseal_state(content, b"l" * 32)
    for at in (0, 40, len(content) - 1):
        with attack(f"sealed state with byte {at} changed", "bad-seal"):
            unseal_state(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], b"k" * 32)
    with attack("sealed state cut short", "bad-seal"):
        unseal_state(content[:50], b"k" * 32)


def test_a_whole_sum_is_not_unmasked_in_part(world: World, attack: Attack) -> None:
    site = first(world).open(Start(0, "gram", QUESTION).encode(), QUESTION, NOW_S)
    words = world.vectors("gram")["site-000"]
    site, vector = site.submit(words).commit(forget)
    with attack("a sum that is of use only whole, over a part", "not-whole"):
        site.agree(Survivors(Masked.decode(vector).context, (0, 1, 2, 3, 4), SUM).encode(), words.data)


def test_malicious_sites_do_not_spoil_the_sum(world: World, attack: Attack) -> None:
    assert world.key_period is not None
    opening = RoundOpening(world.key_period, 0, "train", QUESTION)
    vectors, right = world.vectors(), {}
    for name, start in opening.requests().items():
        world.sites[name] = world.sites[name].open(start, QUESTION, NOW_S)
        right[name] = world.submit(name, vectors[name])
    mine = Masked.decode(right["site-001"])
    with attack("vector in the name of another", "bad-signature", opening):
        opening.receive(replace(mine, sender=2).encode())
    with attack("vector changed on its way", "bad-signature", opening):
        opening.receive(replace(mine, words=mine.words + np.uint32(1)).encode())
    with attack("vector of another length", "wrong-shape", opening):
        long = np.zeros(5, "<u4")
        opening.receive(signed_vector(mine, long))
    with attack("vector of other words", "wrong-shape", opening):
        opening.receive(signed_vector(mine, np.zeros(4, "<u8")))
    opening.receive(right["site-001"])
    with attack("two vectors of one site", "duplicate-site", opening):
        opening.receive(right["site-001"])
    for name in ("site-000", "site-002", "site-003", "site-004"):
        opening.receive(right[name])
    opening.close()
    with attack("a vector after its time", "WireError", opening):
        opening.receive(right["site-005"])
    signed = Agreement.decode(world.agree("site-001", opening.requests()["site-001"]))
    with attack("signature under other survivors, by a site", "split-survivors", opening):
        opening.receive(replace(signed, members=(0, 1, 2, 3, 5)).sign(identity("site-001")).encode())
    with attack("signature by a site that dropped out", "not-asked", opening):
        opening.receive(replace(signed, sender=5).sign(identity("site-005")).encode())
    opening.receive(signed.encode())
    survivors = opening.requests()["site-001"]
    for name in ("site-000", "site-002", "site-003", "site-004"):
        opening.receive(world.agree(name, survivors))
    opening.close()
    release = Release.decode(world.send("site-001", lambda s: s.release(opening.requests()["site-001"])))
    with attack("shares for some participants only", "bad-share", opening):
        opening.receive(replace(release, shares=release.shares[32:]).sign(identity("site-001")).encode())
    with attack("shares in the name of another", "bad-signature", opening):
        opening.receive(replace(release, sender=2).encode())


def signed_vector(like: Masked, words: np.ndarray) -> bytes:
    """A vector with the true signature of its sender."""
    unsigned = replace(like, words=words, signature=bytes(64)).encode()
    return Masked.decode(unsigned).sign(identity(f"site-{like.sender:03d}")).encode()


@pytest.mark.parametrize(("n", "liars"), [(9, 1), (9, 2), (20, 2), (20, 3), (20, 4)])
def test_wrong_shares_are_found_and_their_holders_named(attack: Attack, n: int, liars: int) -> None:
    world = World.of(n)
    world.open_key_period()
    opening = agreed(world, absent=(f"site-{n - 1:03d}",))
    for name, request in opening.requests().items():
        message = world.send(name, lambda s, m=request: s.release(m))
        if int(name[-3:]) < liars:
            true = Release.decode(message)
            false = replace(true, shares=bytes(32) + true.shares[32:])
            message = false.sign(identity(name)).encode()
        opening.receive(message)
    opening.close()
    if (n, liars) in ((9, 2), (20, 4)):
        with attack(f"bad shares of {liars} of {n} sites, too many to correct", "bad-share"):
            opening.total()
        return
    total = opening.total()
    assert total.blamed == tuple(f"site-{i:03d}" for i in range(liars))
    np.testing.assert_array_equal(total.words, expected(world.vectors(), total.survivors))


def test_a_dealer_of_wrong_shares_is_named(attack: Attack) -> None:
    world = World.of(6)
    names = list(world.sites)
    opening = KeyPeriodOpening(world.plan, world.roster)
    for name in names:
        opening.receive(world.send(name, lambda s: s.join(world.plan.content, world.signed_roster, NOW_S)))
    opening.close()
    directory = opening.requests()["site-000"]
    liar = world.sites["site-002"]
    secrets = replace(liar.state.secrets, rounds={0: bytes(62)})
    world.sites["site-002"] = replace(liar, state=replace(liar.state, secrets=secrets))
    for name in names:
        opening.receive(world.send(name, lambda s: s.share(directory)))
    opening.close()
    for name, delivery in opening.requests().items():
        opening.receive(world.send(name, lambda s, m=delivery: s.take(m)))
    opening.close()
    world.key_period = opening.key_period()
    with attack("a dealer of wrong shares", "bad-share"):
        try:
            world.round(world.vectors(), no_vector=["site-002"])
        except ShareError as error:
            assert "secret of site-002 cannot be rebuilt" in str(error)  # noqa: PT017
            raise


def test_a_transcript_s_sum_is_the_one_that_was_used_and_a_forged_transcript_does_not_pass_the_audit(
    world: World, attack: Attack
) -> None:
    vectors = world.vectors()
    total = world.round(vectors, no_vector=["site-004"])
    transcript, context = list(world.transcript), Survivors.decode(world.transcript[4]).context
    kinds = [kind_of(message) for message in transcript[1:]]
    assert kinds == [1, 3, 7, 9, *[10] * 5, 13, 14], "no vector is in it"
    audited = audit(transcript, world.pins, context=context)
    assert (audited.words.tolist(), audited.survivors) == (total.words.tolist(), total.survivors)
    with attack("transcript with an agreement left out, of a site whose vector is not shown", "too-few-signatures"):
        audit([*transcript[:5], *transcript[6:]], world.pins)
    with attack("transcript with an agreement twice", "duplicate-site"):
        audit([*transcript[:5], transcript[5], *transcript[5:]], world.pins)
    with attack("transcript without a sum", "WireError"):
        audit(transcript[:-1], world.pins)
    with attack("transcript without seeds", "WireError"):
        audit([*transcript[:-2], transcript[-1]], world.pins)
    with attack("transcript cut off", "too-few-signatures"):
        audit(transcript[:6], world.pins)
    with attack("transcript cut off before the agreements", "WireError"):
        audit(transcript[:5], world.pins)
    with attack("transcript of a round that came to nothing", "QuorumError"):
        audit(transcript[:-2], world.pins)
    with attack("transcript of another question", "forged-transcript"):
        audit([*transcript[:3], Start(0, "train", OTHER).encode(), *transcript[4:]], world.pins, context=context)
    with attack("transcript of another question, unnoticed by the context", "other-round"):
        audit([*transcript[:3], Start(0, "train", OTHER).encode(), *transcript[4:]], world.pins)
    with attack("transcript of a kind that the plan does not have", "unknown-kind"):
        audit([*transcript[:3], Start(0, "plain", QUESTION).encode(), *transcript[4:]], world.pins)
    with attack("transcript under another consortium's roots", "bad-signature"):
        audit(transcript, replace(world.pins, roots=(b"\3" * 32,)))
    with attack("empty transcript", "WireError"):
        audit([], world.pins)


def test_one_round_s_messages_are_of_no_use_in_another(world: World, attack: Attack) -> None:
    world.round(world.vectors(), no_vector=["site-004"])
    old = list(world.transcript)
    masked = Masked(Survivors.decode(old[4]).context, 0, np.frombuffer(world.sent["site-000"], "<u4"))
    sent = signed_vector(masked, masked.words)
    opening = submitted(world, slot=1)
    assert world.key_period is not None
    fresh = RoundOpening(world.key_period, 1, "train", QUESTION)
    with attack("vector replayed from the round before", "other-round", fresh):
        fresh.receive(sent)
    with attack("signature replayed from the round before", "other-round", opening):
        opening.receive(old[5])
    with attack("survivors replayed from the round before", "other-round"):
        first(world).agree(old[4], world.sent["site-000"])


def test_a_delivery_is_taken_once(world: World, attack: Attack) -> None:
    with attack("a second delivery", "out-of-order"):
        first(world).take(Delivery(()).encode())

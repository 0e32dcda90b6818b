"""Attacks on the succinct audit: sums that are not those of the vectors, sketches, seeds, what is said of a round."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.training.sent_vector import VectorFile
from common.messages.transport import Request
from common.secagg.audit import audit, replay_transcript
from common.secagg.durable_participant import DurableParticipant, StateInMemory
from common.secagg.envelope import sender_in
from common.secagg.key_period_plan import QuestionKind
from common.secagg.participant import Participant
from common.secagg.round import RoundOpening
from common.secagg.round_messages import Agreement, Agreements, Masked, Release, Seeds, Start, Sum, Survivors
from common.secagg.sketch import SKETCH_BYTES, LimbSum
from common.secagg.state import ParticipantState
from common.secagg.transcript_reading import TranscriptAccount
from server.rounds.transcripts import Transcripts
from tests.attacks.conftest import Attack
from tests.attacks.test_round import signed_vector
from tests.secagg.world import NOW_S, QUESTION, World, expected, identity, plain

OTHER = b"\1" * 32


def world_of(bits: int = 32, sites: int = 6, rounds: int = 3) -> World:
    world = World.of(sites, exchanges={"train": QuestionKind(plain(5, bits))}, rounds=rounds)
    world.open_key_period()
    return world


@dataclass
class Round:
    """A round whose coordinator, and some of whose sites, may lie."""

    world: World
    slot: int = 0
    question: bytes = QUESTION
    absent: tuple[str, ...] = ("site-005",)
    silent: tuple[str, ...] = ()
    """They do not sign the survivors."""
    unreleased: tuple[str, ...] = ()
    tamper: Callable[[LimbSum], None] = lambda total: None
    """What the coordinator does to the sum before it commits to it."""
    lie: Callable[[Agreement], Agreement] = lambda agreement: agreement
    """What a site signs; itself where it is honest."""
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    spool: dict[int, bytes] = field(default_factory=dict)
    releases: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.world.key_period is not None
        self.vectors = self.world.vectors() | self.vectors
        self.opening = RoundOpening(self.world.key_period, self.slot, "train", self.question)

    def play(self) -> "Round":
        """All steps, to the last release."""
        world, opening = self.world, self.opening
        for name, start in opening.requests().items():
            if name not in self.absent:
                world.sites[name] = world.sites[name].open(start, self.question, NOW_S)
                message = world.submit(name, self.vectors[name])
                self.spool[sender_in(message)] = bytes(message)
                opening.receive(message)
        self.tamper(opening._sum)
        opening.close()
        for name, survivors in opening.requests().items():
            if name not in self.silent:
                true = Agreement.decode(world.agree(name, survivors))
                opening.receive(self.lie(true).sign(identity(name)).encode())
        opening.close()
        for name, agreements in opening.requests().items():
            if name not in self.unreleased:
                release = world.send(name, lambda s, m=agreements: s.release(m))
                self.releases.append(bytes(release))
                opening.receive(release)
        return self

    def done(self, check: bool = True) -> list[bytes]:
        """The transcript that the coordinator writes; a lying one knows better than to check."""
        self.opening.close()
        if check:
            self.opening.check_sketches(self.spool.__getitem__)
        self.total = self.opening.total()
        return self.transcript()

    def transcript(self) -> list[bytes]:
        return list(self.opening.transcript(self.world.signed_roster, self.spool.__getitem__))

    @property
    def context(self) -> bytes:
        return self.opening.context


def changed(transcript: list[bytes], place: int, message: bytes) -> list[bytes]:
    place %= len(transcript)
    return [*transcript[:place], message, *transcript[place + 1 :]]


def plus(amount: int) -> Callable[[LimbSum], None]:
    """Adds to the first word, across its limbs."""

    def tamper(total: LimbSum) -> None:
        number = sum((int(total.low[i]) + (int(total.carry[i]) << 32)) << (32 * i) for i in (0, 1)) + amount
        for i in (0, 1):
            limb = number % 2**32 if i == 0 else number
            total.low[i], total.carry[i], number = limb % 2**32, limb >> 32, number >> 32

    return tamper


def permute(total: LimbSum) -> None:
    total.low[:2] = total.low[1::-1].copy()
    total.carry[:2] = total.carry[1::-1].copy()


def carry_alone(total: LimbSum) -> None:
    total.carry[0] ^= 1


SUMS: list[tuple[str, Any]] = [
    ("by 1", plus(1)), ("by 2^31", plus(2**31)), ("by 2^61 - 1", plus(2**61 - 1)), ("by 2^32", plus(2**32)),
    ("in one carry alone", carry_alone), ("by a permutation of its limbs", permute),
]  # fmt: skip


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(("what", "tamper"), SUMS, ids=[what for what, _ in SUMS])
def test_a_sum_that_is_not_that_of_the_vectors_does_not_pass(attack: Attack, what: str, tamper: Any, bits: int) -> None:
    with attack(f"a sum changed {what}, before the sites signed it ({bits} bits)", "forged-aggregate"):
        audit(Round(world := world_of(bits), tamper=tamper).play().done(check=False), world.pins)
    honest = Round(world := world_of(bits)).play()
    transcript = honest.done()
    total = Sum.decode(transcript[-1]).total
    false = LimbSum(total.low.copy(), total.carry.copy())
    tamper(false)
    with attack(f"a sum changed {what}, after the sites signed another ({bits} bits)", "forged-aggregate"):
        audit(changed(transcript, -1, Sum(honest.context, false).encode()), world.pins)
    found = audit(transcript, world.pins, context=honest.context)
    np.testing.assert_array_equal(found.words, expected(honest.vectors, found.survivors))


def test_a_commitment_or_survivors_are_not_changed_after_the_sketches(attack: Attack) -> None:
    honest = Round(world := world_of()).play()
    transcript, told = honest.done(), Survivors.decode(honest.transcript()[4])
    total = Sum.decode(transcript[-1]).total
    false = LimbSum(total.low + np.uint32(1), total.carry)
    forged = changed(transcript, 4, Survivors(honest.context, told.members, false.commitment()).encode())
    with attack("another commitment than was signed, with its sum", "split-survivors"):
        audit(changed(forged, -1, Sum(honest.context, false).encode()), world.pins)
    for what, members, cause in (
        ("a survivor swapped for a dropout", (0, 1, 2, 3, 5), "not-asked"),
        ("a survivor more", (0, 1, 2, 3, 4, 5), "split-survivors"),
        ("too few survivors", (0, 1, 2), "QuorumError"),
        ("a survivor who takes no part", (0, 1, 2, 3, 77), "bad-survivors"),
    ):
        with attack(what, cause):
            audit(changed(transcript, 4, replace(told, members=members).encode()), world.pins)
    with attack("survivors of another round", "other-round"):
        audit(changed(transcript, 4, replace(told, context=OTHER).encode()), world.pins)
    with attack("a sum with a limb less than the layout", "forged-aggregate"):
        audit(
            changed(transcript, -1, Sum(honest.context, LimbSum(total.low[:-1], total.carry[:-1])).encode()), world.pins
        )
    with attack("a sum with carries of more vectors than there are", "forged-aggregate"):
        audit(
            changed(transcript, -1, Sum(honest.context, LimbSum(total.low, total.carry + np.uint8(9))).encode()),
            world.pins,
        )


def test_a_sketch_serves_its_own_site_and_round_alone(attack: Attack) -> None:
    world = world_of()
    old = Round(world).play().done()
    honest = Round(world, slot=1, question=OTHER).play()
    transcript = honest.done()
    first, second = (Agreement.decode(transcript[i]) for i in (5, 6))
    with attack("an agreement replayed from another round", "other-round"):
        audit(changed(transcript, 5, old[5]), world.pins)
    with attack("a sketch replayed from another round", "bad-signature"):
        audit(changed(transcript, 5, replace(first, sketch=Agreement.decode(old[5]).sketch).encode()), world.pins)
    with attack("the sketch of another site", "bad-signature"):
        audit(changed(transcript, 5, replace(first, sketch=second.sketch).encode()), world.pins)
    with attack("an agreement in another's name", "bad-signature"):
        audit(changed(transcript, 5, replace(second, sender=0).encode()), world.pins)
    told, former = Survivors.decode(transcript[4]), Survivors.decode(old[4])
    with attack("the commitment of another round", "split-survivors"):
        audit(changed(transcript, 4, replace(told, sum=former.sum).encode()), world.pins)
    swapped = [replace(first, sketch=second.sketch), replace(second, sketch=first.sketch)]
    colluding = [a.sign(identity(f"site-{a.sender:03d}")).encode() for a in swapped]
    found = audit([*transcript[:5], *colluding, *transcript[7:]], world.pins)
    np.testing.assert_array_equal(found.words, honest.total.words)  # lies that cancel change nothing: the sum is right


def false_sketch(*liars: int) -> Callable[[Agreement], Agreement]:
    return lambda a: replace(a, sketch=b"\7" * SKETCH_BYTES) if a.sender in liars else a


@pytest.mark.parametrize("liars", [(2,), (0, 4)])
def test_who_signs_a_false_sketch_is_named_and_the_sum_is_right(attack: Attack, liars: tuple[int, ...]) -> None:
    played = Round(world := world_of(), lie=false_sketch(*liars)).play()
    transcript = played.done()
    names = tuple(f"site-{i:03d}" for i in liars)
    assert played.total.blamed == names
    shown = [Masked.decode(m) for m in transcript if m[:5] == b"CSA2\x08"]
    assert tuple(m.sender for m in shown) == liars, "their vectors take the place of their sketches"
    found = audit(transcript, world.pins, context=played.context)
    assert found.blamed == names, "the two papers that a liar signed prove it to anybody"
    np.testing.assert_array_equal(found.words, expected(played.vectors, found.survivors))
    with attack("a false sketch, and no vector in its place", "forged-aggregate"):
        audit([m for m in transcript if m[:5] != b"CSA2\x08"], world.pins)
    again = Round(world, slot=1, question=OTHER).play()
    again.done()
    assert again.total.blamed == ()


def test_the_vector_of_who_is_silent_takes_the_place_of_its_sketch(attack: Attack) -> None:
    played = Round(world := world_of(), silent=("site-001",), absent=()).play()
    transcript = played.done()
    assert played.total.blamed == ()
    place = next(i for i, m in enumerate(transcript) if m[:5] == b"CSA2\x08")
    vector = Masked.decode(transcript[place])
    np.testing.assert_array_equal(audit(transcript, world.pins).words, expected(played.vectors, world.sites))
    resigned = signed_vector(vector, vector.words + np.uint32(1))
    long = signed_vector(vector, np.zeros(6, "<u4"))
    for what, messages, cause in (
        ("no vector of who was silent", [], "forged-aggregate"),
        (
            "a changed vector of who was silent",
            [replace(vector, words=vector.words + np.uint32(1)).encode()],
            "bad-signature",
        ),
        ("another vector, signed by a colluder who was silent", [resigned], "forged-aggregate"),
        ("a vector of another length", [long], "wrong-shape"),
        ("the vector twice", [transcript[place], transcript[place]], "not-asked"),
        ("a vector in another's name", [replace(vector, sender=2).encode()], "bad-signature"),
    ):
        with attack(what, cause):
            audit([*transcript[:place], *messages, *transcript[place + 1 :]], world.pins)


def test_seeds_are_those_that_their_owners_published(attack: Attack) -> None:
    played = Round(world := world_of()).play()
    transcript = played.done()
    seeds = Seeds.decode(transcript[-2])
    each = [seeds.seeds[31 * i : 31 * (i + 1)] for i in range(6)]
    for what, content in (
        ("the seeds of two survivors, swapped", [each[1], each[0], *each[2:]]),
        ("a dropout's seed that gives another key", [*each[:5], bytes(31)]),
        ("a survivor's seed in the place of a dropout's", [*each[:5], each[0]]),
        ("a seed too few", each[:5]),
    ):
        with attack(what, "bad-share"):
            audit(changed(transcript, -2, Seeds(played.context, b"".join(content)).encode()), world.pins)
    with attack("seeds said to be of another round", "bad-share"):
        audit(changed(transcript, -2, replace(seeds, context=OTHER).encode()), world.pins)


def test_a_round_is_void_only_where_its_shares_make_no_sum(attack: Attack) -> None:
    world = world_of(sites=7)
    void = Round(world, unreleased=("site-003", "site-004")).play()
    assert len(void.releases) == world.plan.threshold - 1
    account = replay_transcript(void.transcript(), world.pins, context=void.context)
    assert account.total is None
    assert account.withholders == ("site-003", "site-004")
    forged_sum = [
        *void.transcript()[:11],
        Seeds(void.context, bytes(217)).encode(),
        Sum(void.context, void.opening._sum).encode(),
    ]
    with attack("a sum, told with shares of fewer than t", "bad-share"):
        audit(forged_sum, world.pins)
    done = Round(world, slot=1, question=OTHER).play()
    transcript = done.done()
    for shown in (done.releases, done.releases[:5]):
        with attack(f"a round told to be void with {len(shown)} releases, of which 5 make a sum", "withheld-sum"):
            replay_transcript([*transcript[:11], *shown], world.pins)
    release = Release.decode(done.releases[0])
    for what, message, cause in (
        ("a void round with a changed release", replace(release, shares=bytes(224)).encode(), "bad-signature"),
        ("a void round with a release of another round", void.releases[0], "other-round"),
    ):
        with attack(what, cause):
            replay_transcript([*transcript[:11], message], world.pins)
    with attack("a void round with releases and a sum", "WireError"):
        replay_transcript([*transcript[:11], *done.releases, *transcript[11:]], world.pins)


def test_two_sums_for_two_halves_get_no_share(attack: Attack) -> None:
    world = world_of()
    played = Round(world)
    for name, start in played.opening.requests().items():
        world.sites[name] = world.sites[name].open(start, QUESTION, NOW_S)
        played.opening.receive(world.submit(name, played.vectors[name]))
    played.opening.close()
    true = Survivors.decode(played.opening.requests()["site-000"])
    halves = true, replace(true, sum=OTHER)
    signed = [Agreement.decode(world.agree(f"site-{i:03d}", halves[i % 2].encode())) for i in range(6)]

    def agreements(signers: list[Agreement], commitment: bytes) -> bytes:
        return Agreements(true.context, commitment, tuple((a.sender, a.sketch, a.signature) for a in signers)).encode()

    site = world.sites["site-000"]
    with attack("the signatures of one half alone", "too-few-signatures"):
        site.release(agreements(signed[::2], true.sum))
    with attack("the signatures of both halves, as if under one sum", "bad-signature"):
        site.release(agreements(signed, true.sum))
    with attack("the signatures of the other half", "other-sum"):
        site.release(agreements(signed[1::2], OTHER))
    with attack("an agreement on another sum, to the coordinator", "split-survivors", played.opening):
        played.opening.receive(signed[1].encode())


def test_a_sum_that_no_sites_can_have_made_is_refused(attack: Attack) -> None:
    far = np.full(5, 2**30, "<u4")
    played = Round(world := world_of(), vectors={"site-002": far}).play()
    with attack("a vector beyond the plan's bounds, by a colluder", "impossible-sum"):
        audit(played.done(), world.pins)


# --- crashes ----------------------------------------------------------------------------------------------------------


def test_a_site_that_lost_its_vector_does_not_agree_and_goes_on_with_the_next_round(
    attack: Attack, tmp_path: Path
) -> None:
    world, file = world_of(), VectorFile(tmp_path / "masked")
    played = Round(world, absent=(), silent=("site-000",))
    recorded: list[ParticipantState] = []

    class Full(StateInMemory):
        def record(self, state: ParticipantState) -> None:
            raise OSError(28, "No space left on device")

    start = played.opening.requests()["site-000"]
    one = world.sites["site-000"]
    keeper = DurableParticipant(lambda state: replace(one, state=state), Full(one.state))
    words = played.vectors["site-000"] + np.uint32(1)

    def masked(site: Participant) -> Any:
        pending = site.open(start, QUESTION, NOW_S).submit(words)
        file.keep(words.data.cast("B"))
        return pending

    with pytest.raises(OSError, match="No space"):  # between the two writes: the vector is there, its state is not
        keeper.step(masked)
    assert file.load() == words.tobytes()
    assert world.sites["site-000"].state.round.root == bytes(32)
    played.play()
    survivors = played.transcript()[4]
    for what, vector in (
        ("gone", b""), ("cut short", world.sent["site-000"][:-1]), ("of a round that was never recorded", file.load()),
        ("changed by one bit", bytes([world.sent["site-000"][0] ^ 1]) + world.sent["site-000"][1:]),
    ):  # fmt: skip
        with attack(f"a sketch of a vector that is {what}", "lost-vector"):
            world.sites["site-000"].agree(survivors, vector)
    back = Participant.restore(
        "site-000", identity("site-000"), world.pins, ParticipantState.decode(world.sites["site-000"].state.encode())
    )
    _, message = back.agree(survivors, world.sent["site-000"]).commit(recorded.append)
    assert recorded[0].round.sum == Survivors.decode(survivors).sum
    assert Agreement.decode(bytes(message)).members == tuple(range(6))
    following = Round(world, slot=1, question=OTHER, absent=()).play()
    following.done()
    assert len(following.total.survivors) == 6


def test_a_coordinator_that_ends_at_any_write_leaves_a_sum_an_account_or_nothing(tmp_path: Path) -> None:
    world = world_of()
    asked = Request("train", 0)
    transcripts = Transcripts(tmp_path)
    played = Round(world, silent=("site-001",), absent=()).play()
    spool = [*played.opening.beginning(world.signed_roster), *played.spool.values()]
    spool += played.transcript()[5:10]  # agreements; then the releases
    spool += played.releases
    frames = [len(m).to_bytes(8, "little") + m for m in spool]
    right = expected(played.vectors, world.sites)

    def left_by(content: bytes) -> TranscriptAccount | None:
        (tmp_path / ".0000-train").write_bytes(content)
        transcripts.salvage(world.pins)
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
        account = transcripts.read(asked, world.pins)
        (tmp_path / "0000-train").unlink(missing_ok=True)
        return account

    for whole in range(len(frames) + 1):
        for cut in (0, 11):
            content = b"".join(frames[:whole]) + (frames[whole][:cut] if whole < len(frames) else b"")
            account = left_by(content)
            assert (account is None) == (whole < 4 + 6 + world.plan.quorum)
            if account and account.total:
                np.testing.assert_array_equal(account.total.words, right)
            assert account is None or (account.total is not None) == (whole >= 4 + 6 + 5 + world.plan.quorum)


def test_a_spool_and_the_finished_transcript_beside_it_are_taken_for_one_round(tmp_path: Path) -> None:
    """The process ended between the two: the transcript was put in its place, and the spool not yet removed."""
    world, transcripts = world_of(), Transcripts(tmp_path)
    played = Round(world, absent=())
    with transcripts.spool(Request("train", 0), played.opening, world.signed_roster) as spool:
        played.play()
        for message in (*played.spool.values(), *played.transcript()[5:11], *played.releases):
            spool.append(message)
        spool.agree()
        played.done()
        before = (tmp_path / ".0000-train").read_bytes()
    page = (tmp_path / "0000-train").read_bytes()
    (tmp_path / ".0000-train").write_bytes(before)
    transcripts.salvage(world.pins)
    assert (tmp_path / "0000-train").read_bytes() == page
    assert [p.name for p in tmp_path.iterdir()] == ["0000-train"]
    assert len(page) < len(before)


def test_what_a_transcript_begins_with_is_checked_as_ever(attack: Attack) -> None:
    played = Round(world := world_of()).play()
    transcript = played.done()
    for what, place, message, cause in (
        ("another roster", 0, World.of(4).signed_roster, "other-roster"),
        ("another plan", 1, World.of(6, rounds=2).plan.content, "other-epoch"),
        ("another round of the key period", 3, Start(1, "train", QUESTION).encode(), "other-round"),
    ):
        with attack(f"a transcript with {what}", cause):
            audit(changed(transcript, place, message), world.pins)


def all_orders(transcript: list[bytes]) -> Iterator[list[bytes]]:
    """Every two neighbouring messages exchanged, from the survivors on."""
    for i in range(4, len(transcript) - 1):
        yield [*transcript[:i], transcript[i + 1], transcript[i], *transcript[i + 2 :]]


def test_messages_stand_in_their_order(attack: Attack) -> None:
    played = Round(world := world_of(sites=7)).play()
    transcript = played.done()
    for order in all_orders(transcript):
        if [m[4] for m in order] != [m[4] for m in transcript]:
            with attack("a transcript in another order", "WireError"):
                audit(order, world.pins)
    with attack("a transcript with two sums", "WireError"):
        audit([*transcript, transcript[-1]], world.pins)
    with attack("a transcript with survivors twice", "WireError"):
        audit([*transcript[:5], transcript[4], *transcript[5:]], world.pins)

"""Bytes that are damaged, cut, joined or invented end in an error of ours, never in a crash, never in much memory."""

import io
import os
import tracemalloc
from collections import Counter
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import ConsiliumError, WireError
from common.secagg.audit import audit
from common.secagg.envelope import Message
from common.secagg.key_period import KeyPeriodOpening
from common.secagg.key_period_messages import Advert, Delivery, Directory, Ready, Shares
from common.secagg.key_period_plan import KeyPeriodPlan
from common.secagg.participant import Participant
from common.secagg.round import RoundOpening
from common.secagg.round_messages import Agreement, Agreements, Masked, Release, Seeds, Start, Sum, Survivors
from common.secagg.state import ParticipantState
from common.secagg.transcript import frame, read_frames
from common.trust.roster import load_verified_roster
from tests.secagg.world import NOW_S, QUESTION, World, forget, plain

EXAMPLES = 10 * int(os.environ.get("CONSILIUM_EXAMPLES", "40"))
MANY = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

KINDS: list[type[Message]] = [
    Advert, Directory, Shares, Delivery, Ready, Start, Masked, Survivors, Agreement, Agreements, Release,
    Seeds, Sum,
]  # fmt: skip

KEY_PERIOD = [("join", "Plan", "Advert"), ("share", "Directory", "Shares"), ("take", "Delivery", "Ready")]
ROUND = [("submit", "Start", "Masked"), ("agree", "Survivors", "Agreement"), ("release", "Agreements", "Release")]


@cache
def conversation() -> tuple[World, dict[str, bytes]]:
    """One true message of every kind, and the sites after them."""
    world = World.of(4, plain(6), rounds=2)
    opening, sent = (
        KeyPeriodOpening(world.plan, world.roster),
        {"Plan": world.plan.content, "Roster": world.signed_roster},
    )
    for step, request_name, answer_name in KEY_PERIOD:
        for name, request in opening.requests().items():
            extra = (world.signed_roster, NOW_S) if step == "join" else ()
            world.sites[name], answer = getattr(world.sites[name], step)(request, *extra).commit(forget)
            opening.receive(answer)
            sent |= {request_name: request, answer_name: answer}
        opening.close()
    world.key_period = opening.key_period()
    again = RoundOpening(world.key_period, 0, "train", QUESTION)
    vectors = world.vectors()
    for step, request_name, answer_name in ROUND:
        for name, request in again.requests().items():
            if step == "submit":
                site = world.sites[name].open(request, QUESTION, NOW_S)
                sent["State"] = site.state.encode()
                outgoing = site.submit(vectors[name])
            elif step == "agree":
                outgoing = world.sites[name].agree(request, vectors[name].data)
            else:
                outgoing = world.sites[name].release(request)
            world.sites[name], answer = outgoing.commit(forget)
            again.receive(answer)
            sent |= {request_name: request, answer_name: answer}
        again.close()
    again.total()
    *_, sent["Seeds"], sent["Sum"] = again.transcript(world.signed_roster, lambda _: b"")
    return world, sent


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A true message with bytes changed, cut, doubled, or one message's end on another's beginning."""
    _, sent = conversation()
    content = bytearray(sent[draw(st.sampled_from(sorted(sent)))])
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, min(len(content) - 1, draw(st.sampled_from([8, 60, 10**6])))))] = draw(
            st.integers(0, 255)
        )
    way = draw(st.sampled_from(["as it is", "cut", "longer", "joined", "invented"]))
    if way == "cut":
        return bytes(content[: draw(st.integers(0, len(content)))])
    if way == "longer":
        return bytes(content) + draw(st.binary(min_size=1, max_size=40))
    if way == "joined":
        other = sent[draw(st.sampled_from(sorted(sent)))]
        return bytes(content[: draw(st.integers(0, len(content)))]) + other[draw(st.integers(0, len(other))) :]
    return draw(st.binary(max_size=200)) if way == "invented" else bytes(content)


@MANY
@given(content=damaged())
def test_every_parser_returns_a_message_or_an_error_of_ours(content: bytes, tried: Counter[str]) -> None:
    readers = [kind.decode for kind in KINDS] + [KeyPeriodPlan.read, ParticipantState.decode]
    for read in readers:
        try:
            message = read(content)
        except WireError as error:
            assert len(str(error)) < 300  # noqa: PT017
        else:
            again = message.content if isinstance(message, KeyPeriodPlan) else message.encode()
            assert again == content, "there is one encoding for each message"
        tried["parser executions, crashes 0"] += 1


@MANY
@given(content=damaged())
def test_no_machine_crashes_or_changes_on_what_it_cannot_use(content: bytes, tried: Counter[str]) -> None:
    world, _ = conversation()
    site = world.sites["site-000"]
    assert world.key_period is not None
    fresh = Participant("site-000", site.identity, site.pins)
    machines = KeyPeriodOpening(world.plan, world.roster), RoundOpening(world.key_period, 1, "train", QUESTION)
    before = site.state.encode()
    for step in (
        *(machine.receive for machine in machines), site.share, site.take, lambda c: site.agree(c, b""), site.release,
        lambda c: site.open(c, QUESTION, NOW_S), lambda c: fresh.join(c, world.signed_roster, NOW_S),
        lambda c: fresh.join(world.plan.content, c, NOW_S), lambda c: load_verified_roster(c, world.pins),
        lambda c: audit([world.signed_roster, world.plan.content, c, c], world.pins),
        lambda c: audit(frames_of(c), world.pins),
    ):  # fmt: skip
        try:
            step(content)
        except ConsiliumError as error:
            assert len(str(error)) < 500  # noqa: PT017
        tried["parser executions, crashes 0"] += 1
    assert site.state.encode() == before


def frames_of(content: bytes) -> list[bytes]:
    return list(read_frames(io.BytesIO(content)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_message_survives_the_way_over_bytes(kind: type[Message]) -> None:
    content = conversation()[1][kind.__name__]
    assert kind.decode(content).encode() == content


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_message_is_refused_cut_at_any_byte_and_with_a_byte_more(kind: type[Message]) -> None:
    content = conversation()[1][kind.__name__]
    for length in range(len(content)):
        with pytest.raises(WireError):
            kind.decode(content[:length])
    with pytest.raises(WireError, match="1 bytes too many"):
        kind.decode(content + b"\0")


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_declared_lengths_cost_no_memory(kind: type[Message]) -> None:
    content = conversation()[1][kind.__name__]
    tracemalloc.start()
    try:
        for at in range(5, min(len(content), 120)):
            evil = content[:at] + b"\xff" * 4 + content[at + 4 :]
            with suppress(WireError):
                kind.decode(evil)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_a_transcript_with_a_false_length_costs_no_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match=r"ends .* bytes early"):
            frames_of((2**32).to_bytes(8, "little") + b"short")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
    with pytest.raises(WireError, match="beyond all measure"):
        frames_of(b"\xff" * 8)
    assert frames_of(frame(b"one") + frame(b"")) == [b"one", b""]

"""The coordinator gets the exact sum over whoever stayed, or nothing at all."""

import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import PolicyError, QuorumError, StageError
from common.secagg.audit import audit
from common.secagg.fixedpoint import Layout, Segment
from common.secagg.key_period_plan import QuestionKind
from common.secagg.masks import LEAF_BYTES
from common.secagg.round import RoundOpening
from common.secagg.stages import CoordinatorStage
from tests.secagg.world import QUESTION, World, expected, plain

EXAMPLES = int(os.environ.get("CONSILIUM_EXAMPLES", "40"))
FEW = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
SIZES = (3, 4, 5, 7, 10) if EXAMPLES <= 40 else (3, 4, 5, 6, 7, 10, 17, 33, 100)
LENGTHS = {
    f"{bits} bits, {length} words": plain(length, bits)
    for bits in (32, 64)
    for length in (1, *(LEAF_BYTES // (bits // 8) + d for d in (-1, 0, 1)), 8 * LEAF_BYTES // (bits // 8) + 3)
}
ROUNDS = 4


OPENED: dict[int, World] = {}


def opened(n: int) -> World:
    """A federation that serves many examples; opened anew when its rounds are used up."""
    if n not in OPENED or next_slot(OPENED[n]) >= OPENED[n].plan.rounds:
        OPENED[n] = World.of(n, rounds=24, exchanges={k: QuestionKind(v) for k, v in LENGTHS.items()})
        OPENED[n].open_key_period()
    return OPENED[n]


def next_slot(world: World) -> int:
    return max(site.state.next_slot for site in world.sites.values())


@st.composite
def rounds(draw: st.DrawFn) -> tuple[int, str, tuple[set[int], set[int], set[int]]]:
    """Sites, kind of round, and who falls silent at each of the three steps."""
    n = draw(st.sampled_from(SIZES))
    gone = draw(st.integers(0, max(1, n // 2)))
    silent = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, 2)), min_size=gone, max_size=gone))
    steps: tuple[set[int], set[int], set[int]] = (set(), set(), set())
    for site, step in silent:
        steps[step].add(site)
    return n, draw(st.sampled_from(sorted(LENGTHS))), steps


@FEW
@given(case=rounds(), seed=st.integers(0, 2**31))
def test_total_is_exact_for_whoever_stayed_and_absent_where_too_few_did(
    case: tuple[int, str, tuple[set[int], set[int], set[int]]], seed: int, tried: Counter[str]
) -> None:
    n, kind, steps = case
    world = opened(n)
    names = list(world.sites)
    by_step = [{names[i] for i in step} for step in steps]
    gone_before_vector = by_step[0]
    left = [n - len(set().union(*by_step[: i + 1])) for i in range(3)]
    vectors = world.vectors(kind, seed)
    slot = next_slot(world)
    question = slot.to_bytes(32, "big")
    silent = dict(zip(("no_vector", "no_agreement", "no_release"), by_step, strict=True))
    if min(left) < world.plan.quorum:
        with pytest.raises(QuorumError):
            world.round(vectors, slot=slot, kind=kind, question=question, **silent)
        tried["rounds below the threshold, none unmasked"] += 1
        return
    total = world.round(vectors, slot=slot, kind=kind, question=question, **silent)
    assert set(total.survivors) == set(names) - gone_before_vector
    with np.errstate(over="ignore"):
        right = np.sum([vectors[name] for name in total.survivors], axis=0, dtype=total.words.dtype)
    np.testing.assert_array_equal(total.words, right)
    assert total.blamed == ()
    np.testing.assert_array_equal(audit(world.transcript, world.pins).words, total.words)
    tried["sums compared and audited, mismatches 0"] += 1


@pytest.mark.parametrize("n", [3, 17, 40])
def test_many_sites_with_as_many_dropouts_as_may_be(n: int, tried: Counter[str]) -> None:
    world = World.of(n, plain(5, 64))
    world.open_key_period()
    names = list(world.sites)
    may_go = n - world.plan.quorum
    vectors = world.vectors()
    total = world.round(vectors, no_vector=names[1 : may_go + 1])
    np.testing.assert_array_equal(total.words, expected(vectors, total.survivors))
    assert len(total.survivors) == world.plan.quorum
    tried["sums compared and audited, mismatches 0"] += 1


def test_every_stage_of_a_key_period_can_lose_a_site() -> None:
    world = World.of(10, plain(5))
    names = list(world.sites)
    key_period = world.open_key_period(no_advert=names[:1], no_shares=names[1:2], not_ready=names[2:3])
    assert [world.plan.cohort[i] for i in key_period.adverts] == names[2:]
    vectors = world.vectors()
    total = world.round(vectors)
    assert (total.survivors, total.dropouts) == (tuple(names[3:]), (names[2],))
    np.testing.assert_array_equal(total.words, expected(vectors, names[3:]))


@pytest.mark.parametrize("stage", ["no_advert", "no_shares", "not_ready"])
def test_a_key_period_that_too_few_begin_has_failed(stage: str) -> None:
    world = World.of(5)
    with pytest.raises(QuorumError, match=r"2 of 5 .* expected 4"):
        world.open_key_period(**{stage: list(world.sites)[:3]})


def test_a_site_that_was_away_takes_part_in_a_later_round() -> None:
    world = World.of(5, rounds=ROUNDS)
    world.open_key_period()
    names = list(world.sites)
    for slot in range(ROUNDS):
        away = [names[slot]]
        vectors = world.vectors(seed=slot)
        total = world.round(vectors, slot=slot, question=bytes([slot]) * 32, no_vector=away)
        np.testing.assert_array_equal(total.words, expected(vectors, set(names) - set(away)))


def test_a_new_key_period_follows_on_the_old_one() -> None:
    world = World.of(4)
    for key_period in range(2):
        other = World.of(4, number=key_period)
        world.plan = other.plan
        world.open_key_period()
        vectors = world.vectors(seed=key_period)
        total = world.round(vectors, question=bytes([key_period]) * 32)
        np.testing.assert_array_equal(total.words, expected(vectors, total.survivors))


def test_a_sum_that_is_of_use_only_whole_fails_with_a_dropout_and_can_be_asked_again() -> None:
    world = World.of(5, exchanges={"gram": QuestionKind(plain(3), whole=True)}, rounds=2)
    world.open_key_period()
    vectors = world.vectors("gram")
    with pytest.raises(QuorumError, match="expected all"):
        world.round(vectors, kind="gram", no_vector=["site-002"])
    total = world.round(vectors, kind="gram", slot=1)
    np.testing.assert_array_equal(total.words, expected(vectors, world.sites))


def test_nothing_can_be_had_from_a_round_that_failed_or_goes_on() -> None:
    world = World.of(5)
    key_period = world.open_key_period()
    opening = RoundOpening(key_period, 0, "train", QUESTION)
    with pytest.raises(StageError):
        opening.total()
    with pytest.raises(QuorumError):
        opening.close()
    assert opening.stage is CoordinatorStage.FAILED
    for attempt in (opening.total, opening.close):
        with pytest.raises(StageError):
            attempt()


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("n", [3, 10])
def test_weights_at_the_capacity_bound_do_not_wrap(n: int, bits: int, tried: Counter[str]) -> None:
    fraction_bits, weight = (10, 1000.0) if bits == 32 else (24, 1e6)
    room = (2.0 ** (bits - 1) - 1) / n - 1
    bound = room / weight / 2**fraction_bits * (1 - 1e-9)
    layout = Layout((Segment("delta", (6,), bound, fraction_bits, weighted=True),), bits, weight)
    layout.check(n)
    with pytest.raises(PolicyError, match="words hold less than"):
        Layout((Segment("delta", (6,), bound * 1.001, fraction_bits, weighted=True),), bits, weight).check(n)
    world = World.of(n, plain(6, bits))
    world.open_key_period()
    signs = np.array([1.0, -1.0, 1.0, -1.0, 0.0, 5.0])
    vectors = {name: layout.encode({"delta": signs * bound}, weight, os.urandom(32)) for name in world.sites}
    sums = layout.decode(world.round(vectors).words)["delta"]
    exact = n * weight * bound * np.clip(signs, -1, 1)
    assert np.abs(sums - exact).max() <= n * 2.0**-fraction_bits + abs(exact).max() * 1e-15
    tried["sums compared and audited, mismatches 0"] += 1

"""Attacks on a run's lineage: models that do not follow from the sums, and transcripts that do not hold."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.algorithms.course import VOID, Course, Place
from common.errors import ConsiliumError
from common.messages.transport import Answer, Reply, Request
from common.plans.approvals import NAME, Approvals
from common.secagg.transcript import frame, read_frames
from common.types import Tensors
from server.rounds import loop
from server.rounds.secure_sum import SecureSum
from server.rounds.transcripts import Transcripts
from tests.attacks.conftest import Attack
from tests.rounds.world import FIVE, SGD, World, config, same_bits

NOT_SAID = Reply({"message": np.zeros(0, np.uint8)})
Change = Callable[[Request], Request | None]


def audited(**told: Any) -> World:
    return World(config(**{"rounds": 5, "local": SGD, "simulate": {"auditors": 1}} | told))


def coordinator(world: World, folder: Path, lie: Change = lambda request: request) -> SecureSum:
    """Tells the site that audits something else, or nothing."""

    def between(name: str, answer: Answer) -> Answer:
        def told(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            changed = lie(request) if name == "a" else request
            try:
                return (NOT_SAID, state) if changed is None else answer(changed, state)
            except ConsiliumError as error:
                world.refusals.append(error)
                raise

        return told

    return world.secure(between, Transcripts(folder))


def one_weight(place: Place) -> Place:
    """The smallest change of a model that there is."""
    name = next(name for name in place.state if name.startswith("weights/dense"))
    changed = place.state[name].copy()
    changed.flat[0] = np.nextafter(changed.flat[0], np.float32(np.inf))
    return replace(place, state=place.state | {name: changed})


def asked(world: World, aggregator: SecureSum, place: Place, *, page_alone: bool = True) -> Place:
    """One honest step; what a site refuses in it is raised.

    Args:
        page_alone: show the sum's page at once, and not with the next question.
    """
    total = loop.ask(world.course, aggregator, place)
    if page_alone:
        aggregator.finish(60.0)
    raise_refusals(world)
    return world.course.after(place, total)


def raise_refusals(world: World) -> None:
    """The first refusal since the last call."""
    refusals, world.refusals = world.refusals, []
    if refusals:
        raise refusals[0]


def nothing_was_sent(world: World, since: int, what: str) -> bool:
    return not [r for name, r, _ in world.sent[since:] if name == "a" and r.settings.get("asked") == what]


# --- models ---------------------------------------------------------------------------------------------------------


def test_a_model_that_does_not_follow_from_the_sum_is_refused_and_nothing_is_sent(
    attack: Attack, tmp_path: Path
) -> None:
    def after_one_round(what: str) -> tuple[World, SecureSum, Place]:
        world = audited(evaluate_every=2)
        aggregator = coordinator(world, tmp_path / what)
        return world, aggregator, asked(world, aggregator, world.course.start())

    _, _, second = after_one_round("to see what comes next")
    assert second.asks == "train"
    for what, place in (
        ("the next model with one weight changed in its last digit", one_weight(second)),
        ("the model of the round before", replace(audited().course.start(), round=1)),
        ("a model after the run's end", replace(second, round=5)),
    ):
        world, aggregator, _ = after_one_round(what)
        cause = "run-is-over" if place.round > 2 else "model-does-not-follow"
        since = len(world.sent)
        with attack(what, cause):
            asked(world, aggregator, place)
        assert nothing_was_sent(world, since, "train")
    world, aggregator, second = after_one_round("an evaluation")
    third = asked(world, aggregator, second)
    assert third.asks == "evaluate"
    with attack("another model evaluated", "model-does-not-follow"):
        asked(world, aggregator, one_weight(third))


def test_the_initial_model_is_the_seeds(attack: Attack, tmp_path: Path) -> None:
    world = audited()
    start = world.course.start()
    for what, place in (
        ("the initial model with one weight changed", one_weight(start)),
        ("the initial model of another seed", Course.of(world.config, world.model, 2, tuple(FIVE)).start()),
    ):
        with attack(what, "model-does-not-follow"):
            asked(world, coordinator(world, tmp_path / what), place)


def test_what_is_asked_beside_the_model_follows_as_well(attack: Attack, tmp_path: Path) -> None:
    world = audited()
    for what, lie in (
        ("another learning rate", {"learning_rate": 7.0}),
        ("another seed for training", {"seed": 9}),
        ("a setting that nobody knows", {"more": 1}),
    ):

        def twisted(place: Place, more: dict[str, Any] = lie, honest: Any = world.course.request) -> Request:
            request = honest(place)
            return replace(request, settings={**request.settings, **more})

        course = replace(world.course)
        object.__setattr__(course, "request", twisted)
        aggregator = coordinator(world, tmp_path / what)
        with attack(what, "model-does-not-follow"):
            loop.ask(course, aggregator, course.start())
            raise_refusals(world)


def test_an_svms_points_are_not_moved_further_than_another_processor_would(attack: Attack, tmp_path: Path) -> None:
    world = World(config("svm", rounds=9, select="last", simulate={"auditors": 1}))
    aggregator, place = coordinator(world, tmp_path), world.course.start()
    for _ in range(2):
        place = asked(world, aggregator, place)
        place = asked(world, aggregator, place) if place.asks == "evaluate" else place
    own = place.state["trials"]
    for what, told in (
        ("the SVM's points moved by a ten-thousandth of the step", own + 1e-4 * (own - place.state["point"])),
        ("one of the SVM's points moved", np.concatenate([own[:1] + 1e-3, own[1:]])),
        ("the SVM asked where it is not a number", own * np.nan),
    ):
        with attack(what, "model-does-not-follow"):
            asked(world, aggregator, replace(place, state=place.state | {"trials": told}))
    assert asked(world, aggregator, place).number > place.number


# --- transcripts ----------------------------------------------------------------------------------------------------


def test_an_omitted_transcript_is_missed(attack: Attack, tmp_path: Path) -> None:
    def hidden(request: Request) -> Request | None:
        tensors = {name: value for name, value in request.tensors.items() if name != "page"}
        return None if request.kind == "secagg/audit" else replace(request, tensors=tensors)

    for what, discards in (
        ("an omitted transcript", False),
        ("an omitted transcript, and the round called void although its sum is known", True),
    ):
        world = audited(evaluate_every=2)
        aggregator = coordinator(world, tmp_path / what, hidden)
        start = world.course.start()
        second = asked(world, aggregator, start)
        place = world.course.after(start, VOID) if discards else second
        since = len(world.sent)
        with attack(what, "missing-transcript"):
            asked(world, aggregator, place)
        assert nothing_was_sent(world, since, "train")


def test_another_transcript_does_not_pass(attack: Attack, tmp_path: Path) -> None:
    other = audited()
    asked(other, coordinator(other, tmp_path / "other"), other.course.start())
    foreign = (tmp_path / "other" / "0000-train").read_bytes()  # a sum over the same question, by the same sites

    def twice(messages: list[bytes]) -> list[bytes]:
        return [*messages[:6], messages[5], *messages[6:]]

    def one_bit(messages: list[bytes]) -> list[bytes]:
        total = bytearray(messages[-1])
        total[1000] ^= 1
        return [*messages[:-1], bytes(total)]

    cases: list[tuple[str, Callable[[bytes], bytes], str]] = [
        ("another run's transcript of the same question", lambda true: foreign, "forged-transcript"),
        ("a transcript with one bit of the sum changed", rewritten(one_bit), "forged-aggregate"),
        ("a transcript without one site's sketch", rewritten(lambda m: [*m[:5], *m[6:]]), "forged-aggregate"),
        ("a transcript with one site's sketch twice", rewritten(twice), "duplicate-site"),
        ("a transcript without its agreements", rewritten(lambda m: [*m[:5], *m[10:]]), "WireError"),
        ("a transcript of a void round, of one that was not", rewritten(lambda m: m[:-2]), "model-does-not-follow"),
        ("a transcript cut short", lambda true: true[:-9], "WireError"),
        ("no transcript at all", lambda true: true[:0] + b"\0" * 8, "WireError"),
    ]
    for what, change, cause in cases:
        for alone in (True, False):
            world, named = audited(), what if alone else f"{what}, with the next question"
            with attack(named, cause):
                lying = coordinator(world, tmp_path / named, partial(replaced, change))
                second = asked(world, lying, world.course.start(), page_alone=alone)
                since = len(world.sent)
                try:
                    asked(world, lying, second, page_alone=alone)
                finally:
                    assert nothing_was_sent(world, since, second.asks)


def rewritten(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    """Works on the messages of a transcript: roster, plan, directory, start, survivors, five agreements, seeds, sum."""

    def apply(true: bytes) -> bytes:
        import io

        return b"".join(map(frame, change(list(read_frames(io.BytesIO(true))))))

    return apply


def replaced(change: Callable[[bytes], bytes], request: Request) -> Request | None:
    if request.kind == "secagg/submit" and "page" in request.tensors:
        page = np.frombuffer(change(request.tensors["page"].tobytes()), np.uint8)
        return replace(request, tensors={**request.tensors, "page": page})
    if request.kind != "secagg/audit":
        return request
    content = change(request.tensors["message"].tobytes())
    message = {"message": np.frombuffer(content, np.uint8)}
    return replace(request, tensors=message, settings={**request.settings, "of": len(content)})


def test_an_old_transcript_is_not_taken_for_a_new_one(attack: Attack, tmp_path: Path) -> None:
    for what, left_out, cause in (
        ("the transcript of the round before, replayed", False, "forged-transcript"),
        ("the transcript of the round before, replayed to a site that was left out", True, "replayed-transcript"),
    ):
        world, first = audited(evaluate_every=5), list[bytes]()

        def old(request: Request, left_out: bool = left_out, first: list[bytes] = first) -> Request | None:
            if request.kind == "secagg/audit":
                first.append(request.tensors["message"].tobytes())
            if "page" in request.tensors or request.kind == "secagg/audit":
                return replaced(lambda true: first[0], request)
            return None if left_out and request.kind == "secagg/submit" and request.round == 1 else request

        aggregator = coordinator(world, tmp_path / what, old)
        second = asked(world, aggregator, world.course.start())
        with attack(what, cause):
            third = asked(world, aggregator, second)
            assert third.round == 2
            asked(world, aggregator, third)  # where it was left out, it is shown before it is asked again


def test_a_transcript_is_bounded_and_comes_in_order(attack: Attack, tmp_path: Path) -> None:
    def lying(**settings: Any) -> Change:
        def lie(request: Request) -> Request | None:
            if request.kind != "secagg/audit":
                return request
            return replace(request, settings={**request.settings, **settings})

        return lie

    for what, lie, cause in (
        ("a transcript of a terabyte", lying(of=2**40), "oversized-transcript"),
        ("a piece beyond the transcript's end", lying(of=10), "oversized-transcript"),
        ("a piece out of its order", lying(at=5, of=10**6), "WireError"),
        ("a transcript of no question", lying(number=-1), "WireError"),
        ("a transcript of a question that the run does not ask", lying(number=10**9), "missing-transcript"),
        ("a transcript of the next question but one", lying(number=9), "missing-transcript"),
    ):
        world = audited()
        with attack(what, cause):
            asked(world, coordinator(world, tmp_path / what, lie), world.course.start())


# --- who takes part -------------------------------------------------------------------------------------------------


def test_a_run_does_not_change_its_sites_under_way(attack: Attack, tmp_path: Path) -> None:
    def without(site: str, world: World) -> Change:
        rest = {name: made for name, made in world.approvals.decisions.items() if name != site}
        content = np.frombuffer(Approvals(world.approvals.plan, rest).encode(), np.uint8)

        def lie(request: Request) -> Request | None:
            is_shown = request.kind in ("secagg/follow", "secagg/join")
            return replace(request, tensors={**request.tensors, NAME: content}) if is_shown else request

        return lie

    for what, site in (("a run without the site itself", "a"), ("a run with one site less", "c")):
        world = audited()
        with attack(what, "other-approvals"):
            asked(world, coordinator(world, tmp_path / what, without(site, world)), world.course.start())


def test_the_sites_of_a_round_are_those_that_the_seed_draws(attack: Attack, tmp_path: Path) -> None:
    world = audited(fraction=0.8)
    course, start = world.course, world.course.start()
    draws = [course.cohort(replace(start, round=number)) for number in range(5)]
    other = next(draw for draw in draws if draw != draws[0] and "a" in draw)
    with attack("the first round's question to the sites of another", "other-cohort"):
        coordinator(world, tmp_path / "another").total(course.request(start), other, 1.0)
        raise_refusals(world)
    undrawn = tuple(name for name in FIVE if name != next(iter(set(FIVE) - set(draws[0]))))
    world = audited(fraction=0.8, rounds=1)
    if undrawn not in draws[:1]:
        with attack("a round of sites that no round draws", "other-cohort"):
            coordinator(world, tmp_path / "undrawn").total(course.request(start), undrawn, 1.0)
            raise_refusals(world)


def test_who_comes_late_believes_no_model_that_it_is_told(attack: Attack, tmp_path: Path) -> None:
    for what, number, cause in (
        ("a crafted model to begin at", 0, "model-does-not-follow"),
        ("a crafted model late in the run", 3, "missing-transcript"),
    ):
        world = audited()
        place = replace(one_weight(world.course.start()), round=number)
        with attack(what, cause):
            asked(world, coordinator(world, tmp_path / what), place)
        assert nothing_was_sent(world, 0, "train")


@pytest.mark.parametrize("model", ["cnn", "svm"])
def test_nothing_of_this_is_refused_of_an_honest_coordinator(model: str, tmp_path: Path) -> None:
    told = config(model, rounds=4, local=SGD, select="last", simulate={"auditors": 5})
    world = World(told)
    last = world.run(world.secure(transcripts=Transcripts(tmp_path)))
    assert not any(r.void for r in last.records)
    assert same_bits(last.best, world.course.algorithm.weights(last.state)) or model == "cnn"

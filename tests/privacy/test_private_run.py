"""A whole run under a budget, masked: what is asked, what leaves, what it costs, and who may ask again."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import chi2

from common.algorithms import RoundTotal
from common.algorithms.course import VOID
from common.algorithms.private_head import PrivateHead
from common.config import Config
from common.errors import PolicyError
from common.messages.transport import Answer, Reply, Request
from common.privacy.price_list import GRID
from common.refusals import RefusedError
from common.types import Tensors, under
from server.results import privacy_figures
from server.rounds import loop
from server.rounds.transcripts import Transcripts
from tests.privacy.private_world import PrivateWorld, private_config

Change = dict[str, Any]


@pytest.fixture(scope="module")
def finished() -> tuple[PrivateWorld, loop.LoopState]:
    world = PrivateWorld(private_config())
    return world, world.run(world.secure())


def test_every_question_is_asked_once_and_paid_for_to_the_last_of_the_budget(
    finished: tuple[PrivateWorld, loop.LoopState],
) -> None:
    world, end = finished
    assert len(end.records) == 22
    assert not any(record.void for record in end.records)
    for account in world.accounts.values():
        assert [entry.question for entry in account.entries] == [price.question for price in world.schedule.prices]
        assert account.cost("training") == pytest.approx(3.0)
        assert account.cost("validation") == pytest.approx(3.0)


def test_nothing_that_leaves_tells_how_many_cases_a_site_has(
    finished: tuple[PrivateWorld, loop.LoopState],
) -> None:
    world, _ = finished
    for kind, question in world.work.question_kinds(5).items():
        assert kind.startswith("noised-")
        assert not {"n", "weight"} & {segment.name for segment in question.layout.segments}


def test_without_noise_and_at_a_huge_budget_the_same_questions_give_the_same_model() -> None:
    world = PrivateWorld(private_config(epsilon=100.0), dict.fromkeys("abcde", 600))
    course = world.work.course
    assert isinstance(course.algorithm, PrivateHead)
    exact = replace(course, algorithm=replace(course.algorithm, noise=False))
    *_, silent = loop.run(exact, world.plain())
    noised = world.run(world.secure())
    one, other = (np.append(end.best["alpha"], end.best["intercept"]) for end in (silent, noised))
    assert float(one @ other) / math.sqrt(float(one @ one) * float(other @ other)) > 0.95


def test_the_noise_in_a_sum_is_as_wide_as_the_plan_says_whoever_drops_out() -> None:
    """One right run in 10^6 fails here: each sum has a hundred numbers and more, of known variance."""
    for silent in ((), ("b",)):
        world = PrivateWorld(private_config())

        def away(name: str, answer: Answer, silent: tuple[str, ...] = silent) -> Answer:
            def listen(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
                if name in silent and request.kind == "secagg/submit":
                    raise PolicyError("over-budget", "is away")
                return answer(request, state)

            return listen

        for name in silent:
            del world.parts[name]
        course, aggregator = world.work.course, world.secure(away)
        place = loop.begin(course, aggregator).place
        survivors = 5 - len(silent)
        for kind in ("mean", "gram"):
            total = loop.ask(course, aggregator, place)
            assert len(total.sites) == survivors
            exact = world.exact(kind, under("weights", course.request(place).tensors))[kind]
            apart = (total.sums[kind] - exact).ravel()
            price = world.schedule.of_kind(kind)
            expected = survivors * price.sigma**2 / (world.schedule.quorum - world.schedule.colluders)
            statistic = float((apart**2).sum()) / (expected + survivors * GRID**2 / 12)
            assert chi2.isf(1 - 1e-7, len(apart)) < statistic < chi2.isf(1e-7, len(apart)), (kind, silent)
            # After what one curious site knows of its own is taken off, there is still all that was promised.
            assert (survivors - 1) * expected / survivors >= price.sigma**2 * (1 - 1e-12)
            place = course.after(place, total)


def test_sites_that_audit_follow_a_run_with_noise(tmp_path: Path) -> None:
    world = PrivateWorld(private_config(simulate={"auditors": 5}))
    end = world.run(world.secure(transcripts=Transcripts(tmp_path)))
    assert not any(record.refused or record.void for record in end.records)


def test_a_question_that_was_answered_is_not_answered_again_with_fresh_noise() -> None:
    world = PrivateWorld(private_config(simulate={"auditors": 5}))
    course, aggregator = world.work.course, world.secure()
    place = loop.begin(course, aggregator).place
    assert loop.ask(course, aggregator, place).sums
    again = loop.ask(course, aggregator, place)
    assert not again.sums
    assert set(again.refused.values()) <= {"replayed-number", "missing-transcript"}
    assert len(again.refused) == 5
    assert all(len(account.entries) == 1 for account in world.accounts.values())


def test_a_site_whose_account_is_full_drops_out_with_its_reason_and_the_others_go_on() -> None:
    world = PrivateWorld(private_config())
    for price in world.schedule.prices[:3]:
        world.accounts["c"].spend(price)
    end = world.run(world.secure())
    refusing = [record for record in end.records if record.refused]
    assert {code for record in refusing for code in record.refused.values()} == {"over-budget"}
    assert all(set(record.refused) == {"c"} for record in refusing)
    assert end.best_round == 21
    assert world.accounts["c"].cost("training") <= 3.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"likeness": True}, "likeness: how images look is not gathered under a budget"),
        ({"initial": "ab" * 32}, "initial: with privacy a run begins at zero"),
        ({"model": {"class_weight": "balanced"}}, "nobody counts the cases of a class"),
    ],
)
def test_what_a_budget_has_no_price_for_is_refused_before_there_is_a_plan(change: Change, message: str) -> None:
    tree = private_config().model_dump(exclude_unset=True)
    model = {**tree["model"], **change.get("model", {})}
    with pytest.raises(ValidationError, match=message):
        Config.model_validate({**tree, **change, "model": model})


def test_a_site_without_an_account_answers_nothing_that_costs() -> None:
    world = PrivateWorld(private_config())
    for secured in world.secured.values():
        secured.account = None
    total = loop.ask(world.work.course, world.secure(), world.work.course.start())
    assert not total.sums
    assert set(total.refused.values()) == {"no-account"}


def test_without_second_moments_that_too_few_answered_the_gradients_are_gone_along_as_they_are() -> None:
    world = PrivateWorld(private_config(epsilon=100.0), dict.fromkeys("abcde", 600))
    course, five = world.work.course, tuple("abcde")
    place, losses = course.start(), list[float]()
    while not course.algorithm.finished(place.state):
        kind, weights = course.request(place).kind, under("weights", course.request(place).tensors)
        sums = world.exact(kind.removeprefix("noised-"), weights)
        if kind == "noised-gradient":
            losses.append(float(np.linalg.norm(sums["gradient"])))
        place = course.after(place, VOID if kind == "noised-gram" else RoundTotal(sums, five, ()))
    assert len(losses) == 20
    assert losses[-1] < 0.6 * losses[0]


def test_a_mean_that_was_lost_is_asked_once_more_from_what_the_second_moments_would_have_cost(tmp_path: Path) -> None:
    world = PrivateWorld(private_config(epsilon=100.0, simulate={"auditors": 5}), dict.fromkeys("abcde", 600))

    def lost_on_the_way(name: str, answer: Answer) -> Answer:
        def listen(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            reply = answer(request, state)
            if name in "ab" and request.kind == "secagg/submit" and request.round == 0:
                raise PolicyError("cannot-read", "its answer, which was paid for, came to nothing")
            return reply

        return listen

    end = world.run(world.secure(lost_on_the_way, Transcripts(tmp_path)))
    for account in world.accounts.values():
        asked = [entry.question for entry in account.entries]
        assert asked == ["mean/0", "mean/1", *(f"gradient/{i}" for i in range(2, 22)), "outcomes/21"]
        assert 0 < account.cost("training") < 100.0
    assert [record.round for record in end.records if record.void] == [0]
    assert not any(record.refused for record in end.records[1:])
    assert end.best_counts
    told = privacy_figures.of_run(world.schedule, [asdict(record) for record in end.records], "memory")
    assert told["spent"]["training"] == pytest.approx(world.accounts["a"].cost("training"))
    assert [price["question"] for price in told["questions"]][:2] == ["mean/0", "mean/1"]


def test_a_gradient_that_nobody_answered_is_left_out_and_a_mean_lost_twice_ends_the_run() -> None:
    world = PrivateWorld(private_config())
    course = world.work.course
    start = course.start()
    once = course.after(start, VOID)
    assert not course.algorithm.finished(once.state)
    assert course.request(once).kind == "noised-mean"
    assert course.algorithm.finished(course.after(once, VOID).state)
    place = start
    for kind in ("mean", "gram"):
        sums = world.exact(kind, under("weights", course.request(place).tensors))
        place = course.after(place, RoundTotal(sums, ("a", "b", "c", "d"), ("e",)))
    after = course.after(place, VOID)
    assert np.array_equal(after.state["point"], place.state["point"])
    assert course.request(after).round == place.round + 1
    assert not course.algorithm.finished(after.state)


def test_a_run_of_which_no_question_was_answered_has_failed() -> None:
    world = PrivateWorld(private_config())
    assert world.work.course.counts(VOID) == {}
    for secured in world.secured.values():
        secured.account = None
    with pytest.raises(RefusedError, match="no-account"):
        world.run(world.secure())

"""Choosing the best round and stopping early: by the summed validation counts, alike in whoever follows the run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.algorithms.course import Course, Place
from common.algorithms.solver import RoundTotal
from common.types import under
from server.rounds import checkpoint, loop
from server.rounds.loop import LoopState
from server.rounds.transcripts import Transcripts
from tests.rounds.world import SGD, World, config, same_bits

HASTY = SGD.model_copy(update={"learning_rate": 0.6, "steps": 4})
"""Steps so long that the loss soon rises."""
TOLD: dict[str, Any] = {"rounds": 14, "patience": 2, "local": HASTY, "clip": 8.0}


@pytest.fixture(scope="module")
def plain() -> LoopState:
    """The run without secure aggregation."""
    world = World(config(**TOLD))
    return world.run(world.plain())


def test_a_run_stops_when_no_evaluation_was_better_for_as_long_as_patience_says(plain: LoopState) -> None:
    losses = [record.validation["loss"] for record in plain.records]
    assert losses[plain.best_round] == min(losses)  # type: ignore[type-var]
    assert len(losses) == plain.best_round + 1 + 2 < 14


def test_under_masks_it_stops_at_the_same_round_with_the_same_choice(plain: LoopState) -> None:
    world = World(config(**TOLD))
    last = world.run(world.secure())
    assert (len(last.records), last.best_round) == (len(plain.records), plain.best_round)


def test_a_run_resumed_after_every_round_stops_at_the_same_round(plain: LoopState, tmp_path: Path) -> None:
    standing, rounds = None, 0
    while True:  # a new process, as it were, for every round
        world = World(config(**TOLD))
        if found := checkpoint.load(tmp_path / "c", tuple(world.parts), "digest"):
            standing = found[0]
        if standing and world.course.over(standing.place):
            break
        standing = next(loop.run(world.course, world.plain(), standing))
        checkpoint.save(tmp_path / "c", standing, {}, "digest")
        rounds += 1
    assert (rounds, standing.best_round) == (len(plain.records), plain.best_round)
    assert same_bits(standing.best, plain.best)


def test_a_site_that_audits_counts_along_and_answers_no_more_once_patience_is_over(
    tmp_path: Path,
) -> None:
    told = config(**TOLD | {"simulate": {"auditors": 1}})
    world = World(told)
    last = world.run(aggregator := world.secure(transcripts=Transcripts(tmp_path / "transcripts")))
    own = Place.of(under("lineage/place", aggregator.transport.states["a"]))
    assert (own.round, own.since) == (last.round, 2)
    impatient = replace(world.course, plan=told.federation.model_copy(update={"patience": None}))
    assert not impatient.over(last.place)
    assert loop.run_round(impatient, aggregator, last).records[-1].refused == {"a": "run-is-over"}


@pytest.mark.parametrize(
    ("select", "figures", "since"),
    [
        ("loss", [(0.9, 0.5), (0.8, 0.5), (0.8, 0.9), (0.7, 0.1)], [0, 0, 1, 0]),
        ("auc", [(0.9, 0.5), (0.8, 0.5), (0.8, 0.9), (0.7, 0.1)], [0, 1, 0, 1]),
        ("auc", [(0.9, 0.5, 0.7), (0.8, 0.9, 0.6), (0.8, 0.4, 0.8)], [0, 1, 0]),  # that of the sites' own is the one
        ("last", [(0.1, 0.9), (0.8, 0.5), (0.9, 0.1)], [0, 0, 0]),
        ("loss", [(0.2, None), (0.9, None)], [0, 0]),
    ],
)
def test_the_best_is_told_by_the_figure_that_the_plan_selects_by(
    select: str, figures: list[tuple[float | None, ...]], since: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    course: Course = World(config(rounds=9, select=select, local=SGD)).course
    place, found = replace(course.start(), asks="evaluate"), []
    for loss, auc, *within in figures:
        told = {"n": 1.0, "loss": loss, "accuracy": 0.0, "auc": auc, "auc_within": within[0] if within else None}
        monkeypatch.setattr("common.metrics.performance.summary_of_counts", lambda _, told=told: told)
        place = replace(course.after(place, RoundTotal({"n": np.ones(1)}, ("a",), ())), asks="evaluate")
        found.append(place.since)
    assert found == since
    assert course.after(place, RoundTotal({}, (), ())).since == since[-1]  # one that came to nothing does not count

"""The round loop: ask the sites, add what they answer, step, evaluate, keep the best. Read this first.

    request = course.request(place)               what the sites are to compute
    total   = aggregator.total(request, …)        only the sum over the sites comes back
    place   = course.after(place, total)          the next model, and what comes next

What is asked follows from the sums alone (`common.algorithms.course`), so that a site can check it. The aggregator
(`gathering`, `secure`) is the one place where what single sites send is seen: masked, as a rule.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from common.algorithms import State, Total
from common.algorithms.course import Course, Place
from common.errors import QuorumError
from common.metrics import performance
from common.types import Tensors
from server.rounds.aggregation import Aggregator


@dataclass(frozen=True)
class RoundRecord:
    """What is remembered of a round."""

    round: int
    seconds: float
    bytes_up: int
    """From all sites together."""
    bytes_down: int
    sites: tuple[str, ...]
    dropped: tuple[str, ...]
    void: bool
    """Too few answered, or the sum could not be used: the model is as it was."""
    train_loss: float | None = None
    validation: dict[str, float | None] = field(default_factory=dict)
    """n, loss, accuracy, auc over the summed counts; empty where the round was not evaluated."""


@dataclass(frozen=True)
class TrainingState:
    """Where a run stands after a round: all that a resume needs."""

    place: Place
    """Before the next round."""
    best: Tensors
    best_round: int
    best_counts: Tensors
    """Summed validation counts of the best model."""
    records: tuple[RoundRecord, ...]

    @property
    def round(self) -> int:
        """The next round's number."""
        return self.place.round

    @property
    def state(self) -> State:
        """The algorithm's."""
        return self.place.state

    @property
    def recipe(self) -> Tensors:
        """Federated mean and variance, where the recipe has them."""
        return self.place.recipe

    def header(self) -> dict[str, Any]:
        """The part that is not arrays."""
        return {"round": self.round, "best_round": self.best_round, "records": [asdict(r) for r in self.records]}


def begin(course: Course, aggregator: Aggregator) -> TrainingState:
    """Before the first round; where the recipe needs the federated mean and variance, the sites are asked for them.

    Raises:
        QuorumError: if too few sites answered each time they were asked.
    """
    place = course.start()
    while place.asks == "statistics":
        total = ask(course, aggregator, place)
        place = course.after(place, total)
        if course.over(place):
            raise QuorumError(
                f"{len(total.sites)} of {len(course.sites)} sites answered, expected at least {course.plan.quorum} "
                f"(federation.quorum; with federation.secure more than two thirds). Silent: {', '.join(total.dropped)}."
            )
    return TrainingState(place, course.algorithm.weights(place.state), -1, {}, ())


def ask(course: Course, aggregator: Aggregator, place: Place) -> Total:
    """Ask what comes next."""
    return aggregator.total(course.request(place), course.cohort(place), course.plan.timeout_s, place)


def run(course: Course, aggregator: Aggregator, standing: TrainingState | None = None) -> Iterator[TrainingState]:
    """All rounds of a run, one standing after each; begin anew, or from the standing given.

    Raises:
        QuorumError: if no round at all had enough answers.
    """
    standing = standing or begin(course, aggregator)
    while not course.over(standing.place):
        standing = run_round(course, aggregator, standing)
        yield standing
    refuse_untrained(course, standing)


def refuse_untrained(course: Course, standing: TrainingState) -> None:
    """A run in which nothing was trained has failed.

    Raises:
        QuorumError: saying what the rounds lacked.
    """
    if standing.best_round < 0:
        void, sites = sum(r.void for r in standing.records), len(course.sites)
        raise QuorumError(
            f"nothing was trained: {void} of {len(standing.records)} rounds did not have the answers they need (quorum "
            f"{course.plan.quorum} of {sites} sites, secure sums more than two thirds, the SVM all). "
            "See which sites dropped in the log; give more rounds, or lower federation.quorum."
        )


def run_round(course: Course, aggregator: Aggregator, standing: TrainingState) -> TrainingState:
    """One round: train, step, evaluate, remember."""
    started, before = time.monotonic(), standing.place
    total = ask(course, aggregator, before)
    up, down, place = total.bytes_up, total.bytes_down, course.after(before, total)
    moved, counts = course.moved(before, place), dict[str, np.ndarray]()
    if place.asks == "evaluate":
        outcome = ask(course, aggregator, place)
        counts, up, down = dict(outcome.sums), up + outcome.bytes_up, down + outcome.bytes_down
        place = course.after(place, outcome)
    record = RoundRecord(
        round=before.round,
        seconds=time.monotonic() - started,
        bytes_up=up,
        bytes_down=down,
        sites=total.sites,
        dropped=total.dropped,
        void=not moved and (bool(total.dropped) or not total.sums),
        train_loss=_train_loss(total),
        validation=performance.summary_of_counts(counts) if counts else {},
    )
    after = replace(standing, place=place, records=(*standing.records, record))
    if counts and place.since == 0:
        best = course.algorithm.weights(place.state)
        return replace(after, best=best, best_round=record.round, best_counts=counts)
    return after


def _train_loss(total: Total) -> float | None:
    examples = float(total.sums["examples"][0]) if "examples" in total.sums else 0.0
    return float(total.sums["loss_sum"][0]) / examples if examples else None

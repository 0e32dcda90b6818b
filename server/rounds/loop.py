"""The round loop: ask the sites, add what they answer, step, evaluate, keep the best. Read this first.

    request = course.request(place)               what the sites are to compute
    total   = aggregator.total(request, …)        only the sum over the sites comes back
    place   = course.after(place, total)          the next model, and what comes next

Who knows fedjax knows this loop: `course.algorithm` is a FederatedAlgorithm whose `apply` is cut in two, since between
its client and its server half lies a network. The client half runs at the sites; the server half sees the sum over the
clients, never a client's own update. FedAvg needs no more than that: with n_k cases at site k and its update Δ_k,

    w ← w + Σ n_k·Δ_k / Σ n_k            both sums are what the aggregator returns (McMahan et al., AISTATS 2017)

What is asked follows from the sums alone (`common.algorithms.course`), so that a site can check it: from the same sums
it computes the same next question. The aggregator (`aggregation`, `secure_sum`) is the one place where what single
sites send is seen: masked, as a rule.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from common.algorithms import RoundTotal, State
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
class LoopState:
    """Where the round loop stands after a round: all that a resume needs."""

    place: Place
    """Before the next round."""
    best: Tensors
    """Weights of the best model so far."""
    best_round: int
    """Its round; -1 before any is trained."""
    best_counts: Tensors
    """Summed validation counts of the best model."""
    records: tuple[RoundRecord, ...]

    @property
    def round(self) -> int:
        """The next round's number."""
        return self.place.round

    @property
    def state(self) -> State:
        """The algorithm's state: weights, and what its optimiser carries from round to round."""
        return self.place.state

    @property
    def normalisation(self) -> Tensors:
        """Federated mean and variance, where the preprocessing needs them."""
        return self.place.normalisation

    def header(self) -> dict[str, Any]:
        """The part that is not arrays."""
        records = [asdict(r) for r in self.records]
        return {"asks": self.place.asks, "round": self.round, "best_round": self.best_round, "records": records}


def begin(course: Course, aggregator: Aggregator) -> LoopState:
    """Before the first round; where the preprocessing needs federated mean and variance, the sites are asked for them.

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
                f"(federation.quorum; with federation.secure more than two thirds). "
                f"Silent: {', '.join(total.dropouts)}."
            )
    return LoopState(place, course.algorithm.weights(place.state), -1, {}, ())


def ask(course: Course, aggregator: Aggregator, place: Place) -> RoundTotal:
    """Ask the question that comes next."""
    return aggregator.total(course.request(place), course.cohort(place), course.plan.timeout_s, place)


def run(course: Course, aggregator: Aggregator, state: LoopState | None = None) -> Iterator[LoopState]:
    """All rounds of a run, the state after each; begins at the start, or goes on from the state given.

    Raises:
        QuorumError: if no round at all had enough answers.
    """
    state = state or begin(course, aggregator)
    while not course.over(state.place):
        state = run_round(course, aggregator, state)
        yield state
    refuse_untrained(course, state)


def refuse_untrained(course: Course, state: LoopState) -> None:
    """A run in which nothing was trained has failed.

    Raises:
        QuorumError: saying what was missing in the rounds.
    """
    if state.best_round < 0:
        void, sites = sum(r.void for r in state.records), len(course.sites)
        raise QuorumError(
            f"nothing was trained: {void} of {len(state.records)} rounds did not have the answers they need (quorum "
            f"{course.plan.quorum} of {sites} sites, secure sums more than two thirds, the SVM all). "
            "See which sites dropped in the log; give more rounds, or lower federation.quorum."
        )


def run_round(course: Course, aggregator: Aggregator, state: LoopState) -> LoopState:
    """One round: all its questions, one or two to train and step by, one to evaluate; then remember."""
    started_s, before, place = time.monotonic(), state.place, state.place
    work: list[RoundTotal] = []
    counts: Tensors = {}
    bytes_up = bytes_down = 0
    while place.round == before.round:
        total = ask(course, aggregator, place)
        bytes_up, bytes_down = bytes_up + total.bytes_up, bytes_down + total.bytes_down
        if place.asks == "evaluate":
            counts = dict(total.sums)
        else:
            work.append(total)
        place = course.after(place, total)
    dropped = sorted({site for total in work for site in total.dropouts})
    record = RoundRecord(
        round=before.round,
        seconds=time.monotonic() - started_s,
        bytes_up=bytes_up,
        bytes_down=bytes_down,
        sites=tuple(site for site in work[0].sites if site not in dropped),
        dropped=tuple(dropped),
        # A model that stays as it was although all answered has converged: that round is not void.
        void=not course.moved(before, place) and (bool(dropped) or not all(total.sums for total in work)),
        train_loss=_train_loss(work[0]),
        validation=performance.summary_of_counts(counts) if counts else {},
    )
    after = replace(state, place=place, records=(*state.records, record))
    if counts and place.since == 0:  # no evaluation has come after the best one: this is it
        best = course.algorithm.weights(place.state)
        return replace(after, best=best, best_round=record.round, best_counts=counts)
    return after


def _train_loss(total: RoundTotal) -> float | None:
    examples = float(total.sums["examples"][0]) if "examples" in total.sums else 0.0
    return float(total.sums["loss_sum"][0]) / examples if examples else None

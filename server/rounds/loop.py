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

from common import refusals
from common.algorithms import RoundTotal, State
from common.algorithms.course import DISTANCES, Course, Place
from common.errors import QuorumError
from common.messages import answer_layout
from common.refusals import RefusedError, final
from common.types import Tensors
from server.rounds.aggregation import Aggregator
from server.rounds.round_record import RoundRecord


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
    statistics: RoundRecord | None = None
    """What came of the question before the first round, where there was one."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Why the run ended before its rounds: codes of sites that would refuse for good; empty where it did not."""

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
        return {
            "asks": self.place.asks,
            "round": self.round,
            "best_round": self.best_round,
            "records": [asdict(r) for r in self.records],
            "statistics": asdict(self.statistics) if self.statistics else None,
            "refused": self.refusals,
        }


def begin(course: Course, aggregator: Aggregator) -> LoopState:
    """Before the first round; where the preprocessing needs federated mean and variance, the sites are asked for them.

    Raises:
        QuorumError: if too few sites answered each time they were asked.
    """
    place, record = course.start(), None
    while place.asks == "statistics":
        before, started_s = place, time.monotonic()
        total = ask(course, aggregator, before)
        place = course.after(before, total)
        record = _record(before, total, started_s, void=not total.sums)
        if codes := refused_for_good(course, before, total):
            place = course.without_statistics(before)
        if course.over(place):
            if codes:
                raise RefusedError(codes, len(course.sites))
            raise QuorumError(
                f"{len(total.sites)} of {len(course.sites)} sites answered, expected at least {course.plan.quorum} "
                f"(federation.quorum; with federation.secure more than two thirds). {_absent(course, record)}"
            )
    return LoopState(place, course.algorithm.weights(place.state), -1, {}, (), record)


def ask(course: Course, aggregator: Aggregator, place: Place) -> RoundTotal:
    """Ask the question that comes next."""
    return aggregator.total(course.request(place), course.cohort(place), course.plan.timeout_s)


def run(course: Course, aggregator: Aggregator, state: LoopState | None = None) -> Iterator[LoopState]:
    """All rounds of a run, the state after each; begins at the start, or goes on from the state given.

    Raises:
        QuorumError: if no round at all had enough answers.
    """
    state = state or begin(course, aggregator)
    while not is_over(course, state):
        state = run_round(course, aggregator, state)
        if is_over(course, state):
            aggregator.finish(course.plan.timeout_s)
        yield state
    refuse_untrained(course, state)


def is_over(course: Course, state: LoopState) -> bool:
    """The run has come to its end, or so many sites refuse for good that no sum comes about any more."""
    return bool(state.refusals) or course.over(state.place)


def refuse_untrained(course: Course, state: LoopState) -> None:
    """A run in which nothing was trained has failed.

    Raises:
        QuorumError: saying what was missing in the rounds.
    """
    if state.best_round >= 0:
        return
    if state.refusals:
        raise RefusedError(state.refusals, len(course.sites))
    void, sites = sum(r.void for r in state.records), len(course.sites)
    remedy = "give more rounds, or lower federation.quorum."
    if course.algorithm.asks_once:
        remedy = "what they answered is paid for; a new plan asks anew."
    raise QuorumError(
        f"nothing was trained: {void} of {len(state.records)} rounds did not have the answers they need (quorum "
        f"{course.plan.quorum} of {sites} sites, secure sums more than two thirds, the SVM all). "
        f"{_absent(course, state.records[-1]) if state.records else ''} "
        f"Mend what keeps these sites away; {remedy}"
    )


def refused_for_good(course: Course, place: Place, total: RoundTotal) -> dict[str, str]:
    """Codes of the sites that refused this question and would refuse what comes next, if without them no sum comes
    about; empty where the run can go on."""
    if total.sums:
        return {}
    following = course.after(place, total)
    same_again = not course.over(following) and _question(course, place) == _question(course, following)
    codes, sites = final(total.refused, same_again=same_again), len(course.sites)
    return codes if len(codes) > sites - course.least else {}


def _question(course: Course, place: Place) -> bytes:
    return answer_layout.question(course.request(place))


def _absent(course: Course, record: RoundRecord) -> str:
    """Who gave nothing, and why, in a sentence or two."""
    refusal = refusals.sentence(record.refused, len(course.sites))
    silent = f"Silent: {', '.join(record.dropped)}" if record.dropped else ""
    texts = [refusal, refusals.advice(record.refused.values()).rstrip("."), silent]
    return " ".join(f"{text}." for text in texts if text)


def _record(place: Place, total: RoundTotal, started_s: float, *, void: bool) -> RoundRecord:
    """What is remembered of one question."""
    return RoundRecord(
        round=place.round, seconds=time.monotonic() - started_s, bytes_up=total.bytes_up, bytes_down=total.bytes_down,
        sites=total.sites, dropped=total.dropouts, void=void, refused=dict(total.refused),
    )  # fmt: skip


def run_round(course: Course, aggregator: Aggregator, state: LoopState) -> LoopState:
    """One round: all its questions, one or two to train and step by, one to evaluate; then remember."""
    started_s, before, place = time.monotonic(), state.place, state.place
    work: list[RoundTotal] = []
    counts: Tensors = {}
    judges: tuple[str, ...] = ()
    codes, unjudged = dict[str, str](), dict[str, str]()
    bytes_up = bytes_down = 0
    while place.round == before.round:
        question_place, total = place, ask(course, aggregator, place)
        bytes_up, bytes_down = bytes_up + total.bytes_up, bytes_down + total.bytes_down
        codes = codes or refused_for_good(course, question_place, total)  # what was refused first says why
        place = course.after(question_place, total)
        if question_place.asks == "evaluate":
            counts, unjudged = dict(course.counts(total)), dict(total.refused)
            judges = total.sites if total.sums else ()
        else:
            work.append(total)
    absent = {site for total in work for site in (*total.dropouts, *total.refused)}
    refusing = {site: code for total in work for site, code in total.refused.items()}
    record = RoundRecord(
        round=before.round,
        seconds=time.monotonic() - started_s,
        bytes_up=bytes_up,
        bytes_down=bytes_down,
        sites=tuple(site for site in work[0].sites if site not in absent),
        dropped=tuple(sorted(absent - set(refusing))),
        void=_is_void(course, before, place, is_summed=all(total.sums for total in work), is_whole=not absent),
        train_loss=_train_loss(work[0]),
        validation=course.figures(counts) | course.setting(place) if counts else {},
        refused=refusing,
        unjudged=unjudged,
        judges=judges,
    )
    after = replace(state, place=place, records=(*state.records, record), refusals=codes)
    if counts and DISTANCES in place.appearance:  # asked once, for all models
        counts = {**counts, DISTANCES: place.appearance[DISTANCES]}
    if counts and place.since == 0:  # no evaluation has come after the best one: this is it
        best = course.algorithm.weights(place.state)
        return replace(after, best=best, best_round=record.round, best_counts=counts)
    return after


def _is_void(course: Course, before: Place, place: Place, *, is_summed: bool, is_whole: bool) -> bool:
    """Whether nothing came of a round. A model that stays as it was although all answered has converged: that is none;
    of questions that are asked once some leave the model as it is."""
    if course.algorithm.asks_once:
        return not is_summed
    return not course.moved(before, place) and not (is_whole and is_summed)


def _train_loss(total: RoundTotal) -> float | None:
    examples = float(total.sums["examples"][0]) if "examples" in total.sums else 0.0
    return float(total.sums["loss_sum"][0]) / examples if examples else None

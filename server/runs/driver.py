"""Carries out one run from beginning to end, or the rest of one: what Flower's ServerApp does, without Flower.

Whatever kills the process, the next one goes on from the checkpoint: every round that was written stays as it is.
"""

import errno
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from common import refusals
from common.errors import ConsiliumError, RunError
from common.messages.transport import Transport
from common.metrics import performance
from common.plans import carry
from common.plans.run_work import RunWork
from common.privacy.price_list import Schedule
from common.refusals import RefusedError
from common.storage import tensorfile
from common.storage.files import write_json
from common.trust.release import VERSION, code_digest
from common.types import prefixed
from server.report import participation, report_file
from server.results import outcome_counts, privacy_figures, result_json
from server.rounds import checkpoint, loop
from server.rounds.loop import LoopState
from server.rounds.secure_sum import SecureSum
from server.rounds.transcripts import Transcripts
from server.runs import run_refusals
from server.runs.run import Run

log = logging.getLogger("consilium")

LOOK_EVERY_S = 0.5
FULL_DISK_S = 5.0
LONGEST_PAUSE_S = 60.0


class ConnectedTransport(Transport, Protocol):
    """A transport that knows who is there."""

    def online(self) -> tuple[str, ...]:
        """Sites that are connected."""
        ...


Workload = Callable[[Run, ConnectedTransport], Callable[[], object]]
"""All rounds that are left of a run: `train`, or `server.evaluation.evaluate`; returns what writes the result."""


def train(run: Run, transport: ConnectedTransport) -> Callable[[], object]:
    """Carry out a training's rounds; returns what writes the result."""
    outcome = _rounds(run, transport)
    return lambda: _write_result(run, outcome)


def carry_out(run: Run, transport: ConnectedTransport, workload: Workload = train) -> None:
    """All that is left of a run. What goes wrong for good is written into the run's state, with the reason.

    Raises:
        Exception: for a defect of ours; the scheduler starts the run again.
    """
    try:
        _refuse_other_code(run)
        until_there_is_room(lambda: run.home.log.record("run", "begun", plan=run.name))
        until_there_is_room(workload(run, transport))
    except ConsiliumError as error:
        reason = error.explained(run_refusals.words(run)) if isinstance(error, RefusedError) else str(error)
        log.error("run %s failed: %s", run.name, reason)
        until_there_is_room(lambda: run.end("failed", reason))
    else:
        until_there_is_room(lambda: run.end("finished"))


def _refuse_other_code(run: Run) -> None:
    """A coordinator that was brought to another release in the middle of a run would not understand its sites.

    Raises:
        RunError: with both releases.
    """
    content = run.approvals.plan.content
    if content.code != code_digest():
        raise RunError(
            f"run {run.name} cannot be continued: it is for release {content.release}, code {content.code[:12]}…; "
            f"installed here is {VERSION}, {code_digest()[:12]}…, which decides numbers otherwise. Bring the "
            "coordinator back to a release that works with that one, or draw up the plan again: docs/upgrade.md"
        )


@dataclass(frozen=True)
class TrainingOutcome:
    """What came out of a training."""

    state: LoopState
    sites: tuple[str, ...]
    schedule: Schedule | None
    """Its questions with their prices, where it has a budget of privacy."""


def _rounds(run: Run, transport: ConnectedTransport) -> TrainingOutcome:
    sums = run.carried_sums
    work = RunWork.of(run.approvals, sums)
    aggregator = SecureSum(
        transport, run.home.consortium, run.approvals, work.question_kinds,
        attachments=prefixed(carry.NAME, sums),
        transcripts=Transcripts(run.folder / "transcripts", retry=until_there_is_room),
        current_consortium=lambda: run.home.consortium,
    )  # fmt: skip
    course = work.course
    # A sum over all of its sites has no use for a round that lacks one, and rounds are few: they are all waited for.
    quorum = len(transport.sites()) if course.algorithm.cohort_must_be_whole else run.quorum
    path = run.folder / "federated.checkpoint"

    def save(state: LoopState) -> LoopState:
        until_there_is_room(lambda: checkpoint.save(path, state, {}, run.plan.digest))
        until_there_is_room(lambda: run.keep_summed(course.to_carry(state.place)))
        until_there_is_room(lambda: run.remember(state.records))
        return state

    if saved := checkpoint.load(path, transport.sites(), run.plan.digest):
        state = saved[0]
    else:
        run.forget_rounds()
        wait_for_quorum(run, transport, quorum)
        state = loop.begin(course, aggregator)
    if run.last_round == state.round and not loop.is_over(course, state):
        log.warning("round %d was begun when the coordinator ended; nothing is trained in it again", state.round)
        aggregator.lost_round = state.round
    state = save(state)  # what was asked before the first round would not be answered again
    while not loop.is_over(course, state):
        _pause(state)
        wait_for_quorum(run, transport, quorum)
        until_there_is_room(lambda number=state.round: run.begin_round(number))  # type: ignore[misc]
        state = save(loop.run_round(course, aggregator, state))
    aggregator.finish(course.plan.timeout_s)
    loop.refuse_untrained(course, state)
    return TrainingOutcome(state, transport.sites(), course.schedule)


def wait_for_quorum(run: Run, transport: ConnectedTransport, quorum: int) -> None:
    """Wait for as many sites as a round needs: rounds are not used up while nobody is there."""
    announced: list[str] = []
    while missing := sorted(set(transport.sites()) - set(online := transport.online())):
        if len(online) >= quorum:
            return
        if missing != announced:
            log.warning("%d of %d sites connected, %d needed; waiting for %s", len(online), len(transport.sites()),
                        quorum, ", ".join(missing))  # fmt: skip
            run.write_missing(missing)
            announced = missing
        time.sleep(LOOK_EVERY_S)


def _pause(state: LoopState) -> None:
    """After void rounds, longer and longer: what is wrong at the sites takes people to mend, and rounds are few."""
    void = next((i for i, r in enumerate(reversed(state.records)) if not r.void), len(state.records))
    if void:
        time.sleep(min(2.0 ** (void - 1), LONGEST_PAUSE_S))


def until_there_is_room(write: Callable[[], object]) -> None:
    """A full disk stops the run until somebody makes room, and loses nothing."""
    is_announced = False
    while True:
        try:
            write()
            return
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if not is_announced:
                log.error("the disk is full: %s. Make room; the run goes on by itself.", error.filename)
                is_announced = True
            time.sleep(FULL_DISK_S)


def _write_result(run: Run, outcome: TrainingOutcome) -> None:
    plan, state = run.plan.content, outcome.state
    parts = participation.of_rounds(outcome.sites, rounds := run.rounds(), state.best_round)
    trainers = participation.trainers(parts)
    threshold = performance.operating_point(state.best_counts, plan.training.operating_point)
    validation = state.best_counts and outcome_counts.of_sum(state.best_counts, threshold, plan.training.metrics)
    strength = result_json.kept_strength(rounds, state.best_round)
    model = plan.training.model_for(plan.training.seeds[0])
    about = {
        "model": (model.model_copy(update={"C": strength}) if strength else model).model_dump_json(),
        "preprocess": plan.recipe,
        "labels": "\n".join(plan.labels),
        "shape": "×".join(map(str, plan.shape)),
        "threshold": performance.threshold_text(threshold),
        "origin": f"{len(trainers)} sites of {plan.consortium}, data set {plan.dataset}, plan {run.plan.digest}",
    }
    result_json.save_model(
        run.folder / "model.safetensors",
        state.best,
        state.normalisation,
        state.place.appearance,
        state.best_counts,
        about,
    )
    sha = hashlib.sha256(tensorfile.pack(state.best, {})).hexdigest()
    result: dict[str, Any] = {
        "format": result_json.FORMAT,
        **run.about(trainers),
        "participation": parts,
        "statistics": asdict(state.statistics) if state.statistics else None,
        "likeness": result_json.likeness(plan.training.likeness, state.place.appearance),
        "ended": refusals.sentence(state.refusals, len(outcome.sites), run_refusals.words(run)),
        "rounds": rounds,
        "cost": result_json.cost(rounds),
        "best_round": state.best_round,
        "C": strength,
        "validation": performance.summary_of_counts(state.best_counts) if state.best_counts else {},
        "counts": {"validation": validation} if validation else {},
        "threshold": threshold,
        "secure_aggregation": result_json.sums_over(len(outcome.sites), plan),
        "preprocess": plan.recipe,
        "release": plan.release,
        "code": plan.code,
        "config": plan.training.model_dump(mode="json"),
        "weights_sha256": sha,
        "versions": result_json.versions(),
    }
    if outcome.schedule is not None:
        result["privacy"] = privacy_figures.of_run(outcome.schedule, rounds, "sites")
    report_file.write(run.folder / "report.html", result)
    write_json(run.folder / "result.json", result)

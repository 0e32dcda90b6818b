"""One run from beginning to end, or the rest of one: what Flower's ServerApp does, without Flower.

Whatever kills the process, the next one goes on from the checkpoint: every round that was written stays as it is.
"""

import errno
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from common.algorithms.course import Course
from common.errors import ConsiliumError
from common.messages.transport import Transport
from common.metrics import performance
from common.models import build
from common.storage import tensorfile
from common.storage.files import write_json
from server import report
from server.results import outcome_counts, result_json
from server.rounds import checkpoint, loop
from server.rounds.loop import TrainingState
from server.rounds.secure_sum import make_secure
from server.rounds.transcripts import Transcripts
from server.runs.run import Run

log = logging.getLogger("consilium")

LOOK_EVERY_S = 0.5
FULL_DISK_S = 5.0
LONGEST_PAUSE_S = 60.0


class Connected(Transport, Protocol):
    """A transport that knows who is there."""

    def online(self) -> tuple[str, ...]:
        """Sites that are connected."""
        ...


Work = Callable[[Run, Connected], Callable[[], object]]
"""All rounds that are left; returns what writes the result."""


def train(run: Run, transport: Connected) -> Callable[[], object]:
    """A training's rounds."""
    finished = _rounds(run, transport)
    return lambda: _write_result(run, finished)


def carry_out(run: Run, transport: Connected, work: Work = train) -> None:
    """All that is left of a run. What goes wrong for good is written into the run's state, with the reason.

    Raises:
        Exception: for a defect of ours; the keeper starts the run again.
    """
    try:
        until_there_is_room(lambda: run.home.log.record("run", "begun", plan=run.name))
        until_there_is_room(work(run, transport))
    except ConsiliumError as error:
        log.error("run %s failed: %s", run.name, error)
        failed = str(error)
        until_there_is_room(lambda: run.end("failed", failed))
    else:
        until_there_is_room(lambda: run.end("finished"))


@dataclass(frozen=True)
class Finished:
    """What came out."""

    standing: TrainingState
    sites: tuple[str, ...]


def _rounds(run: Run, transport: Connected) -> Finished:
    told = run.plan.content
    learning, seed = told.training, told.training.seeds[0]
    model = build(learning.model_for(seed), told.shape, len(told.labels), learning.augment)
    about = told.shape, len(told.labels)
    aggregator = replace(
        make_secure(learning, model, about, transport, run.home.consortium, bytes.fromhex(run.plan.digest)),
        keep=Transcripts(run.folder / "transcripts", for_good=False, insist=until_there_is_room),
        current=lambda: run.home.consortium,
    )
    quorum = run.quorum(len(transport.sites()))
    course = Course.of(learning, model, seed, transport.sites())
    whole_s = LONGEST_PAUSE_S if course.algorithm.cohort_must_be_whole else 0.0
    path = run.folder / "federated.checkpoint"

    def keep(standing: TrainingState) -> TrainingState:
        until_there_is_room(lambda: checkpoint.save(path, standing, {}, run.plan.digest))
        until_there_is_room(lambda: run.remember(standing.records))
        return standing

    if found := checkpoint.load(path, transport.sites(), run.plan.digest):
        standing = found[0]
    else:
        run.forget_rounds()
        gather(run, transport, quorum, whole_s)
        standing = loop.begin(course, aggregator)
    if run.begun == standing.round and not course.over(standing.place):
        log.warning("round %d was begun when the coordinator ended; nothing is trained in it again", standing.round)
        aggregator.lost = standing.round
    standing = keep(standing)  # what was asked before the first round would not be answered again
    while not course.over(standing.place):
        _pause(standing)
        gather(run, transport, quorum, whole_s)
        until_there_is_room(lambda number=standing.round: run.begin_round(number))  # type: ignore[misc]
        standing = keep(loop.run_round(course, aggregator, standing))
    loop.refuse_untrained(course, standing)
    return Finished(standing, transport.sites())


def gather(run: Run, transport: Connected, quorum: int, whole_s: float = 0.0) -> None:
    """Wait for as many sites as a round needs: rounds are not used up while nobody is there.

    Args:
        whole_s: how long the others are waited for as well, where a round without one of them is void.
    """
    told, until_s = False, time.monotonic() + whole_s
    while missing := sorted(set(transport.sites()) - set(online := transport.online())):
        if len(online) >= quorum and time.monotonic() >= until_s:
            return
        if not told:
            log.warning("%d of %d sites connected, %d needed; waiting for %s", len(online), len(transport.sites()),
                        quorum, ", ".join(missing))  # fmt: skip
            run.write_missing(missing)
            told = True
        time.sleep(LOOK_EVERY_S)


def _pause(standing: TrainingState) -> None:
    """After void rounds, longer and longer: what is wrong at the sites takes people to mend, and rounds are few."""
    void = next((i for i, r in enumerate(reversed(standing.records)) if not r.void), len(standing.records))
    if void:
        time.sleep(min(2.0 ** (void - 1), LONGEST_PAUSE_S))


def until_there_is_room(write: Callable[[], object]) -> None:
    """A full disk stops the run until somebody makes room, and loses nothing."""
    told = False
    while True:
        try:
            write()
            return
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if not told:
                log.error("the disk is full: %s. Make room; the run goes on by itself.", error.filename)
                told = True
            time.sleep(FULL_DISK_S)


def _write_result(run: Run, finished: Finished) -> None:
    told, standing = run.plan.content, finished.standing
    threshold = performance.operating_point(standing.best_counts, told.training.operating_point)
    about = {
        "model": told.training.model_for(told.training.seeds[0]).model_dump_json(),
        "preprocess": told.recipe,
        "labels": "\n".join(told.labels),
        "shape": "×".join(map(str, told.shape)),
        "threshold": repr(threshold),
        "origin": f"{len(finished.sites)} sites of {told.consortium}, data set {told.dataset}, plan {run.plan.digest}",
    }
    looks, counted = standing.place.likeness, standing.best_counts
    result_json.save_model(run.folder / "model.safetensors", standing.best, standing.recipe, looks, counted, about)
    sha = hashlib.sha256(tensorfile.pack(standing.best, {})).hexdigest()
    result: dict[str, Any] = {
        "format": result_json.FORMAT,
        **run.about(finished.sites),
        "rounds": (rounds := run.rounds()),
        "cost": result_json.cost(rounds),
        "best_round": standing.best_round,
        "validation": performance.summary_of_counts(standing.best_counts) if standing.best_counts else {},
        "counts": {"validation": outcome_counts.of_sum(standing.best_counts, threshold)}
        if standing.best_counts
        else {},
        "threshold": threshold,
        "secure_aggregation": result_json.sums_over(len(finished.sites)),
        "preprocess": told.recipe,
        "release": told.release,
        "code": told.code,
        "config": told.training.model_dump(mode="json"),
        "weights_sha256": sha,
        "versions": result_json.versions(),
    }
    report.write(run.folder / "report.html", result)
    write_json(run.folder / "result.json", result)

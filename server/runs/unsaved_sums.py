"""What a run that ended early had summed since its last checkpoint, read again from its transcripts.

A coordinator may be stopped between a released sum and the checkpoint that has it. What was released the sites have
answered for good; so what a later plan may carry has to be found all the same. The course is walked on from the
checkpoint, by the transcripts that there are. That a later question was asked shows that the sites had seen the sums
before it; of the last sum nobody can say so, and a plan carries nothing that its sites may not know.
"""

from dataclasses import dataclass

from common.algorithms import RoundTotal
from common.algorithms.course import VOID
from common.plans import carry
from common.plans.run_work import RunWork
from common.secagg.transcript_reading import TranscriptAccount
from common.types import Tensors
from server.rounds import checkpoint
from server.rounds.transcripts import Transcripts
from server.runs.run import Run


@dataclass(frozen=True)
class RunSums:
    """What a run has summed of the images, as `Course.to_carry` gives it."""

    arrays: Tensors
    """What its sites were shown."""
    unseen: tuple[str, ...]
    """The parts (`common.plans.carry`) that were released last, before a site was surely shown them."""


def all_sums(run: Run) -> RunSums:
    """Everything that a run which is over has summed; what was not written down before is from now on.

    Raises:
        RunError: another process still conducts it, or its checkpoint is damaged.
    """
    if run.state.stage == "finished":
        return RunSums(run.summed, ())
    with run.lock.hold():
        work, transcripts = RunWork.of(run.approvals, run.carried_sums), Transcripts(run.folder / "transcripts")
        transcripts.salvage(run.home.pins)
        saved = checkpoint.load(run.folder / "federated.checkpoint", (), run.plan.digest)
        course, place = work.course, saved[0].place if saved else work.course.start()
        sums = course.to_carry(place)
        for number, _ in transcripts.numbered():
            if number < place.number or (reached := course.reached(place, number)) is None:
                continue
            sums = course.to_carry(place)
            account = transcripts.read(course.request(reached), run.home.pins)
            place = course.after(reached, _total(account))
        if set(carry.fingerprints(sums)) > set(carry.fingerprints(run.summed)):
            run.keep_summed(sums)
        unseen = set(carry.fingerprints(course.to_carry(place))) - set(carry.fingerprints(run.summed))
        return RunSums(run.summed, tuple(sorted(unseen - {"distances"})))


def _total(account: TranscriptAccount | None) -> RoundTotal:
    if account is None or account.total is None:
        return VOID
    sums = account.plan.question_kinds[account.start.kind].layout.decode(account.total.words)
    dropouts = tuple(site for site in account.plan.cohort if site not in account.total.survivors)
    return RoundTotal(sums, account.total.survivors, dropouts)

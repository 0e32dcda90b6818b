"""A coordinator that begins a run as it should, with the server's own code, before it does anything else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from client.home import Home as Hospital
from common.algorithms import RoundTotal
from common.algorithms.course import Place
from common.messages.transport import InMemory, Reply, Request, Transport
from common.plans.plan import RunPlan
from common.types import Tensors
from server.rounds import loop
from server.rounds.aggregation import Aggregator
from server.rounds.exchange import QuestionExchange
from server.rounds.secure_sum import SecureSum
from server.rounds.transcripts import Transcripts
from server.runs.run import Run
from tests.attacks.hospitals import Hospitals
from tests.attacks.hostile import HostileCoordinator, as_bytes, tell


@dataclass
class HonestBeginning:
    """A run that was honest for so many rounds.

    Attributes:
        coordinator: what it may become from here on.
        place: where the run stands.
        sums: by kind of question, as they were summed last.
    """

    run: Run
    coordinator: HostileCoordinator
    secure: SecureSum
    place: Place
    sums: dict[str, Tensors]

    def show_pages(self) -> None:
        """Show the sites all that was summed so far, as before the next question."""
        exchange = QuestionExchange(self.secure.transport, self.place.round, 60.0)
        self.secure._inform_auditors(self.coordinator.approvals.sites, exchange)


def honest_beginning(hospitals: Hospitals, plan: RunPlan, rounds: int, sites: Sequence[str] = ()) -> HonestBeginning:
    """Conduct the first rounds of a plan that all hospitals approve, or these; none: what comes before the first."""
    run = hospitals.begun(plan, *sites)
    coordinator = HostileCoordinator(hospitals, run.approvals)
    homes = {name: hospitals.sites[name] for name in run.approvals.sites}
    transport = InMemory({name: partial(asked_in_memory, home, plan) for name, home in homes.items()})
    secure = SecureSum(
        transport, hospitals.home.consortium, run.approvals, coordinator.kinds,
        transcripts=Transcripts(run.folder / "transcripts"),
    )  # fmt: skip
    recorder = Recorder(secure)
    state = loop.begin(coordinator.course, recorder)
    for _ in range(rounds):
        state = loop.run_round(coordinator.course, recorder, state)
    begun = HonestBeginning(run, coordinator, secure, state.place, {r.kind: sums for r, sums in recorder.sums})
    begun.show_pages()
    coordinator.asked = [request for request, _ in recorder.sums]
    coordinator.number = secure._period_number + 1
    if secure._lineages:
        coordinator.lineage = secure._lineages[max(secure._lineages)]
    return begun


def asked_in_memory(home: Hospital, plan: RunPlan, request: Request, state: Tensors) -> tuple[Reply, Tensors]:
    return Reply({"message": as_bytes(tell(home, plan, request))}), state


@dataclass
class Recorder:
    """Stands before an aggregator, and keeps the sums."""

    inner: Aggregator
    sums: list[tuple[Request, Tensors]] = field(default_factory=list)

    @property
    def transport(self) -> Transport:
        return self.inner.transport

    def total(self, request: Request, cohort: Sequence[str], timeout_s: float) -> RoundTotal:
        total = self.inner.total(request, cohort, timeout_s)
        self.sums.append((request, total.sums))
        return total

    def finish(self, timeout_s: float) -> None:
        self.inner.finish(timeout_s)

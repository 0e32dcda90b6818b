"""A coordinator that begins a run as it should, with the server's own code, before it does anything else."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from client.home import Home as Hospital
from common.algorithms import RoundTotal
from common.algorithms.course import Place
from common.messages import answer_layout
from common.messages.transport import InMemory, Reply, Request, Transport
from common.plans.plan import RunPlan
from common.types import Tensors
from server.rounds import loop
from server.rounds.aggregation import Aggregator
from server.rounds.secure_sum import make_secure
from server.rounds.transcripts import Transcripts
from tests.attacks.hospitals import Hospitals
from tests.attacks.hostile import HostileCoordinator, as_bytes, tell


def honest_beginning(hospitals: Hospitals, plan: RunPlan, rounds: int) -> tuple[HostileCoordinator, dict[str, Tensors]]:
    """A coordinator that has been honest for so many rounds; the sums that it got, by kind of question."""
    run, asked = hospitals.begun(plan), HostileCoordinator(hospitals, plan)
    content = plan.content
    transport = InMemory({name: partial(asked_in_memory, home, plan) for name, home in hospitals.sites.items()})
    about = content.shape, len(content.labels)
    secure = make_secure(
        content.training, asked.model, about, transport, hospitals.home.consortium, plan.document.digest
    )
    secure = replace(secure, transcripts=Transcripts(run.folder / "transcripts", for_good=False))
    recorder = Recorder(secure)
    state = loop.begin(asked.course, recorder)
    for _ in range(rounds):
        state = loop.run_round(asked.course, recorder, state)
    asked.run, asked._number = secure._run, secure._periods
    asked.asked = [request for request, _ in recorder.sums]
    return asked, {answer_layout.question_kind(request): sums for request, sums in recorder.sums}


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

    def total(
        self, request: Request, cohort: Sequence[str], timeout_s: float, place: Place | None = None
    ) -> RoundTotal:
        total = self.inner.total(request, cohort, timeout_s, place)
        self.sums.append((request, total.sums))
        return total

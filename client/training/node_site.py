"""The site that one of Flower's nodes is: what stands around it, and where its state is kept between two messages.

    request ─> EvaluatingSite ─┐                         in an evaluation
    request ─> BeginningSite ──┐                         in the training of a network, at a hospital
    request ─> AuditingSite ───┤                         in a training; a simulation may leave it out
    request ──────────────────>┴─> SecuredSite ─> Site   always, but in a simulation in the clear

A real site keeps its state in its own folder; a simulated one hands it to Flower's context, which the simulation keeps.
`hospital_site` and `simulated_site` make the two kinds.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from client.home import Home
from client.plans import kept_state, question_ledger
from client.plans.question_ledger import Ledger
from client.training.auditing_site import AuditingSite
from client.training.noised_answer import account_in_memory
from client.training.protocol_message import question_in
from client.training.run_binding import RunBinding
from client.training.secure_site import SecuredSite
from client.training.sent_vector import VectorFile
from client.training.site import Site
from client.training.site_storage import SealedStateFile
from common.errors import PolicyError
from common.messages.transport import Answer, Reply, Request
from common.privacy.account import Account
from common.secagg.state import ParticipantState
from common.storage import tensorfile
from common.trust.enrolment import Enrolment
from common.types import Tensors

RECORDED = {"secagg/submit": "round answered", "evaluation/figures": "figures published"}
"""Messages that the site's log has, and as what."""


class SimulatedState(Protocol):
    """What a simulation keeps of a site between two messages: byte strings by name."""

    def read(self, name: str) -> bytes | None:
        """What was written last; None if nothing was."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace the byte string of this name."""
        ...


@dataclass(frozen=True)
class SimulatedVector:
    """The masked vector that a simulated site sent last, in what the simulation keeps."""

    state: SimulatedState

    def keep(self, vector: bytes | memoryview) -> None:
        """As `SentVector.keep`."""
        self.state.write("masked", bytes(vector))

    def load(self) -> bytes:
        """As `SentVector.load`."""
        return self.state.read("masked") or b""

    def drop(self) -> None:
        """As `SentVector.drop`."""
        self.state.write("masked", b"")


@dataclass(frozen=True)
class NodeSite:
    """One site with all that stands around it."""

    site: Site
    binding: RunBinding | None = None
    """None: a simulation without secure aggregation."""
    enrolment: Enrolment | None = None
    home: Home | None = None
    """A real site's folder; None for a simulated site."""
    room: Path | None = None
    """The folder in which a real site keeps this run."""
    before: Callable[[SecuredSite], Answer] | None = None
    """What stands before the secured site of a hospital, in an evaluation and in the training of a network."""
    account: Account | None = None
    """From which a real site pays for its answers under a budget of privacy."""

    def answer(self, request: Request, simulated_state: SimulatedState) -> tuple[Reply, Tensors | None]:
        """One request, from the state that the last one left; the new state, if it changed."""
        before = self._state(simulated_state)
        reply, after = self._secured(simulated_state)(request, before)
        if after is before:
            return reply, None
        if self.room:
            kept_state.write(self.room, self._key, after)
        else:
            simulated_state.write("state", tensorfile.pack(after, {}))
        return reply, after

    def record(self, request: Request) -> None:
        """Write into the site's log what is about to leave a real site.

        Raises:
            AuditError, RunError, OSError: it could not be; then it must not leave.
        """
        if self.binding and self.home and (what := RECORDED.get(request.kind)):
            plan = self.binding.plan
            facts: dict[str, int | str] = {
                "round": request.round,
                "asked": question_in(request).kind,
                "cases": len(self.site.cases.train.labels),
            }
            self.home.log.record(what, plan=plan.name, dataset=plan.content.dataset, facts=facts)

    def _secured(self, simulated_state: SimulatedState) -> Answer:
        """The site behind secure aggregation, from the protocol state that its last step recorded."""
        if self.enrolment is None or self.binding is None:
            return self.site.answer
        if self.home and self.room:
            store = SealedStateFile(self.room / "state", self.enrolment.sealing_key)
            ledger = question_ledger.in_folder(self.home.folder)
            secured = SecuredSite(
                self.site, self.enrolment, self.binding, store, ledger, VectorFile(self.room / "masked"),
                take_roster=self.home.take_roster, account=self.account,
            )  # fmt: skip
        else:
            ledger = Ledger(
                lambda: simulated_state.read("ledger") or b"",
                lambda records: simulated_state.write("ledger", (simulated_state.read("ledger") or b"") + records),
            )
            stores = _SimulatedStore(simulated_state), ledger, SimulatedVector(simulated_state)
            account = account_in_memory(self.binding.plan.content.training)
            secured = SecuredSite(self.site, self.enrolment, self.binding, *stores, account=account)
        if self.before:
            return self.before(secured)
        return AuditingSite(secured, self.room).answer if self.enrolment.audit else secured.answer

    def _state(self, simulated_state: SimulatedState) -> Tensors:
        if not self.room:
            content = simulated_state.read("state")
            return {} if content is None else tensorfile.unpack(content)[0]
        return kept_state.read(self.room, self._key)

    @property
    def _key(self) -> bytes:
        if self.enrolment is None:
            raise PolicyError("plaintext", "a real site answers under secure aggregation alone.")
        return self.enrolment.sealing_key


@dataclass(frozen=True)
class _SimulatedStore:
    """A `StateStore` in what a simulation keeps; its sites answer one message after the other."""

    state: SimulatedState

    def load(self) -> ParticipantState:
        content = self.state.read("secagg")
        return ParticipantState() if content is None else ParticipantState.decode(content)

    def record(self, state: ParticipantState) -> None:
        self.state.write("secagg", state.encode())

    def lock(self) -> AbstractContextManager[object]:
        return nullcontext()

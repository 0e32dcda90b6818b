"""A site under secure aggregation: it answers the protocol's messages, and nothing in the clear.

    secagg/present         what the site knows of the key period; says that it is there
    secagg/join, share, take             a key period's beginning
    secagg/submit          a question of `client.training.site`, with the round's start: the answer leaves masked
    secagg/agree, release  whose vectors make the sum; the shares that unmask it
    secagg/follow          whether the site audits; `client.training.auditing_site` is for those that do

The state machine itself is `common.secagg.Participant`. What the site's own algorithm remembers (SCAFFOLD's
control variate) becomes its state only when the round's shares are released, that is, when the sum has this site in it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from client.training.sent_vector import SentVector, VectorInMemory
from client.training.site import Site
from common.errors import PolicyError, WeightsError, WireError
from common.messages import answer_layout
from common.messages.answer_layout import AWAITS_NOTHING, encode_number
from common.messages.transport import Reply, Request
from common.secagg import (
    DurableParticipant,
    KeyPeriodPlan,
    Participant,
    ParticipantState,
    PendingMessage,
    QuestionKind,
)
from common.secagg.stages import ParticipantStage
from common.secagg.state import ParticipantRound
from common.storage import tensorfile
from common.trust.enrolment import Enrolment
from common.trust.keys import seal_state, unseal_state
from common.trust.roster import load_verified_roster
from common.types import Tensors, prefixed, under

Buffer = bytes | memoryview
PENDING = "pending"
MESSAGE = "message"
PROTOCOL_1 = b"CSA1"


def forget(_: ParticipantState) -> None:
    """Records nothing: a simulation that is killed begins a new key period."""


@dataclass
class SecuredSite:
    """Answers for one site.

    Args:
        exchanges: the layouts that the site derives from its own configuration, for a cohort of so many sites.
        machine: the site's half of the protocol, as it was started or restored.
        record: writes its state durably, sealed, before it returns.
        clock: seconds since 1970.
        newest: version of the newest roster that this site has seen, from wherever.
        sent: where the masked vector lies until its round is over.
    """

    site: Site
    exchanges: Callable[[int], Mapping[str, QuestionKind]]
    machine: Participant
    record: Callable[[ParticipantState], None] = forget
    clock: Callable[[], float] = time.time
    newest: Callable[[], int] = lambda: 0
    sent: SentVector = field(default_factory=VectorInMemory)
    _keeper: DurableParticipant = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._keeper = DurableParticipant(self.machine, self.record)

    def answer(self, request: Request, state: Tensors) -> tuple[Reply, Tensors]:
        """Take one step of the protocol.

        Raises:
            PolicyError: for a request in the clear, or a plan with other layouts than this site's; and all that
                `common.secagg.Participant` and `client.training.site.Site` raise. Nothing leaves then.
        """
        step = STEPS.get(request.kind)
        if step is None:
            raise PolicyError(
                "plaintext",
                f"{self.site.cases.name}: asked for '{request.kind}' in the clear, which this site does not answer; "
                "expected a step of secure aggregation. A simulation may switch it off with federation.secure=false.",
            )
        message, state = step(self, request, state)
        return Reply({MESSAGE: np.frombuffer(message, np.uint8)}), state

    def present(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """The site's view of the key period, by which the coordinator sees whether it can go on in it."""
        return self._keeper.participant.state.view, state

    def join(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Check the plan, and make keys for a key period."""
        proposal, roster = bytes_in(request, MESSAGE), bytes_in(request, "roster")
        self._refuse_other_exchanges(KeyPeriodPlan.read(proposal))
        if (version := load_verified_roster(roster, self.machine.pins).version) < (newest_version := self.newest()):
            raise PolicyError("rolled-back-roster", f"roster {version}, and {newest_version} has been seen before.")
        return self._keeper.step(lambda s: s.join(proposal, roster, self.clock())), state

    def share(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Deal shares of the key period's secrets."""
        return self._keeper.step(lambda s: s.share(bytes_in(request, MESSAGE))), state

    def take(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Open what the peers dealt."""
        return self._keeper.step(lambda s: s.take(bytes_in(request, MESSAGE))), state

    def submit(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Do what is asked, and mask it."""
        question_request = question_in(request)
        question = answer_layout.question(question_request)
        self._keeper.open(bytes_in(request, MESSAGE), question, self.clock())
        if (announced := self._keeper.participant.state.round.kind) != question_request.kind:
            raise PolicyError(
                "changed-question",
                f"a round of '{announced}' that asks for '{question_request.kind}'.",
            )
        settled = _settled(state)
        contribution, after = self.site.contribute(question_request, settled)
        layout = self._keeper.participant.plan.question_kinds[announced].layout
        key = answer_layout.rounding_key(question, self.site.cases.name)
        try:
            words = layout.encode({**contribution.means, **contribution.sums}, contribution.weight, key)
        except WeightsError as error:
            raise WeightsError(
                f"{self.site.cases.name}, asked for '{announced}': {error} Bounds follow from federation.weight_bound, "
                "the most cases that a site may have: raise it where there are more, the same at every site."
            ) from None

        def masked(participant: Participant) -> PendingMessage:
            pending = participant.submit(words)
            self.sent.keep(words.data.cast("B"))  # before the state that names it by its hash
            return pending

        message = self._keeper.step(masked)
        return message, settled if after is settled else {**settled, **prefixed(PENDING, after)}

    def agree(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Sign whose vectors make the sum, and the sketch of the own one."""
        return self._keeper.step(lambda s: s.agree(bytes_in(request, MESSAGE), self.sent.load())), state

    def release(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Give out the shares that unmask it; what the answer changed at this site holds from now on."""
        message = self._keeper.step(lambda s: s.release(bytes_in(request, MESSAGE)))
        self.sent.drop()
        return message, under(PENDING, state) or state

    def follow(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Say that this site does not audit."""
        return encode_number(AWAITS_NOTHING), state

    @property
    def agreed_context(self) -> bytes | None:
        """round_ctx of the round whose shares may be released now; none where there is no such round."""
        state = self._keeper.participant.state
        return state.round.context if state.stage is ParticipantStage.AGREED else None

    @property
    def plan(self) -> KeyPeriodPlan:
        """The key period's plan, which the site has checked."""
        return self._keeper.participant.plan

    @property
    def round(self) -> ParticipantRound:
        """The round at hand, or the last one."""
        return self._keeper.participant.state.round

    def _refuse_other_exchanges(self, plan: KeyPeriodPlan) -> None:
        own_exchanges = self.exchanges(len(plan.cohort))
        odd = [
            name
            for name in sorted({*own_exchanges, *plan.question_kinds})
            if own_exchanges.get(name) != plan.question_kinds.get(name)
        ]
        if odd:
            raise PolicyError(
                "changed-plan",
                f"{self.site.cases.name}: the plan's '{odd[0]}' is not what this site's configuration asks for. Bring "
                "`model` and `federation` (clip, weight_bound, strategy, local) to the same state on both sides.",
            )


Step = Callable[[SecuredSite, Request, Tensors], tuple[Buffer, Tensors]]

STEPS: dict[str, Step] = {
    "secagg/present": SecuredSite.present,
    "secagg/join": SecuredSite.join,
    "secagg/share": SecuredSite.share,
    "secagg/take": SecuredSite.take,
    "secagg/submit": SecuredSite.submit,
    "secagg/agree": SecuredSite.agree,
    "secagg/release": SecuredSite.release,
    "secagg/follow": SecuredSite.follow,
}


@dataclass(frozen=True)
class SealedStateFile:
    """A site's state on its disk."""

    path: Path
    key: bytes = field(repr=False)

    def __call__(self, state: ParticipantState) -> None:
        """Write it; after a crash at any moment the file holds the old state or the new one."""
        tensorfile.write_atomically(self.path, seal_state(state.encode(), self.key))

    def load(self) -> ParticipantState:
        """As it was recorded last; a fresh one where there is none, or one of release 0.1, whose rounds are over.

        Raises:
            IdentityError: for a damaged file, or another site's.
        """
        try:
            content = unseal_state(self.path.read_bytes(), self.key)
        except FileNotFoundError:
            return ParticipantState()
        return ParticipantState() if content.startswith(PROTOCOL_1) else ParticipantState.decode(content)


def participant_of(enrolment: Enrolment, state: ParticipantState | None = None) -> Participant:
    """A site's half of the protocol, fresh or as recorded."""
    return Participant.restore(enrolment.site, enrolment.identity, enrolment.pins, state or ParticipantState())


def _settled(state: Tensors) -> Tensors:
    """Without what a round had begun that came to nothing."""
    if not under(PENDING, state):
        return state
    return {name: value for name, value in state.items() if not name.startswith(PENDING + "/")}


def question_in(request: Request) -> Request:
    """The question that a `secagg/submit` carries."""
    tensors = {n: t for n, t in request.tensors.items() if n != MESSAGE}
    settings = {n: s for n, s in request.settings.items() if n != "asked"}
    return Request(str(request.settings.get("asked", "")), request.round, tensors, settings)


def bytes_in(request: Request, name: str) -> bytes:
    """An array of bytes.

    Raises:
        WireError: if there is none of that name.
    """
    array = request.tensors.get(name)
    if array is None or array.dtype != np.uint8 or array.ndim != 1:
        raise WireError(f"a request of kind {request.kind!r} without bytes under '{name}'.")
    return array.tobytes()

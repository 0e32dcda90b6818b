"""A site under secure aggregation: it answers what it signed, by the protocol's messages, and nothing in the clear.

    secagg/present         what the site knows of the key period; says that it is there
    secagg/join            the key period's plan, held against the one that follows from the signed plan and approvals
    secagg/share, take     the rest of a key period's beginning
    secagg/submit          a question of `client.training.site`, with the round's start: the answer leaves masked
    secagg/agree, release  whose vectors make the sum, held against all that was answered before; its shares
    secagg/follow          where the site stands in the run; `client.training.auditing_site` is for those that audit

The state machine itself is `common.secagg.participant`. What the site's own algorithm remembers (SCAFFOLD's
control variate) becomes its state only when the round's shares are released, that is, when the sum has this site in it.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from client.plans import question_ledger
from client.plans.question_ledger import Ledger
from client.training.noised_answer import add_noise
from client.training.protocol_message import MESSAGE, bytes_in, lineage_in, question_in
from client.training.run_binding import RunBinding
from client.training.sent_vector import SentVector, VectorInMemory
from client.training.site import Site
from common.errors import PolicyError, StageError, WeightsError
from common.messages import answer_layout
from common.messages.transport import Reply, Request
from common.plans import carry
from common.plans import lineage as lineages
from common.plans.approvals import NAME, Approvals
from common.privacy.account import Account
from common.privacy.price_list import is_noised
from common.secagg.durable_participant import DurableParticipant, StateInMemory, StateStore
from common.secagg.key_period_plan import KeyPeriodPlan
from common.secagg.participant import Participant
from common.secagg.pending_message import PendingMessage
from common.secagg.state import ParticipantState
from common.trust.enrolment import Enrolment
from common.trust.keys import DIGEST_BYTES
from common.trust.roster import Roster, load_verified_roster
from common.types import Tensors, prefixed, under

Buffer = bytes | memoryview
PENDING, ASKED = "pending", "asked"


@dataclass
class SecuredSite:
    """Answers for one site.

    Args:
        binding: what the site signed.
        store: where the state of its half of the protocol is.
        ledger: what it has answered, in all runs.
        clock: seconds since 1970.
        take_roster: keeps a newer roster as the site's own, if its members' keys may be believed; gives the newest.
        vector: where the masked vector lies until its round is over.
        account: what its answers cost under a budget of privacy; without one it answers no question that costs.
    """

    site: Site
    enrolment: Enrolment
    binding: RunBinding
    store: StateStore = field(default_factory=StateInMemory, repr=False)
    ledger: Ledger = field(default_factory=question_ledger.in_memory, repr=False)
    vector: SentVector = field(default_factory=VectorInMemory, repr=False)
    clock: Callable[[], float] = time.time
    take_roster: Callable[[bytes], Roster | None] = lambda _: None
    account: Account | None = None
    keeper: DurableParticipant = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.keeper = DurableParticipant(partial(participant_of, self.enrolment), self.store)

    def answer(self, request: Request, state: Tensors) -> tuple[Reply, Tensors]:
        """Take one step of the protocol; as `Site.answer`.

        Raises:
            PolicyError: for a request in the clear, or what is not of the signed plan; and all that
                `common.secagg.Participant` and `client.training.site.Site` raise. Nothing leaves then.
        """
        step = STEPS.get(request.kind)
        if step is None:
            raise PolicyError(
                "plaintext",
                f"{self.name}: asked for '{request.kind}' in the clear, which this site does not answer; "
                "expected a step of secure aggregation. A simulation may switch it off with federation.secure=false.",
            )
        message, state = step(self, request, state)
        return Reply({MESSAGE: np.frombuffer(message, np.uint8)}), state

    def present(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """The site's view of the key period, by which the coordinator sees whether it can go on in it."""
        return self.keeper.participant.state.view, state

    def join(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Hold the plan of a key period against what was signed, and make keys for it."""
        content, roster_file = bytes_in(request, MESSAGE), bytes_in(request, "roster")
        approvals, proposal = self.begin(request), KeyPeriodPlan.read(content)
        self.binding.check(proposal, approvals, load_verified_roster(roster_file, self.enrolment.pins))
        return self.keeper.step(lambda p: p.join(content, roster_file, self.clock())), state

    def share(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Deal shares of the key period's secrets."""
        return self.keeper.step(lambda p: p.share(bytes_in(request, MESSAGE))), state

    def take(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Open what the peers dealt."""
        return self.keeper.step(lambda p: p.take(bytes_in(request, MESSAGE))), state

    def submit(
        self, request: Request, state: Tensors, lineage: bytes | None = None, confirm: Callable[[], None] = lambda: None
    ) -> tuple[Buffer, Tensors]:
        """Do what is asked, and mask it.

        Args:
            lineage: stands for all sums before; none: as the coordinator says, in a simulation of sites that do not
                audit.
            confirm: asked again before the answer leaves, when nothing else can change any more; raises.
        """
        inner, start = question_in(request), bytes_in(request, MESSAGE)
        asked_hash = answer_layout.question(inner)
        question = lineages.question_after(lineage_in(request) if lineage is None else lineage, asked_hash)
        active = self.keeper.participant.open(start, question, self.clock())  # refused before any work is done
        if active.state.round.kind != (kind := inner.kind):
            raise PolicyError("changed-question", f"{self.name}: a round of '{active.state.round.kind}' asks '{kind}'.")
        settled, schedule = _settled(state), self.binding.work().course.schedule if is_noised(kind) else None
        self.site.steps = schedule.steps if schedule else None  # as signed, whoever made the site
        contribution, after = self.site.contribute(inner, settled)
        layout = active.plan.question_kinds[kind].layout
        numbers = answer_layout.completed({**contribution.means, **contribution.sums}, layout)
        try:
            words = layout.encode(numbers, contribution.weight, answer_layout.rounding_key(asked_hash, self.name))
        except WeightsError as error:
            raise WeightsError(
                f"{self.name}, asked for '{kind}': {error} Bounds follow from federation.weight_bound, the most cases "
                "that a site may have: raise it where there are more, the same at every site."
            ) from None

        def open_and_submit(participant: Participant) -> PendingMessage:
            confirm()
            answering = participant.open(start, question, self.clock())
            if is_noised(kind):
                add_noise(words, inner, schedule, self.account)
            pending = answering.submit(words)
            self.vector.keep(words.data.cast("B"))  # before the state that names it by its hash
            return pending

        message = self.keeper.step(open_and_submit)
        keys = np.frombuffer(b"".join(self.binding.answer_keys(inner)), np.uint8)
        note = {"question": np.frombuffer(question, np.uint8), "keys": keys}
        pending = {} if after is settled else prefixed(PENDING, after)
        return message, {**settled, **prefixed(ASKED, note), **pending}

    def agree(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Sign whose vectors make the sum, if the same was not told over others before, and the sketch of the own."""
        message = bytes_in(request, MESSAGE)

        def sign(participant: Participant) -> PendingMessage:
            pending = participant.agree(message, self.vector.load())
            keys, over = self._answer_keys(pending.participant, state)
            self.ledger.refuse_other(keys, over, self.name)
            return pending

        with self.ledger.lock():
            return self.keeper.step(sign), state

    def release(
        self, request: Request, state: Tensors, note: Callable[[bytes], None] = lambda _: None
    ) -> tuple[Buffer, Tensors]:
        """Give out the shares that unmask it; what the answer changed at this site holds from now on.

        Args:
            note: is told the round_ctx before the shares leave, when nothing else can change any more.
        """
        message = bytes_in(request, MESSAGE)

        def unmask(participant: Participant) -> PendingMessage:
            pending = participant.release(message)
            keys, over = self._answer_keys(participant, state)
            self.ledger.refuse_other(keys, over, self.name)  # another run may have told it since it was agreed on
            note(participant.state.round.context)
            self.ledger.record(keys, over, self.binding.plan.digest)
            return pending

        with self.ledger.lock():
            shares = self.keeper.step(unmask)
        self.vector.drop()
        return shares, under(PENDING, state) or state

    def follow(self, request: Request, state: Tensors) -> tuple[Buffer, Tensors]:
        """Say that this site does not audit."""
        return answer_layout.encode_number(answer_layout.AWAITS_NOTHING), state

    def begin(self, request: Request) -> Approvals:
        """The approvals that a request brings, checked; those of the run, once it has begun here."""
        file = bytes_in(request, "roster")
        roster, newest = load_verified_roster(file, self.enrolment.pins), self.take_roster(file)
        if newest and roster.version < newest.version:
            raise PolicyError("rolled-back-roster", f"roster {roster.version}, and {newest.version} has been seen.")
        return self.binding.approvals(bytes_in(request, NAME), roster, under(carry.NAME, request.tensors))

    @property
    def name(self) -> str:
        """The site's name."""
        return self.site.cases.name

    def is_known(self, state: Tensors, sites: Iterable[str]) -> bool:
        """Whether the round at hand asks nothing that was not told before, over just these sites and images."""
        keys, _ = self._answer_keys(self.keeper.participant, state)
        return self.ledger.has(keys, self.binding.begun_approvals().data_of(sites))

    def _answer_keys(self, participant: Participant, state: Tensors) -> tuple[list[bytes], bytes]:
        """What the sum of the round at hand tells, and over whom."""
        note, at_hand = under(ASKED, state), participant.state.round
        if "keys" not in note or note["question"].tobytes() != at_hand.question:
            raise StageError("lost-question", f"{self.name}: what was asked in this round is not on record here.")
        keys, size = note["keys"].tobytes(), DIGEST_BYTES
        survivors = [participant.plan.cohort[member] for member in at_hand.survivors]
        return [keys[at : at + size] for at in range(0, len(keys), size)], self.binding.begun_approvals().data_of(
            survivors
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


def participant_of(enrolment: Enrolment, state: ParticipantState | None = None) -> Participant:
    """A site's half of the protocol, fresh or as recorded."""
    return Participant.restore(enrolment.site, enrolment.identity, enrolment.pins, state or ParticipantState())


def _settled(state: Tensors) -> Tensors:
    """Without what a round had begun that came to nothing."""
    old = (PENDING + "/", ASKED + "/")
    return {name: value for name, value in state.items() if not name.startswith(old)}

"""The site's half of the protocol: messages in, messages out; the site trusts the roster it pinned and nobody else.

    join → share → take → ( open → submit → agree → release )*

Every method checks all it is told before anything changes: what it refuses raises, and the site is as it was. What it
answers is a `PendingMessage`, and the message in it can be had only by recording the new state first, so that a crash
between the two can lose a message, but never send a second, different one.
"""

import os
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import IdentityError, PolicyError, StageError, WeightsError
from common.secagg import masks, secret_sharing
from common.secagg.agreement_check import own_sketch, verify_agreements
from common.secagg.directory import checked_directory, demand_quorum, view_of
from common.secagg.key_period_messages import Delivery, Directory, Ready, Shares
from common.secagg.key_period_plan import KeyPeriodPlan, check, round_context
from common.secagg.pending_message import PendingMessage
from common.secagg.round_messages import Agreement, Agreements, Masked, Release, Start, Survivors
from common.secagg.stages import SITE, after
from common.secagg.state import ParticipantRound, ParticipantState
from common.trust.keys import Random, public_of
from common.trust.roster import Pins, Roster, load_newer_roster, load_verified_roster, refuse_expired


@dataclass(frozen=True)
class Participant:
    """One hospital's machine. Start with `Participant(name, identity, pins)`, or after a restart with `restore`."""

    name: str
    identity: Ed25519PrivateKey = field(repr=False)
    pins: Pins
    state: ParticipantState = field(default_factory=ParticipantState, repr=False)
    random: Random = field(default=os.urandom, repr=False)
    _plan: KeyPeriodPlan | None = field(default=None, repr=False)
    _roster: Roster | None = field(default=None, repr=False)

    @classmethod
    def restore(cls, name: str, identity: Ed25519PrivateKey, pins: Pins, state: ParticipantState) -> "Participant":
        """A site as it was when the state was recorded."""
        roster = pins.load_kept(load_verified_roster, state.roster) if state.roster else None
        plan = KeyPeriodPlan.read(state.proposal) if state.proposal else None
        return cls(name, identity, pins, state, _plan=plan, _roster=roster)

    def join(self, proposal: bytes, roster: bytes, now_s: float) -> PendingMessage:
        """Check a key period's plan against the roster; make keys for it; forget those of the key period before.

        Args:
            roster: the newest signed roster, from wherever.
            now_s: seconds since 1970, UTC.

        Returns:
            An advert to send.

        Raises:
            PolicyError, IdentityError, StageError, WireError: naming the rule that is broken.
        """
        stage = after(SITE, self.state.stage, "join")
        current = load_newer_roster(roster, self.pins, self._roster, now_s)
        plan = KeyPeriodPlan.read(proposal)
        check(plan, current)
        if self.name not in plan.cohort:
            raise PolicyError("not-in-cohort", f"the plan's cohort does not have {self.name} in it.")
        if current.active[self.name] != public_of(self.identity):
            raise IdentityError("swapped-key", f"the roster lists another key for {self.name} than the one it holds.")
        if plan.number <= self.state.key_periods.get(plan.run, -1):
            raise StageError("replayed-epoch", f"key period {plan.number} of this run has been joined before.")
        # Fresh secrets in a fresh state: those of the key period before are gone, so who takes over this machine later
        # cannot unmask what was sent then.
        secrets, advert = secret_sharing.new_keys(plan, plan.cohort.index(self.name), self.identity, self.random)
        state = ParticipantState(
            stage,
            roster,
            {**self.state.key_periods, plan.run: plan.number},
            proposal,
            advert.digest,
            secrets=secrets,
        )
        return PendingMessage(replace(self, state=state, _plan=plan, _roster=current), advert.encode())

    def share(self, directory: bytes) -> PendingMessage:
        """Check the adverts of all peers; split the key period's secrets among them.

        Returns:
            Shares to send, each sealed for one peer.
        """
        stage, plan, position = after(SITE, self.state.stage, "share"), self.plan, self.position
        adverts = checked_directory(Directory.decode(directory).adverts, plan, self.roster)
        if position not in adverts or adverts[position].digest != self.state.advert:
            raise IdentityError("swapped-key", f"the directory does not have the advert that {self.name} sent.")
        secrets, boxes = secret_sharing.share_secrets(self.state.secrets, plan, position, adverts)
        state = replace(self.state, stage=stage, adverts=adverts, secrets=secrets)
        message = Shares(plan.context, position, boxes).sign(self.identity)
        return PendingMessage(replace(self, state=state), message.encode())

    def take(self, delivery: bytes) -> PendingMessage:
        """Open the peers' shares; those who sent some are, with this site, the key period's participants.

        Returns:
            A message that says so.
        """
        stage, plan = after(SITE, self.state.stage, "take"), self.plan
        position, state = self.position, self.state
        boxes = dict(Delivery.decode(delivery).boxes)
        demand_quorum(len(boxes) + 1, plan, "shared their secrets")
        secrets, adverts = secret_sharing.open_shares(state.secrets, plan, position, state.adverts, boxes)
        view = view_of(adverts, plan)
        state = replace(state, stage=stage, adverts=adverts, view=view, secrets=secrets)
        return PendingMessage(replace(self, state=state), Ready(view, position).sign(self.identity).encode())

    def open(self, start: bytes, question: bytes, now_s: float) -> "Participant":
        """Begin a round. Nothing leaves the site by it, so nothing needs recording.

        Args:
            question: the hash of what the site was really asked, which it has computed itself.
        """
        stage, message, plan = after(SITE, self.state.stage, "open"), Start.decode(start), self.plan
        refuse_expired(self.roster, now_s)
        # A mask covers one vector: under the same mask twice, the difference of two vectors would lie open.
        if not self.state.next_slot <= message.slot < plan.rounds:
            raise StageError(
                "replayed-round",
                f"round {message.slot} of the key period, expected {self.state.next_slot} to {plan.rounds - 1}: "
                "what was answered or passed by is never answered again.",
            )
        if message.kind not in plan.question_kinds:
            raise PolicyError("unknown-kind", f"a round of kind '{message.kind}', which the plan does not have.")
        if message.question != question:
            raise PolicyError("split-model", "what the site was asked is not what the coordinator says it asks of all.")
        context = round_context(self.state.view, message.slot, message.kind, question)
        return replace(
            self,
            state=replace(
                self.state, stage=stage, round=ParticipantRound(message.slot, message.kind, question, context)
            ),
        )

    def submit(self, words: masks.Words) -> PendingMessage:
        """Mask the site's vector, in place: it is no longer the caller's. The round's own secrets end here.

        Args:
            words: uint32 or uint64, as the layout of this kind of round encodes.

        Returns:
            The masked vector to send.
        """
        stage, plan = after(SITE, self.state.stage, "submit"), self.plan
        position, current = self.position, self.state.round
        layout = plan.question_kinds[current.kind].layout
        if words.dtype != layout.dtype or words.shape != (layout.length,) or not words.flags.c_contiguous:
            raise WeightsError(f"{words.dtype}{list(words.shape)}, expected {layout.dtype}[{layout.length}].")
        over = secret_sharing.masks_of(
            self.state.secrets, plan, position, self.state.adverts, current.slot, current.context
        )
        root = masks.apply(words, over)
        message = Masked(current.context, position, words, root=root).sign(self.identity)
        # The round's own seeds are dropped before the vector leaves: from here on only the peers' shares can unmask it.
        secrets = self.state.secrets.since(current.slot)
        secrets = replace(secrets, rounds={s: v for s, v in secrets.rounds.items() if s > current.slot})
        state = replace(
            self.state, stage=stage, secrets=secrets, next_slot=current.slot + 1, round=replace(current, root=root)
        )
        return PendingMessage(replace(self, state=state), message.in_place())

    def agree(self, survivors: bytes, vector: bytes | memoryview) -> PendingMessage:
        """Sign whose vectors make the sum and which sum that is: once a round, and for one set and one sum only.

        Args:
            vector: the masked vector that this site sent, kept since; empty where it is gone. It is no secret.

        Returns:
            The signature to send, over the sketch of the vector too.
        """
        stage, plan = after(SITE, self.state.stage, "agree"), self.plan
        position, current = self.position, self.state.round
        message = Survivors.decode(survivors)
        self._demand_round(message.context)
        members = message.members
        if position not in members or not set(members) <= set(self.state.adverts):
            raise PolicyError(
                "bad-survivors", "the survivors leave out this site, or name one that does not take part."
            )
        demand_quorum(len(members), plan, "answered")
        if plan.question_kinds[current.kind].whole and len(members) < len(plan.cohort):
            raise PolicyError("not-whole", f"a '{current.kind}' sum over {len(members)} of {len(plan.cohort)} sites.")
        following = replace(current, survivors=members, sum=message.sum)
        sketch = own_sketch(vector, following, plan.question_kinds[current.kind].layout)
        state = replace(self.state, stage=stage, round=following)
        agreement = Agreement(current.context, position, members, message.sum, sketch).sign(self.identity)
        return PendingMessage(replace(self, state=state), agreement.encode())

    def release(self, agreements: bytes) -> PendingMessage:
        """Give out one share for every participant, if enough sites signed the same survivors. One shot.

        Returns:
            The shares to send.
        """
        stage, plan = after(SITE, self.state.stage, "release"), self.plan
        position, current = self.position, self.state.round
        message = Agreements.decode(agreements)
        self._demand_round(message.context)
        verify_agreements(message, current, plan, self.roster, position)
        shares = secret_sharing.shares_to_release(
            self.state.secrets, self.state.adverts, current.slot, current.survivors
        )
        release = Release(current.context, position, shares).sign(self.identity)
        secrets = self.state.secrets.since(current.slot + 1)
        state = replace(self.state, stage=stage, secrets=secrets)
        return PendingMessage(replace(self, state=state), release.encode())

    @property
    def plan(self) -> KeyPeriodPlan:
        """The key period's plan, which the site has checked."""
        if self._plan is None:
            raise StageError("out-of-order", f"{self.name} has joined no key period.")
        return self._plan

    @property
    def roster(self) -> Roster:
        """The roster of the key period."""
        if self._roster is None:
            raise StageError("out-of-order", f"{self.name} has seen no roster.")
        return self._roster

    @property
    def position(self) -> int:
        """The site's place in the cohort."""
        return self.plan.cohort.index(self.name)

    def _demand_round(self, context: bytes) -> None:
        if context != self.state.round.context:
            raise StageError("other-round", "of another round, model or view of the key period than this site's.")

"""A round's transcript as it is read, message by message, with every check that an auditor makes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from common.errors import PolicyError, QuorumError, ShareError, StageError, WireError
from common.secagg.directory import demand_quorum, sender_of
from common.secagg.envelope import FromSite
from common.secagg.key_period_plan import KeyPeriodPlan
from common.secagg.message_fields import Members
from common.secagg.parallel import run_on_cores
from common.secagg.round import RoundOpening, UnmaskedSum
from common.secagg.round_messages import Agreement, Masked, Release, Seeds, Start, Sum, Survivors
from common.secagg.shamir import SECRET_BYTES, SHARE_BYTES
from common.secagg.sketch import Challenge, key_of, total_of
from common.secagg.unmasking import Unmasking
from common.trust.roster import Roster


@dataclass(frozen=True)
class TranscriptAccount:
    """What a transcript says of a round, after every check that the coordinator has to make."""

    plan: KeyPeriodPlan
    roster: Roster
    start: Start
    context: bytes
    """`round_ctx` of docs/secure-aggregation.md: what masks and signatures of the round are bound to."""
    total: UnmaskedSum | None
    """The sum that follows; none where the round came to nothing after the survivors had been agreed on."""
    failure: QuorumError | ShareError | None
    """Why it came to nothing."""
    withholders: tuple[str, ...]
    """Of a round that came to nothing: sites that agreed on the survivors, and whose shares are not there."""


FromSiteT = TypeVar("FromSiteT", bound=FromSite)


class TranscriptReading:
    """A transcript as far as it was read: every check, in the order of the messages."""

    def __init__(self, opening: RoundOpening) -> None:
        self._opening, self._plan = opening, opening.plan
        self._participants = opening.key_period.adverts
        self._layout = self._plan.question_kinds[opening.kind].layout
        self._members: Members = ()
        self._commitment = b""
        self._agreements: dict[int, Agreement] = {}
        self._releases: dict[int, Release] = {}
        self._sketches: dict[int, bytes] = {}
        self._liars: set[int] = set()
        self._seeds: dict[int, bytes] = {}
        self._total: UnmaskedSum | None = None

    def take(self, kind: int, contents: Iterator[bytes]) -> None:
        """Read all messages of one kind, vectors one at a time."""
        if kind == Agreement.KIND:
            self._read_agreements([Agreement.decode(content) for content in contents])
        elif kind == Masked.KIND:
            self._read_vectors(map(Masked.decode, contents))
        elif kind == Release.KIND:
            self._read_releases([Release.decode(content) for content in contents])
        else:
            content = next(contents)
            if next(contents, None) is not None:
                raise WireError("a transcript with survivors, seeds or a sum for a second time.")
            if kind == Survivors.KIND:
                self._read_survivors(Survivors.decode(content))
            elif kind == Seeds.KIND:
                self._read_seeds(Seeds.decode(content))
            else:
                self._read_sum(Sum.decode(content))

    def account(self, last: int) -> TranscriptAccount:
        """What was read, once the transcript has ended with a message of this kind."""
        opening, failure = self._opening, None
        if last not in (Agreement.KIND, Release.KIND, Sum.KIND):
            raise WireError("a transcript that ends before anything came of its round.")
        if self._total is None:
            failure = self._failure()
        withholders = self._names(set(self._agreements) - set(self._releases)) if failure else ()
        start = Start(opening.slot, opening.kind, opening.question)
        return TranscriptAccount(self._plan, opening.roster, start, opening.context, self._total, failure, withholders)

    def _read_survivors(self, message: Survivors) -> None:
        self._members, self._commitment = message.members, message.sum
        if message.context != self._opening.context:
            raise StageError("other-round", "survivors of another round, model or key period.")
        if not set(self._members) <= set(self._participants):
            raise PolicyError("bad-survivors", "the survivors have one among them that does not take part.")
        demand_quorum(len(self._members), self._plan, "answered")
        n = len(self._plan.cohort)
        if self._plan.question_kinds[self._opening.kind].whole and len(self._members) < n:
            raise PolicyError("not-whole", f"a '{self._opening.kind}' sum over {len(self._members)} of {n} sites.")

    def _read_agreements(self, messages: list[Agreement]) -> None:
        """At least t of the survivors have signed them, and one sum."""
        self._agreements = self._read_signed(messages, set(self._members))
        for agreement in messages:
            if (agreement.members, agreement.sum) != (self._members, self._commitment):
                raise StageError("split-survivors", "a site signed other survivors, or another sum.")
        if len(messages) < self._plan.threshold:
            raise PolicyError(
                "too-few-signatures",
                f"{len(messages)} sites signed the survivors, expected {self._plan.threshold} at least.",
            )
        self._sketches = {sender: agreement.sketch for sender, agreement in self._agreements.items()}

    def _read_vectors(self, messages: Iterator[Masked]) -> None:
        """Of sites that signed no sketch, or a false one, as their vectors then prove."""
        senders = set(self._members)
        for message in messages:
            self._read_signed([message], senders)
            senders.remove(message.sender)
            if message.words.dtype != self._layout.dtype or len(message.words) != self._layout.length:
                what = f"{len(message.words)} words of {message.words.dtype}"
                raise StageError(
                    "wrong-shape", f"a vector of {what}, expected {self._layout.length} of {self._layout.dtype}."
                )
            sketch = self._challenge.sketch(message.words)
            if self._sketches.get(message.sender, sketch) != sketch:
                self._liars.add(message.sender)
            self._sketches[message.sender] = sketch

    def _read_seeds(self, message: Seeds) -> None:
        """One for every participant, as its owner published it."""
        if message.context != self._opening.context or len(message.seeds) != SECRET_BYTES * len(self._participants):
            raise ShareError("bad-share", "the transcript does not have one seed for each participant.")
        starts = range(0, len(message.seeds), SECRET_BYTES)
        seeds = (message.seeds[start : start + SECRET_BYTES] for start in starts)
        self._seeds = dict(zip(self._participants, seeds, strict=True))
        run_on_cores(list(self._seeds), lambda: lambda owner: self._unmasking.check_seed(owner, self._seeds[owner]))

    def _read_sum(self, message: Sum) -> None:
        """It is what the sites signed, and the sum of what they sent, and one that they can have sent."""
        total = message.total
        if len(total.low) != self._limbs or int(total.carry.max(initial=0)) >= len(self._members):
            raise _forged("it has another length than the layout, or carries that so many vectors do not make")
        if message.context != self._opening.context or total.commitment() != self._commitment:
            raise _forged("it is not the sum that the sites signed")
        if set(self._sketches) != set(self._members):
            raise _forged("neither a sketch nor a vector is there of some survivor")
        if total_of(self._sketches.values()) != self._challenge.expectation(total):
            raise _forged("it is not the sum of what the sites sent, by their sketches")
        words = total.words(self._layout.dtype)
        self._unmasking.take_off(words, self._seeds)
        self._layout.refuse_impossible(words, len(self._members))
        dropouts = set(self._participants) - set(self._members)
        self._total = UnmaskedSum(words, *map(self._names, (self._members, dropouts, self._liars)))

    def _read_releases(self, messages: list[Release]) -> None:
        self._releases = self._read_signed(messages, set(self._agreements))
        if any(len(release.shares) != SHARE_BYTES * len(self._participants) for release in messages):
            raise ShareError("bad-share", "a site did not release one share for each participant.")

    def _failure(self) -> QuorumError | ShareError:
        """Why there is no sum.

        Raises:
            PolicyError: if the shares that are shown make one.
        """
        try:
            demand_quorum(len(self._releases), self._plan, "released their shares")
            self._unmasking.rebuild({sender: release.shares for sender, release in self._releases.items()})
        except (QuorumError, ShareError) as error:
            return error
        raise PolicyError(
            "withheld-sum", "the round is said to be void, and the shares that were released make a sum of it."
        )

    @property
    def _unmasking(self) -> Unmasking:
        return Unmasking(self._opening.key_period, self._opening.slot, self._opening.context, self._members)

    @property
    def _limbs(self) -> int:
        return self._layout.length * self._layout.dtype.itemsize // 4

    @cached_property
    def _challenge(self) -> Challenge:
        return Challenge(key_of(self._opening.context, self._members, self._commitment), self._limbs)

    def _read_signed(self, messages: list[FromSiteT], senders: set[int]) -> dict[int, FromSiteT]:
        """Messages by sender, if each is of this round, by another of these senders, and signed by it."""

        def check(message: FromSiteT) -> None:
            who = sender_of(message.sender, self._plan)
            if message.context != self._opening.context:
                raise StageError("other-round", f"a message of {who} from another round, key period or view.")
            if message.sender not in senders:
                raise StageError("not-asked", f"a message of {who}, which has no place there, or a second one.")
            message.verify(self._opening.roster.active[who], who=who)

        run_on_cores(messages, lambda: check)
        by_sender = {message.sender: message for message in messages}
        if len(by_sender) < len(messages):
            raise StageError("duplicate-site", "a transcript with two messages of one site.")
        return by_sender

    def _names(self, positions: Iterable[int]) -> tuple[str, ...]:
        return tuple(self._plan.cohort[i] for i in sorted(positions))


def _forged(why: str) -> PolicyError:
    return PolicyError("forged-aggregate", f"the sum in the transcript is not to be believed: {why}.")

"""The coordinator's round: masked vectors in, agreement on whose they are and what they add up to, shares in, the sum.

Vectors are added as they arrive and not kept: the memory is 1.25 vectors, however many sites there are. They are needed
again only of sites that sent no sketch of theirs, or a false one; whoever drives the round keeps them on a disk for it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from common.errors import QuorumError, ShareError, StageError
from common.secagg import masks
from common.secagg.coordinator import CoordinatorMachine, Gathers
from common.secagg.key_period import KeyPeriod
from common.secagg.key_period_messages import Directory
from common.secagg.key_period_plan import round_context
from common.secagg.round_messages import Agreement, Agreements, Masked, Release, Seeds, Start, Sum, Survivors
from common.secagg.shamir import SHARE_BYTES
from common.secagg.sketch import Challenge, LimbSum, key_of, total_of
from common.secagg.stages import CoordinatorStage
from common.secagg.unmasking import Unmasking

Vector = Callable[[int], bytes]
"""The message `Masked` of a sender, as it came."""


@dataclass(frozen=True)
class UnmaskedSum:
    """The sum that a round gives, over whom it is, and who was at fault."""

    words: masks.Words = field(repr=False)
    """The sum mod 2**k; the layout decodes it."""
    survivors: tuple[str, ...]
    dropouts: tuple[str, ...]
    """Participants whose vectors are not in the sum."""
    blamed: tuple[str, ...]
    """Sites that released wrong shares or signed a false sketch; the sum is right in spite of them."""


class RoundOpening(CoordinatorMachine):
    """One round: masked vectors, agreements, releases, and their sum."""

    def __init__(self, key_period: KeyPeriod, slot: int, kind: str, question: bytes) -> None:
        super().__init__(key_period.plan, key_period.roster, CoordinatorStage.MASKED)
        self.key_period, self.slot, self.kind, self.question = key_period, slot, kind, question
        self.context = round_context(key_period.view, slot, kind, question)
        self._layout = key_period.plan.question_kinds[kind].layout
        self._sum = LimbSum.zero(self._layout.length, self._layout.dtype)
        self._commitment = b""
        self._roots: dict[int, bytes] = {}
        self._agreements: dict[int, Agreement] = {}
        self._releases: dict[int, Release] = {}
        self._seeds: dict[int, bytes] = {}
        self._sketchless: tuple[int, ...] = ()
        self._blamed: set[int] = set()

    @property
    def survivors(self) -> tuple[int, ...]:
        """Whose vectors have arrived, by position in the cohort, rising."""
        return tuple(sorted(self._roots))

    @property
    def withholders(self) -> tuple[str, ...]:
        """Sites that have agreed on the survivors, and not released their shares."""
        return self._names(set(self._agreements) - set(self._releases))

    def requests(self) -> dict[str, bytes]:
        """What to send to whom now, by site."""
        if self.stage is CoordinatorStage.MASKED:
            return self._to(self.key_period.ready, Start(self.slot, self.kind, self.question).encode())
        if self.stage is CoordinatorStage.AGREEMENTS:
            return self._to(self.survivors, Survivors(self.context, self.survivors, self._commitment).encode())
        if self.stage is CoordinatorStage.RELEASES:
            # As many as a site demands; more would only cost bytes and checks.
            first = sorted(self._agreements.items())[: self.plan.threshold]
            signatures = tuple((sender, a.sketch, a.signature) for sender, a in first)
            return self._to(self._agreements, Agreements(self.context, self._commitment, signatures).encode())
        return {}

    def close(self) -> None:
        """As `CoordinatorMachine.close`; once the vectors are in, this commits to their sum."""
        super().close()
        if self.stage is CoordinatorStage.AGREEMENTS:
            self._commitment = self._sum.commitment()

    def check_sketches(self, vector: Vector) -> None:
        """Hold the sketches against the sum; a vector takes the place of each that is missing or false."""
        key = key_of(self.context, self.survivors, self._commitment)
        challenge = Challenge(key, len(self._sum.low))

        def computed(sender: int) -> bytes:
            return challenge.sketch(Masked.decode(vector(sender)).words)

        claimed = {sender: agreement.sketch for sender, agreement in self._agreements.items()}
        silent = [sender for sender in self.survivors if sender not in claimed]
        total = total_of([*claimed.values(), *map(computed, silent)])
        liars = (
            set() if total == challenge.expectation(self._sum) else {s for s in claimed if computed(s) != claimed[s]}
        )
        self._sketchless, self._blamed = tuple(sorted({*silent, *liars})), self._blamed | liars

    def total(self) -> UnmaskedSum:
        """The sum over the survivors: rebuild their self masks and the dropped sites' mask keys, and take them off.

        Raises:
            ShareError: naming the sites whose shares are wrong, if there are too many of them.
        """
        if self.stage is not CoordinatorStage.DONE:
            raise StageError("out-of-order", f"the round is not over yet, but at {self.stage.value}.")
        unmasking = Unmasking(self.key_period, self.slot, self.context, self.survivors)
        self._seeds, wrong = unmasking.rebuild({sender: release.shares for sender, release in self._releases.items()})
        self._blamed |= wrong
        words = self._sum.words(self._layout.dtype)
        unmasking.take_off(words, self._seeds)
        dropouts = set(self.key_period.adverts) - set(self.survivors)
        return UnmaskedSum(words, *map(self._names, (self.survivors, dropouts, self._blamed)))

    def beginning(self, roster: bytes) -> Iterator[bytes]:
        """The first four messages of the round's transcript."""
        adverts = tuple(advert.encode() for advert in self.key_period.adverts.values())
        yield from (roster, self.plan.content, Directory(adverts).encode())
        yield Start(self.slot, self.kind, self.question).encode()

    def transcript(self, roster: bytes, vector: Vector) -> Iterator[bytes]:
        """All that an auditor needs: see `common.secagg.audit`. Without a `total` before, that of a void round."""
        yield from self.beginning(roster)
        yield Survivors(self.context, self.survivors, self._commitment).encode()
        yield from (agreement.encode() for _, agreement in sorted(self._agreements.items()))
        if not self._seeds:
            yield from (release.encode() for _, release in sorted(self._releases.items()))
            return
        yield from map(vector, self._sketchless)
        yield Seeds(self.context, b"".join(self._seeds[owner] for owner in self.key_period.adverts)).encode()
        yield Sum(self.context, self._sum).encode()

    def _gathers(self) -> Gathers:
        return {
            "masked": (self._masked, self._roots, "answered"),
            "agreement": (self._agreement, self._agreements, "signed"),
            "release": (self._release, self._releases, "released their shares"),
        }

    def _demand(self, sites: int, did: str) -> None:
        if (
            self.stage is CoordinatorStage.MASKED
            and self.plan.question_kinds[self.kind].whole
            and sites < len(self.plan.cohort)
        ):
            raise QuorumError(f"{sites} of {len(self.plan.cohort)} sites answered '{self.kind}', expected all.")
        super()._demand(sites, did)

    def _to(self, members: Iterable[int], content: bytes) -> dict[str, bytes]:
        return {self.plan.cohort[i]: content for i in sorted(members)}

    def _masked(self, content: bytes | memoryview) -> str:
        message = Masked.decode(content)
        who = self._check(message, self.context, set(self.key_period.adverts), self._roots)
        if message.words.dtype != self._layout.dtype or len(message.words) != self._layout.length:
            raise StageError("wrong-shape", f"{who} sent {len(message.words)} words of {message.words.dtype}.")
        # Integers: whatever order the vectors come in, the sum has the same bits.
        self._sum.add(message.words)
        self._roots[message.sender] = message.root
        return who

    def _agreement(self, content: bytes | memoryview) -> str:
        message = Agreement.decode(content)
        who = self._check(message, self.context, set(self._roots), self._agreements)
        if (message.members, message.sum) != (self.survivors, self._commitment):
            raise StageError("split-survivors", f"{who} signed other survivors, or another sum, than it was told.")
        self._agreements[message.sender] = message
        return who

    def _release(self, content: bytes | memoryview) -> str:
        message = Release.decode(content)
        who = self._check(message, self.context, set(self._agreements), self._releases)
        if len(message.shares) != SHARE_BYTES * len(self.key_period.adverts):
            raise ShareError("bad-share", f"{who} did not release one share for each participant.")
        self._releases[message.sender] = message
        return who

    def _names(self, positions: Iterable[int]) -> tuple[str, ...]:
        return tuple(self.plan.cohort[i] for i in sorted(positions))

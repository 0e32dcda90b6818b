"""The coordinator's round: masked vectors in, agreement on whose they are, shares in, and the sum.

Vectors are added as they arrive and not kept: the memory is one vector, however many sites there are.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from common.errors import QuorumError, ShareError, StageError
from common.secagg import masks, schedule, shamir
from common.secagg.coordinator import CoordinatorMachine, Gathers
from common.secagg.key_period import KeyPeriod
from common.secagg.key_period_plan import round_context
from common.secagg.round_messages import Agreement, Agreements, Masked, Release, Start, Survivors
from common.secagg.shamir import SHARE_BYTES
from common.secagg.stages import CoordinatorStage
from common.trust.keys import exchange_public


@dataclass(frozen=True)
class UnmaskedSum:
    """The sum that a round gives, over whom it is, and who was at fault."""

    words: masks.Words = field(repr=False)
    """The sum mod 2**k; the layout decodes it."""
    survivors: tuple[str, ...]
    dropouts: tuple[str, ...]
    """Participants whose vectors are not in the sum."""
    blamed: tuple[str, ...]
    """Sites that released wrong shares; the sum is right in spite of them."""


class RoundOpening(CoordinatorMachine):
    """One round: masked vectors, agreements, releases, and their sum."""

    def __init__(self, key_period: KeyPeriod, slot: int, kind: str, question: bytes) -> None:
        super().__init__(key_period.plan, key_period.roster, CoordinatorStage.MASKED)
        self.key_period, self.slot, self.kind, self.question = key_period, slot, kind, question
        self.context = round_context(key_period.view, slot, kind, question)
        layout = key_period.plan.question_kinds[kind].layout
        self._sum: masks.Words = np.zeros(layout.length, layout.dtype)
        self._roots: dict[int, bytes] = {}
        self._agreements: dict[int, bytes] = {}
        self._releases: dict[int, Release] = {}

    @property
    def survivors(self) -> tuple[int, ...]:
        """Whose vectors have arrived, by position in the cohort, rising."""
        return tuple(sorted(self._roots))

    @property
    def withholders(self) -> tuple[str, ...]:
        """Sites that have agreed on the survivors, and not released their shares."""
        return tuple(self.plan.cohort[i] for i in sorted(set(self._agreements) - set(self._releases)))

    def requests(self) -> dict[str, bytes]:
        """What to send to whom now, by site."""
        if self.stage is CoordinatorStage.MASKED:
            return self._to(self.key_period.ready, Start(self.slot, self.kind, self.question).encode())
        if self.stage is CoordinatorStage.AGREEMENTS:
            return self._to(self.survivors, Survivors(self.context, self.survivors).encode())
        if self.stage is CoordinatorStage.RELEASES:
            # As many as a site demands; more would only cost bytes and checks.
            first = tuple(sorted(self._agreements.items()))[: self.plan.threshold]
            return self._to(self._agreements, Agreements(self.context, first).encode())
        return {}

    def total(self) -> UnmaskedSum:
        """The sum over the survivors: rebuild their self masks and the dropped sites' mask keys, and take them off.

        Raises:
            ShareError: naming the sites whose shares are wrong, if there are too many of them.
        """
        if self.stage is not CoordinatorStage.DONE:
            raise StageError("out-of-order", f"the round is not over yet, but at {self.stage.value}.")
        # Over the sum lie the self masks of the survivors, and, of each pair of a survivor with a dropout, the one half
        # that the survivor added. Pairs of two survivors have cancelled already.
        seeds, blamed = self._seeds()
        words = self._sum.copy()
        masks.apply(words, self._to_take_off(seeds))
        names, dropouts = self.plan.cohort, [i for i in self.key_period.adverts if i not in self._roots]
        return UnmaskedSum(
            words, *(tuple(names[i] for i in part) for part in (self.survivors, dropouts, sorted(blamed)))
        )

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
        if message.words.dtype != self._sum.dtype or message.words.shape != self._sum.shape:
            raise StageError("wrong-shape", f"{who} sent {len(message.words)} words of {message.words.dtype}.")
        # Integers mod 2**k: whatever order the vectors come in, the sum has the same bits.
        np.add(self._sum, message.words, out=self._sum)
        self._roots[message.sender] = message.root
        return who

    def _agreement(self, content: bytes | memoryview) -> str:
        message = Agreement.decode(content)
        who = self._check(message, self.context, set(self._roots), self._agreements)
        if message.members != self.survivors:
            raise StageError("split-survivors", f"{who} signed other survivors than it was told.")
        self._agreements[message.sender] = message.signature
        return who

    def _release(self, content: bytes | memoryview) -> str:
        message = Release.decode(content)
        who = self._check(message, self.context, set(self._agreements), self._releases)
        if len(message.shares) != SHARE_BYTES * len(self.key_period.adverts):
            raise ShareError("bad-share", f"{who} did not release one share for each participant.")
        self._releases[message.sender] = message
        return who

    def _seeds(self) -> tuple[dict[int, bytes], set[int]]:
        """Every participant's rebuilt seed, checked against what it published, and the holders of wrong shares."""
        # Any t shares give the same secret, so the first t serve, with one set of Lagrange coefficients for all. The
        # commitment or the public key that its owner published tells whether what they give is right.
        holders = sorted(self._releases)[: self.plan.threshold]
        coefficients = shamir.at_zero([h + 1 for h in holders])
        seeds: dict[int, bytes] = {}
        blamed: set[int] = set()
        for place, owner in enumerate(self.key_period.adverts):
            at = slice(SHARE_BYTES * place, SHARE_BYTES * (place + 1))
            try:
                seeds[owner] = shamir.combine([self._releases[h].shares[at] for h in holders], coefficients)
                self._check_seed(owner, seeds[owner])
            except ShareError:
                every = {h + 1: r.shares[at] for h, r in sorted(self._releases.items())}
                seeds[owner], wrong = self._corrected(owner, every)
                blamed |= {h - 1 for h in wrong}
        return seeds, blamed

    def _corrected(self, owner: int, shares: dict[int, bytes]) -> tuple[bytes, set[int]]:
        """A seed in spite of wrong shares: decode all of them, else without one, and let the commitment decide."""
        for omitted_holder in (0, *shares):
            rest = {h: s for h, s in shares.items() if h != omitted_holder}
            with suppress(ShareError):
                seed, wrong = shamir.corrected(rest, self.plan.threshold)
                self._check_seed(owner, seed)
                return seed, wrong | (set(shares) - set(rest))
        raise ShareError(
            "bad-share",
            f"the secret of {self.plan.cohort[owner]} cannot be rebuilt: it dealt wrong shares, or too many of "
            f"{len(shares)} sites (threshold {self.plan.threshold}) released wrong ones. The round is void.",
        )

    def _check_seed(self, owner: int, seed: bytes) -> None:
        advert, context = self.key_period.adverts[owner], self.plan.context
        if owner in self._roots:
            right = schedule.commitment(seed, context, owner, self.slot) == advert.commitment(self.slot)
        else:
            key = schedule.mask_key(seed, context, self.slot)
            right = exchange_public(key) == advert.mask_key(self.slot)
        if not right:
            raise ShareError("bad-share", f"a rebuilt secret of {self.plan.cohort[owner]} is not what it published.")

    def _to_take_off(self, seeds: Mapping[int, bytes]) -> list[masks.Mask]:
        masks_to_remove = [schedule.self_mask(seeds[i], self.context, subtract=True) for i in self.survivors]
        for dropout in (i for i in self.key_period.adverts if i not in self._roots):
            key = schedule.mask_key(seeds[dropout], self.plan.context, self.slot)
            for i in self.survivors:
                # The gone site's own side of the mask, added: it cancels what the survivor put on.
                public, who = self.key_period.adverts[i].mask_key(self.slot), self.plan.cohort[i]
                masks_to_remove.append(
                    schedule.pair_mask(key, dropout, public, i, self.context, subtract=False, who=who)
                )
        return masks_to_remove

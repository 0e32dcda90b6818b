"""What lies over a sum of masked vectors, and what takes it off: the seeds that the released shares give.

The coordinator rebuilds them from shares; coordinator and auditor hold them against what their owners published.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from common.errors import ShareError
from common.secagg import key_schedule, masks, shamir
from common.secagg.key_period import KeyPeriod
from common.secagg.message_fields import Members
from common.secagg.parallel import run_on_cores
from common.secagg.shamir import SHARE_BYTES
from common.trust.keys import exchange_public

Seeds = dict[int, bytes]
"""By participant: the self-mask seed of a survivor, the mask-key seed of a dropped site."""


@dataclass(frozen=True)
class Unmasking:
    """The masks over one round's sum."""

    key_period: KeyPeriod
    slot: int
    context: bytes
    survivors: Members

    def rebuild(self, shares: Mapping[int, bytes]) -> tuple[Seeds, set[int]]:
        """Every participant's seed, and the holders of wrong shares.

        Args:
            shares: of each that released them; one share for each participant, in order.

        Raises:
            ShareError: naming whose secret cannot be rebuilt.
        """
        # Any t shares give the same secret, so the first t serve, with one set of Lagrange coefficients for all. The
        # commitment or the public key that its owner published tells whether what they give is right.
        holders = sorted(shares)[: self.key_period.plan.threshold]
        coefficients = shamir.at_zero([h + 1 for h in holders])
        seeds: Seeds = {}
        blamed: set[int] = set()
        for place, owner in enumerate(self.key_period.adverts):
            at = slice(SHARE_BYTES * place, SHARE_BYTES * (place + 1))
            try:
                seeds[owner] = shamir.combine([shares[h][at] for h in holders], coefficients)
                self.check_seed(owner, seeds[owner])
            except ShareError:
                seeds[owner], wrong = self._corrected(owner, {h + 1: s[at] for h, s in sorted(shares.items())})
                blamed |= {h - 1 for h in wrong}
        return seeds, blamed

    def check_seed(self, owner: int, seed: bytes) -> None:
        """Hold a seed against what its owner published.

        Raises:
            ShareError: if it is another.
        """
        plan, advert = self.key_period.plan, self.key_period.adverts[owner]
        if owner in self.survivors:
            right = key_schedule.commitment(seed, plan.context, owner, self.slot) == advert.commitment(self.slot)
        else:
            key = key_schedule.mask_key(seed, plan.context, self.slot)
            right = exchange_public(key) == advert.mask_key(self.slot)
        if not right:
            raise ShareError("bad-share", f"a rebuilt secret of {plan.cohort[owner]} is not what it published.")

    def take_off(self, words: masks.Words, seeds: Seeds) -> None:
        """Take all masks off the sum, in place."""
        # Over the sum lie the self masks of the survivors, and, of each pair of a survivor with a dropout, the one half
        # that the survivor added. Pairs of two survivors have cancelled already.
        plan, adverts = self.key_period.plan, self.key_period.adverts
        self_masks = [key_schedule.self_mask(seeds[i], self.context, subtract=True) for i in self.survivors]

        def pairs(dropout: int) -> list[masks.Mask]:
            key = key_schedule.mask_key(seeds[dropout], plan.context, self.slot)
            # The gone site's own side of the mask, added: it cancels what the survivor put on.
            return [
                key_schedule.pair_mask(
                    key, dropout, adverts[i].mask_key(self.slot), i, self.context, subtract=False, who=plan.cohort[i]
                )
                for i in self.survivors
            ]

        dropouts = [i for i in adverts if i not in self.survivors]
        masks.apply(words, self_masks + [mask for part in run_on_cores(dropouts, lambda: pairs) for mask in part])

    def _corrected(self, owner: int, shares: dict[int, bytes]) -> tuple[bytes, set[int]]:
        """A seed in spite of wrong shares: decode all of them, else without one, and let the commitment decide."""
        for omitted_holder in (0, *shares):
            rest = {h: s for h, s in shares.items() if h != omitted_holder}
            with suppress(ShareError):
                seed, wrong = shamir.corrected(rest, self.key_period.plan.threshold)
                self.check_seed(owner, seed)
                return seed, wrong | (set(shares) - set(rest))
        raise ShareError(
            "bad-share",
            f"the secret of {self.key_period.plan.cohort[owner]} cannot be rebuilt: it dealt wrong shares, or too many "
            f"of {len(shares)} sites (threshold {self.key_period.plan.threshold}) released wrong ones. The round is "
            "void.",
        )

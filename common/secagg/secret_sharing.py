"""A site's secrets of a key period: made, shared among its peers, received from them, used, and released in parts."""

from collections.abc import Mapping
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import IdentityError
from common.secagg import key_schedule
from common.secagg.directory import directory_digest, sender_of
from common.secagg.key_period_messages import Advert
from common.secagg.key_period_plan import KeyPeriodPlan
from common.secagg.masks import Mask
from common.secagg.shamir import SECRET_BYTES, SHARE_BYTES, Polynomial, share
from common.secagg.state import KeyPeriodSecrets
from common.trust.keys import Random, exchange_public

PAIR_BYTES = 2 * SHARE_BYTES


def new_keys(
    plan: KeyPeriodPlan, position: int, identity: Ed25519PrivateKey, random: Random
) -> tuple[KeyPeriodSecrets, Advert]:
    """Fresh secrets for all rounds of a key period, and the advert of what belongs to them."""
    dealer, rounds, public_parts = random(32), {}, []
    for slot in range(plan.rounds):
        mask_seed, self_seed = random(SECRET_BYTES), random(SECRET_BYTES)
        rounds[slot] = mask_seed + self_seed
        public_parts.append(exchange_public(key_schedule.mask_key(mask_seed, plan.context, slot)))
        public_parts.append(key_schedule.commitment(self_seed, plan.context, position, slot))
    channel = exchange_public(key_schedule.channel_key(dealer, plan.context))
    return KeyPeriodSecrets(dealer, rounds), Advert(plan.context, position, channel, b"".join(public_parts)).sign(
        identity
    )


def share_secrets(
    secrets: KeyPeriodSecrets, plan: KeyPeriodPlan, position: int, adverts: Mapping[int, Advert]
) -> tuple[KeyPeriodSecrets, tuple[tuple[int, bytes], ...]]:
    """The secrets with the site's own shares of them, and the peers' shares, each sealed for one peer."""
    seeds = [pair[i : i + SECRET_BYTES] for pair in secrets.rounds.values() for i in (0, SECRET_BYTES)]
    polynomials = key_schedule.polynomials(secrets.dealer, plan.context, seeds, plan.threshold)
    channel, directory = key_schedule.channel_key(secrets.dealer, plan.context), directory_digest(adverts, plan)
    boxes = []
    for peer, advert in adverts.items():
        if peer != position:
            content, who = _shares_of(polynomials, peer), plan.cohort[peer]
            box = key_schedule.sealed_shares(channel, advert.channel, content, position, peer, directory, who=who)
            boxes.append((peer, box))
    return replace(secrets, own_shares=_by_slot(_shares_of(polynomials, position))), tuple(boxes)


def open_shares(
    secrets: KeyPeriodSecrets,
    plan: KeyPeriodPlan,
    position: int,
    adverts: Mapping[int, Advert],
    boxes: Mapping[int, bytes],
) -> tuple[KeyPeriodSecrets, dict[int, Advert]]:
    """The secrets with all participants' shares, without the dealer seed; and the participants.

    Raises:
        IdentityError: for shares that are not for this site and key period, not of all rounds, or from a stranger.
    """
    channel, directory = key_schedule.channel_key(secrets.dealer, plan.context), directory_digest(adverts, plan)
    shares = {position: secrets.own_shares}
    for peer, box in boxes.items():
        who = sender_of(peer, plan)
        if peer == position or peer not in adverts:
            raise IdentityError("unknown-site", f"shares from {who}, which published no keys for this key period.")
        content = key_schedule.opened_shares(channel, adverts[peer].channel, box, peer, position, directory, who=who)
        if len(content) != PAIR_BYTES * plan.rounds:
            raise IdentityError("bad-share", f"{who} sent {len(content)} bytes of shares for {plan.rounds} rounds.")
        shares[peer] = _by_slot(content)
    participants = {peer: advert for peer, advert in adverts.items() if peer in shares}
    by_slot = {slot: b"".join(shares[peer][slot] for peer in participants) for slot in range(plan.rounds)}
    return KeyPeriodSecrets(rounds=secrets.rounds, held_shares=by_slot), participants


def masks_of(
    secrets: KeyPeriodSecrets,
    plan: KeyPeriodPlan,
    position: int,
    participants: Mapping[int, Advert],
    slot: int,
    context: bytes,
) -> list[Mask]:
    """All masks of the site's vector in a round: its own, and one with each other participant."""
    pair = secrets.rounds[slot]
    key = key_schedule.mask_key(pair[:SECRET_BYTES], plan.context, slot)
    masks = [key_schedule.self_mask(pair[SECRET_BYTES:], context, subtract=False)]
    for peer, advert in participants.items():
        if peer != position:
            public, who = advert.mask_key(slot), plan.cohort[peer]
            masks.append(key_schedule.pair_mask(key, position, public, peer, context, subtract=False, who=who))
    return masks


def shares_to_release(
    secrets: KeyPeriodSecrets, participants: Mapping[int, Advert], slot: int, survivors: tuple[int, ...]
) -> bytes:
    """For each participant one of its two shares: of the self mask for a survivor, of the mask key for the others."""
    shares = secrets.held_shares[slot]
    starts = (PAIR_BYTES * i + (SHARE_BYTES if peer in survivors else 0) for i, peer in enumerate(participants))
    return b"".join(shares[start : start + SHARE_BYTES] for start in starts)


def _shares_of(polynomials: list[Polynomial], position: int) -> bytes:
    return b"".join(share(p, position + 1) for p in polynomials)


def _by_slot(shares: bytes) -> dict[int, bytes]:
    return {i // PAIR_BYTES: shares[i : i + PAIR_BYTES] for i in range(0, len(shares), PAIR_BYTES)}

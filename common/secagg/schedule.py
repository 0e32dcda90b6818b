"""The key schedule: which key and which commitment follows from which secret, for site, coordinator and auditor alike.

    dealer seed ── HKDF(epoch_ctx) ─┬─ channel key           X25519, seals shares for peers
                                    └─ sharing polynomials   AES-CTR stream
    mask-key seed ── HKDF(epoch_ctx, slot) ── mask key       X25519 ── HKDF(round_ctx, both) ── pairwise mask
    self-mask seed ── HKDF(round_ctx) ── self mask;  H(epoch_ctx, site, slot, seed) is its commitment

Polynomials follow from the dealer seed, so that sharing twice by accident gives the same shares, not two points more.
"""

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from common.secagg.masks import Mask, stream
from common.secagg.shamir import COEFFICIENT_BYTES, Polynomial, polynomial
from common.trust.keys import derive, digest, exchange_key, open_once, seal_once, shared_secret


def u16(*numbers: int) -> bytes:
    """Positions and slots as bytes."""
    return b"".join(n.to_bytes(2, "little") for n in numbers)


def channel_key(dealer: bytes, epoch_ctx: bytes) -> X25519PrivateKey:
    """A site's channel key of an epoch."""
    return exchange_key(derive(dealer, epoch_ctx, b"channel"))


def polynomials(dealer: bytes, epoch_ctx: bytes, secrets: Iterable[bytes], threshold: int) -> list[Polynomial]:
    """One sharing polynomial for every secret, always in the same order."""
    draw, size = stream(derive(dealer, epoch_ctx, b"polynomials")), (threshold - 1) * COEFFICIENT_BYTES
    return [polynomial(secret, threshold, draw.update(bytes(size))) for secret in secrets]


def mask_key(seed: bytes, epoch_ctx: bytes, slot: int) -> X25519PrivateKey:
    """A site's mask key of a round."""
    return exchange_key(derive(seed, epoch_ctx, b"mask-key" + u16(slot)))


def commitment(seed: bytes, epoch_ctx: bytes, sender: int, slot: int) -> bytes:
    """What a site publishes about its self-mask seed. The seed has 248 random bits, so this hides it."""
    return digest("self-mask", epoch_ctx, u16(sender, slot), seed)


def self_mask(seed: bytes, round_ctx: bytes, *, subtract: bool) -> Mask:
    """The mask that only the holders of a survivor's shares can take off."""
    return Mask(derive(seed, round_ctx, b"self-mask"), subtract)


def pair_mask(
    key: X25519PrivateKey, own: int, public: bytes, peer: int, round_ctx: bytes, *, subtract: bool, who: str
) -> Mask:
    """The mask that two sites share: the one with the lower position adds it, the other subtracts it."""
    secret = shared_secret(key, public, who=who)
    info = b"pair-mask" + u16(min(own, peer), max(own, peer))
    return Mask(derive(secret, round_ctx, info), subtract is (own < peer))


def sealed_shares(
    channel: X25519PrivateKey, public: bytes, shares: bytes, sender: int, receiver: int, directory: bytes, *, who: str
) -> bytes:
    """Shares for one peer alone."""
    key, context = _share_key(channel, public, sender, receiver, directory, who=who)
    return seal_once(key, shares, context)


def opened_shares(
    channel: X25519PrivateKey, public: bytes, sealed: bytes, sender: int, receiver: int, directory: bytes, *, who: str
) -> bytes:
    """Shares from one peer.

    Raises:
        IdentityError: naming the peer, if they were sealed for another site or epoch, or changed.
    """
    key, context = _share_key(channel, public, sender, receiver, directory, who=who)
    return open_once(key, sealed, context, who=who, what="share")


def _share_key(
    channel: X25519PrivateKey, public: bytes, sender: int, receiver: int, directory: bytes, *, who: str
) -> tuple[bytes, bytes]:
    context = b"share" + u16(sender, receiver)
    return derive(shared_secret(channel, public, who=who), directory, context), context + directory

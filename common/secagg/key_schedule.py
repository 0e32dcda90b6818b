"""The key schedule: which key and which commitment follows from which secret, for site, coordinator and auditor alike.

    dealer seed ── HKDF(period_ctx) ─┬─ channel key           X25519, seals shares for peers
                                    └─ sharing polynomials   AES-CTR stream
    mask-key seed ── HKDF(period_ctx, slot) ── mask key       X25519 ── HKDF(round_ctx, both) ── pairwise mask
    self-mask seed ── HKDF(round_ctx) ── self mask;  H(period_ctx, site, slot, seed) is its commitment

Polynomials follow from the dealer seed, so that sharing twice by accident gives the same shares, not two points more.
"""

# Why two masks (Bonawitz et al., section 4). Pairwise masks cancel in the sum, so they alone would hide a vector, until
# a site drops out: then its peers give shares of its mask key, and the coordinator rebuilds its half of each pair. If
# the vector of that site was merely late, the coordinator would now hold it in the clear. The self mask, which nobody
# else adds, stays over it: for every site the peers release a share of the self mask (its vector is in the sum) or of
# the mask key (it is not), and never of both.
#
# Every derived key takes in the context of its use: a pair's mask is another in each round (`round_ctx`), and a share
# that was sealed for one peer under one directory opens nowhere else. Labels such as b"channel" keep two keys from one
# seed apart.

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from common.secagg.masks import Mask, stream
from common.secagg.protocol import derive, digest
from common.secagg.shamir import COEFFICIENT_BYTES, Polynomial, polynomial
from common.trust.keys import exchange_key, open_once, seal_once, shared_secret


def u16(*numbers: int) -> bytes:
    """Positions in the cohort and numbers of rounds as bytes, two each."""
    return b"".join(n.to_bytes(2, "little") for n in numbers)


def channel_key(dealer: bytes, period_ctx: bytes) -> X25519PrivateKey:
    """A site's channel key of a key period."""
    return exchange_key(derive(dealer, period_ctx, b"channel"))


def polynomials(dealer: bytes, period_ctx: bytes, secrets: Iterable[bytes], threshold: int) -> list[Polynomial]:
    """One sharing polynomial for every secret, always in the same order."""
    draw, size = stream(derive(dealer, period_ctx, b"polynomials")), (threshold - 1) * COEFFICIENT_BYTES
    return [polynomial(secret, threshold, draw.update(bytes(size))) for secret in secrets]


def mask_key(seed: bytes, period_ctx: bytes, slot: int) -> X25519PrivateKey:
    """A site's mask key of a round."""
    return exchange_key(derive(seed, period_ctx, b"mask-key" + u16(slot)))


def commitment(seed: bytes, period_ctx: bytes, sender: int, slot: int) -> bytes:
    """What a site publishes about its self-mask seed. The seed has 248 random bits, so this hides it."""
    return digest("self-mask", period_ctx, u16(sender, slot), seed)


def self_mask(seed: bytes, round_ctx: bytes, *, subtract: bool) -> Mask:
    """The mask that only the holders of a survivor's shares can take off."""
    return Mask(derive(seed, round_ctx, b"self-mask"), subtract)


def pair_mask(
    key: X25519PrivateKey, position: int, public: bytes, peer: int, round_ctx: bytes, *, subtract: bool, who: str
) -> Mask:
    """The mask that two sites share: the one with the lower position adds it, the other subtracts it."""
    # Both sites reach the same X25519 secret from their own key and the other's public one; +mask and -mask mod 2**k
    # cancel in the sum. The order of positions decides the sign, so nobody has to negotiate it.
    secret = shared_secret(key, public, who=who)
    info = b"pair-mask" + u16(min(position, peer), max(position, peer))
    return Mask(derive(secret, round_ctx, info), subtract is (position < peer))


def sealed_shares(
    channel: X25519PrivateKey, public: bytes, shares: bytes, sender: int, receiver: int, directory: bytes, *, who: str
) -> bytes:
    """Seal the shares for one peer, so that the coordinator carries what it cannot read."""
    # The key depends on sender, receiver and directory, so it seals one message only: see `keys.seal_once`.
    key, context = _share_key(channel, public, sender, receiver, directory, who=who)
    return seal_once(key, shares, context)


def opened_shares(
    channel: X25519PrivateKey, public: bytes, box: bytes, sender: int, receiver: int, directory: bytes, *, who: str
) -> bytes:
    """Open the shares that one peer sealed for this site.

    Raises:
        IdentityError: naming the peer, if they were sealed for another site or key period, or changed.
    """
    key, context = _share_key(channel, public, sender, receiver, directory, who=who)
    return open_once(key, box, context, who=who, what="share")


def _share_key(
    channel: X25519PrivateKey, public: bytes, sender: int, receiver: int, directory: bytes, *, who: str
) -> tuple[bytes, bytes]:
    context = b"share" + u16(sender, receiver)
    return derive(shared_secret(channel, public, who=who), directory, context), context + directory

"""Signatures, key agreement, key derivation, sealing: one function each over `cryptography`, with no options.

Nonces are never parameters. What fails raises; nothing returns whether a check succeeded.
Ed25519 (RFC 8032), X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), ChaCha20-Poly1305 (RFC 8439).
"""

import hashlib
import secrets
from collections.abc import Callable
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import IdentityError

Random = Callable[[int], bytes]
"""So many bytes from the operating system's generator; tests put a known stream in its place."""

KEY_BYTES, SIGNATURE_BYTES, DIGEST_BYTES, TAG_BYTES = 32, 64, 32, 16
PREFIX = "consilium/secagg/1/"
"""Of what is signed or sealed outside secure aggregation, which has a number of its own (`common.secagg.protocol`)."""

# A point of low order times any private key is one of eight points: whoever publishes it makes every secret that is
# shared with it known to all, and masks that follow from it no masks. RFC 7748 leaves the check to the protocol.
_ORDER_8 = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
_P = 2**255 - 19
_LOW_ORDER = {0, 1, _P - 1, *_ORDER_8}  # RFC 7748, section 6.1; D. J. Bernstein's list


def digest(label: str, *fields: bytes, prefix: str = PREFIX) -> bytes:
    """SHA-256 over a label and fields, every one after its length: no two lists of fields give the same input."""
    state = hashlib.sha256()
    for field in ((prefix + label).encode(), *fields):
        state.update(len(field).to_bytes(8, "little"))
        state.update(field)  # apart: it may be a whole model
    return state.digest()


def sign(identity: Ed25519PrivateKey, statement: bytes) -> bytes:
    """The signature of a statement, which is always a `digest`."""
    return identity.sign(statement)


def verify(public: bytes, signature: bytes, statement: bytes, *, who: str, what: str) -> None:
    """Check a signature.

    Raises:
        IdentityError: naming whose signature of what it should be.
    """
    try:
        _verify(public, signature, statement)
    except (InvalidSignature, ValueError):
        raise IdentityError(
            "bad-signature", f"{what}: the signature is not {who}'s under the roster. Do not go on; ask {who}."
        ) from None


@lru_cache(maxsize=1024)
def _verify(public: bytes, signature: bytes, statement: bytes) -> None:
    # What was right once is right for ever, and what is wrong raises and is not kept. In a simulation all sites are
    # shown the same signatures, one site after the other.
    Ed25519PublicKey.from_public_bytes(public).verify(signature, statement)


def public_of(identity: Ed25519PrivateKey) -> bytes:
    """The 32 bytes that a roster lists."""
    return identity.public_key().public_bytes_raw()


def exchange_key(private: bytes) -> X25519PrivateKey:
    """The X25519 key of 32 private bytes; made once for all peers, since making it costs as much as an exchange."""
    return X25519PrivateKey.from_private_bytes(private)


def exchange_public(key: X25519PrivateKey) -> bytes:
    """The 32 bytes that peers are told."""
    return key.public_key().public_bytes_raw()


def shared_secret(key: X25519PrivateKey, public: bytes, *, who: str) -> bytes:
    """The X25519 shared secret with a peer.

    Raises:
        IdentityError: for a key of low order, which would make the secret known to everybody.
    """
    try:
        return key.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise _low_order(who) from None


def refuse_low_order(public: bytes, *, who: str) -> None:
    """Refuse an X25519 key with which every shared secret is the same.

    Raises:
        IdentityError: naming the owner.
    """
    if (int.from_bytes(public, "little") & (2**255 - 1)) % _P in _LOW_ORDER:
        raise _low_order(who)


def derive(secret: bytes, salt: bytes, info: bytes, *, prefix: str = PREFIX) -> bytes:
    """32 bytes by HKDF-SHA256."""
    return HKDF(SHA256(), 32, salt, prefix.encode() + info).derive(secret)


def seal_once(key: bytes, content: bytes, context: bytes) -> bytes:
    """Encrypt and authenticate the one and only content that this key ever seals."""
    # Constant nonce: every caller derives the key for exactly one content, by HKDF over what that content belongs to.
    # Under one key and nonce two contents would give away their XOR and let anybody forge; there never is a second one.
    return ChaCha20Poly1305(key).encrypt(bytes(12), content, context)


def open_once(key: bytes, ciphertext: bytes, context: bytes, *, who: str, what: str) -> bytes:
    """Decrypt what `seal_once` sealed.

    Raises:
        IdentityError: naming the sender, if it was sealed for another peer, for another key period, or was changed.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), ciphertext, context)
    except InvalidTag:
        raise IdentityError(
            "bad-seal", f"{what} from {who} cannot be opened: it is not for this site and key period, or was changed."
        ) from None


def seal_state(content: bytes, key: bytes) -> bytes:
    """Encrypt a site's state for its disk, under a key of 32 bytes that is kept elsewhere."""
    salt = secrets.token_bytes(32)
    return salt + seal_once(derive(key, salt, b"state"), content, b"state")


def unseal_state(content: bytes, key: bytes) -> bytes:
    """Decrypt a state that `seal_state` sealed.

    Raises:
        IdentityError: for another key or a damaged file.
    """
    return open_once(derive(key, content[:32], b"state"), content[32:], b"state", who="this site", what="sealed state")


def _low_order(who: str) -> IdentityError:
    return IdentityError("low-order-key", f"{who} published a key of low order, which protects nothing. Exclude {who}.")

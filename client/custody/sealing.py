"""Seals bytes under a key and to their place, by Cobblestone-256 of `cryptography` (C2SP chunked-encryption):
AES-256-GCM in chunks of 16 KiB, under a key of its own for each message, derived by HKDF-SHA-512 and committed to.

The place is a list of words that both sides know: what was sealed at one place does not open at another. Nonces and
message keys are the library's own matter. A message is opened whole or not at all.
"""

import hashlib

import numpy as np
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from common.errors import CustodyError

KEY_BYTES = 32
SMALL_BYTES = 1 << 15
PREFIX = "consilium/custody/1"
RESTORE = "Restore it from a backup: python -m client custody verify shows what else is damaged."

Place = tuple[str, ...]
"""Site, data set, and what it is in there."""


def seal(key: bytes, content: bytes | memoryview, place: Place) -> bytes:
    """Encrypt and authenticate; any number of contents under one key."""
    encryptor = Cobblestone256Encryptor(key, context(place))
    return encryptor.update(content) + encryptor.finalize()


def unseal(key: bytes, sealed_bytes: bytes | memoryview, place: Place, what: str) -> bytes:
    """The content of `seal`.

    Args:
        what: what a message calls it, path first.

    Raises:
        CustodyError: another key or place, or a byte was changed, is missing or too many.
    """
    try:
        return bytes(unseal_view(key, sealed_bytes, context(place)))
    except InvalidTag:
        raise CustodyError(f"{what}: is not what was stored: changed, truncated or swapped. {RESTORE}") from None


def unseal_view(key: bytes, sealed_bytes: bytes | memoryview, bound_to: bytes) -> memoryview:
    """As `unseal`, with the `context` of the place, and without a copy.

    Raises:
        InvalidTag: it is not what was sealed.
    """
    decryptor = Cobblestone256Decryptor(key, bound_to)
    if len(sealed_bytes) < SMALL_BYTES:
        return memoryview(decryptor.update(sealed_bytes) + decryptor.finalize())
    content = np.empty(len(sealed_bytes), np.uint8).data  # not set to zero first, which would cost as much again
    length = decryptor.update_into(sealed_bytes, content)
    rest = decryptor.finalize()  # before it nothing is known to be whole
    content[length : length + len(rest)] = rest
    return content[: length + len(rest)].toreadonly()


def context(place: Place) -> bytes:
    """A place as bytes: every word after its length, so that no two places give the same."""
    return b"".join(map(word, (PREFIX, *place)))


def word(text: str) -> bytes:
    """One more word of a context."""
    content = text.encode()
    return len(content).to_bytes(4, "little") + content


def subkey(key: bytes, purpose: str) -> bytes:
    """Another key of 32 bytes, of which neither tells anything about the other."""
    return hashlib.blake2b(context((purpose,)), key=key, digest_size=KEY_BYTES).digest()

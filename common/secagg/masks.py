"""Mask streams: AES-256 in counter mode under a key used once, added to a vector of words mod 2**k.

The vector is swept a leaf at a time, all streams over it while it is in cache, and hashed while still there; on several
cores. NIST SP 800-38A, and SP 800-38D, of which a leaf's stretch of a stream is what a message of zeros becomes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from blake3 import blake3  # three times as fast as SHA-256, which would cost as much as all the masks
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from common.secagg.parallel import run_on_cores
from common.secagg.protocol import digest

Words = NDArray[np.uint32] | NDArray[np.uint64]
"""The vector that is masked: little-endian words, contiguous, added mod 2**32 or mod 2**64."""

LEAF_BYTES = 2**18
"""The unit of the vector's hash, of each stream, and of the work on it: part of the protocol."""
NONCE_BYTES, TAG_BYTES = 12, 16
_ZEROS = memoryview(bytes(LEAF_BYTES))

# A word plus a mask word mod 2**k is uniform whatever the word was, as in a one-time pad; AES-CTR stretches one key of
# 32 bytes into the pad. Words wrap round on purpose: a float plus a mask would round, and betray its size.

LEAD_BYTES, TAIL_BYTES = 48, 64
"""Room before and after a vector for the rest of its message."""
LINE_BYTES = 64
"""Of a processor's cache: adding to a vector that begins at a line, or multiplying it, takes two thirds of the time."""


@dataclass(frozen=True)
class Mask:
    """One stream, to be added or subtracted."""

    key: bytes = field(repr=False)
    """32 bytes that serve this one stream and nothing else."""
    subtract: bool


def room(length: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """An empty vector that begins at a cache line and lies where its message will, so that sending it needs no copy."""
    size = length * dtype.itemsize
    whole = np.empty(LEAD_BYTES + size + TAIL_BYTES + LINE_BYTES, np.uint8)
    start = LEAD_BYTES + -(whole.ctypes.data + LEAD_BYTES) % LINE_BYTES
    return whole[start : start + size].view(dtype)


def room_of(words: Words) -> NDArray[np.uint8] | None:
    """The bytes around a vector that was made by `room`; none for any other."""
    whole, size = words.base, LEAD_BYTES + words.nbytes + TAIL_BYTES
    if not isinstance(whole, np.ndarray) or whole.nbytes != size + LINE_BYTES or not whole.flags.writeable:
        return None
    start = words.ctypes.data - whole.ctypes.data - LEAD_BYTES
    return whole[start : start + size] if 0 <= start < LINE_BYTES else None


def stream(key: bytes) -> CipherContext:
    """A plain key stream, from block 0 on, for what is drawn and not masked: encrypting zeros gives it."""
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()


def apply(words: Words | NDArray[np.uint8], masks: Sequence[Mask]) -> bytes:
    """Add all the streams to the vector in place.

    Returns:
        The hash of the result, as `hash_of` would give it.
    """
    # Every leaf has its own stretch of each stream, so cores take leaves in any order, and each is hashed while it is
    # still in cache. What is signed is the hash over the leaves' hashes: a site signs 32 bytes and not the vector.
    hashes = run_on_cores(range(-(-words.nbytes // LEAF_BYTES)), lambda: _sweeper(words, masks))
    return hash_of_leaves(words.nbytes, hashes)


def hash_of(words: Words | NDArray[np.uint8]) -> bytes:
    """SHA-256 over the BLAKE3 of every leaf of 256 KiB, with the number of bytes."""
    return apply(words, ())


def leaf_hash(leaf: NDArray[Any]) -> bytes:
    """BLAKE3 of a leaf."""
    return blake3(leaf.view(np.uint8).data).digest()


def hash_of_leaves(size: int, leaves: Sequence[bytes]) -> bytes:
    """The hash of a vector of so many bytes, from those of its leaves."""
    return digest("words", size.to_bytes(8, "little"), b"".join(leaves))


def _sweeper(words: Words | NDArray[np.uint8], masks: Sequence[Mask]) -> Callable[[int], bytes]:
    """What one core does with a leaf: add the streams, and hash it."""
    # Counter mode by way of GCM, twice as fast as by itself where a processor has AES on wide vectors; its tag is of no
    # use here. Nonces are the leaves' numbers under every key, since each key is derived for one stream.
    a_leaf = LEAF_BYTES // words.itemsize
    stream = np.empty(min(LEAF_BYTES, words.nbytes) + TAG_BYTES, np.uint8)
    streams = [(AESGCM(m.key), np.subtract if m.subtract else np.add) for m in masks]

    def sweep(leaf: int) -> bytes:
        part, nonce = words[leaf * a_leaf : (leaf + 1) * a_leaf], leaf.to_bytes(NONCE_BYTES, "big")
        zeros, into = _ZEROS[: part.nbytes], stream.data[: part.nbytes + TAG_BYTES]
        pad = stream[: part.nbytes].view(words.dtype)
        for source, combine in streams:
            source.encrypt_into(nonce, zeros, None, into)
            combine(part, pad, part)
        return leaf_hash(part)

    return sweep

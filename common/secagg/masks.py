"""Mask streams: AES-256-CTR under a key used once, added to a vector of words mod 2**k. NIST SP 800-38A.

The vector is swept a few leaves at a time, all streams over them while they are in cache, and hashed while still there;
on several cores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from blake3 import blake3  # three times as fast as SHA-256, which would cost as much as all the masks
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from common.secagg.parallel import run_on_cores
from common.secagg.protocol import digest

Words = NDArray[np.uint32] | NDArray[np.uint64]
"""The vector that is masked: little-endian words, contiguous, added mod 2**32 or mod 2**64."""

LEAF_BYTES = 2**17
"""The unit of the vector's hash, and of the work on it: part of the protocol."""
BLOCK_BYTES = 16
_LEAVES_A_RUN = 2
"""What a core takes at a time, and every stream in one piece."""
_ZEROS = memoryview(bytes(_LEAVES_A_RUN * LEAF_BYTES))

# A word plus a mask word mod 2**k is uniform whatever the word was, as in a one-time pad; AES-CTR stretches one key of
# 32 bytes into the pad. Words wrap round on purpose: a float plus a mask would round, and betray its size.

LEAD_BYTES, TAIL_BYTES = 48, 64
"""Room before and after a vector for the rest of its message; the words stay aligned."""


@dataclass(frozen=True)
class Mask:
    """One stream, to be added or subtracted."""

    key: bytes = field(repr=False)
    """32 bytes that serve this one stream and nothing else."""
    subtract: bool


def room(length: int, dtype: np.dtype[Any]) -> Words:
    """An empty vector that lies where its message will, so that sending it needs no copy."""
    whole = np.empty(LEAD_BYTES + length * dtype.itemsize + TAIL_BYTES, np.uint8)
    return whole[LEAD_BYTES : len(whole) - TAIL_BYTES].view(dtype)


def room_of(words: Words) -> NDArray[np.uint8] | None:
    """The bytes around a vector that was made by `room`; none for any other."""
    whole = words.base
    if not isinstance(whole, np.ndarray) or whole.nbytes != LEAD_BYTES + words.nbytes + TAIL_BYTES:
        return None
    return whole if words.ctypes.data == whole.ctypes.data + LEAD_BYTES and whole.flags.writeable else None


def stream(key: bytes, leaf: int = 0) -> CipherContext:
    """The key stream from a leaf on: encrypting zeros gives it."""
    return Cipher(algorithms.AES(key), modes.CTR(_counter(leaf))).encryptor()


def apply(words: Words | NDArray[np.uint8], masks: Sequence[Mask]) -> bytes:
    """Add all the streams to the vector in place.

    Returns:
        The hash of the result, as `hash_of` would give it.
    """
    # A leaf's place in the key stream is known (CTR), so cores take leaves in any order, and each is hashed while it is
    # still in cache. What is signed is the hash over the leaves' hashes: a site signs 32 bytes and not the vector.
    leaves = -(-words.nbytes // LEAF_BYTES)
    runs = [range(first, min(first + _LEAVES_A_RUN, leaves)) for first in range(0, leaves, _LEAVES_A_RUN)]
    hashes = run_on_cores(runs, lambda: _sweeper(words, masks))
    return digest("words", words.nbytes.to_bytes(8, "little"), b"".join(leaf for run in hashes for leaf in run))


def hash_of(words: Words | NDArray[np.uint8]) -> bytes:
    """SHA-256 over the BLAKE3 of every leaf of 128 KiB, with the number of bytes."""
    return apply(words, ())


def _sweeper(words: Words | NDArray[np.uint8], masks: Sequence[Mask]) -> Callable[[range], list[bytes]]:
    """What one core does with a run of leaves: add the streams, and hash every leaf."""
    a_leaf = LEAF_BYTES // words.itemsize
    key_stream = bytearray(min(len(_ZEROS), words.nbytes))
    pad: NDArray[Any] = np.frombuffer(key_stream, words.dtype)
    streams = [(stream(m.key), np.subtract if m.subtract else np.add) for m in masks]

    def sweep(run: range) -> list[bytes]:
        part, counter = words[run.start * a_leaf : run.stop * a_leaf], _counter(run.start)
        zeros, stretch = _ZEROS[: part.nbytes], pad[: len(part)]
        for source, combine in streams:
            source.reset_nonce(counter)
            source.update_into(zeros, key_stream)
            combine(part, stretch, part)
        content = part.view(np.uint8).data
        return [blake3(content[at : at + LEAF_BYTES]).digest() for at in range(0, len(content), LEAF_BYTES)]

    return sweep


def _counter(leaf: int) -> bytes:
    """Where a leaf begins in its stream."""
    # The counter starts at 0 under every key: each key is derived for one stream of at most 2**36 bytes.
    return (leaf * LEAF_BYTES // BLOCK_BYTES).to_bytes(16, "big")

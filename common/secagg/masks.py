"""Mask streams: AES-256-CTR under a key used once, added to a vector of words mod 2**k. NIST SP 800-38A.

The vector is swept leaf by leaf, all streams over one leaf while it is in cache, and hashed while still there.
AES, NumPy's additions and BLAKE3 all let go of the interpreter, so that the sweep runs on several cores.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from blake3 import blake3  # three times as fast as SHA-256, which would cost as much as all the masks
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from common.secagg.keys import digest

Words = NDArray[np.uint32] | NDArray[np.uint64]
"""The vector that is masked: little-endian words, contiguous, added mod 2**32 or mod 2**64."""

LEAF_BYTES = 2**17
"""The unit of the vector's hash, and of the work on it: part of the protocol."""
BLOCK_BYTES = 16
WORKERS = min(4, os.cpu_count() or 1)
_LEAVES_A_WORKER = 4
_ZEROS = memoryview(bytes(LEAF_BYTES))


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
    # The counter starts at 0 under every key: each key is derived for one stream of at most 2**36 bytes.
    counter = (leaf * LEAF_BYTES // BLOCK_BYTES).to_bytes(16, "big")
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()


def apply(words: Words, masks: Sequence[Mask]) -> bytes:
    """Add all the streams to the vector in place.

    Returns:
        The hash of the result, as `hash_of` would give it.
    """
    return _root(words, [leaf for part in _in_parts(words, masks) for leaf in part])


def hash_of(words: Words) -> bytes:
    """SHA-256 over the BLAKE3 of every leaf of 128 KiB, with the number of bytes."""
    return apply(words, ())


def _in_parts(words: Words, masks: Sequence[Mask]) -> list[list[bytes]]:
    leaves = -(-words.nbytes // LEAF_BYTES)
    workers = max(1, min(WORKERS, leaves // _LEAVES_A_WORKER))
    edges = [leaves * i // workers for i in range(workers + 1)]
    if workers == 1:
        return [_sweep(words, masks, 0, leaves)]
    with ThreadPoolExecutor(workers - 1) as pool:
        others = [pool.submit(_sweep, words, masks, edges[w], edges[w + 1]) for w in range(1, workers)]
        return [_sweep(words, masks, 0, edges[1]), *(other.result() for other in others)]


def _sweep(words: Words, masks: Sequence[Mask], first: int, last: int) -> list[bytes]:
    a_leaf = LEAF_BYTES // words.itemsize
    drawn = bytearray(min(LEAF_BYTES, words.nbytes))
    pad: NDArray[Any] = np.frombuffer(drawn, words.dtype)
    streams = [(stream(m.key, first), np.subtract if m.subtract else np.add) for m in masks]
    hashes = []
    for leaf in range(first, last):
        part = words[leaf * a_leaf : (leaf + 1) * a_leaf]
        zeros, stretch = _ZEROS[: part.nbytes], pad[: len(part)]
        for source, combine in streams:
            source.update_into(zeros, drawn)
            combine(part, stretch, part)
        hashes.append(blake3(part.view(np.uint8).data).digest())
    return hashes


def _root(words: Words, leaves: Sequence[bytes]) -> bytes:
    return digest("words", words.nbytes.to_bytes(8, "little"), b"".join(leaves))

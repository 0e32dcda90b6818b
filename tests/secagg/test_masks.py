"""The sweep gives the same words and the same hash however many cores share it, and masks come off as they went on."""

import hashlib
import struct
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from common.secagg import masks, parallel
from common.secagg.masks import LEAF_BYTES, Mask
from common.secagg.round_messages import Masked


def some_masks() -> list[Mask]:
    return [Mask(hashlib.sha256(bytes([i])).digest(), subtract=i % 2 == 1) for i in range(3)]


def words(length: int, dtype: Any) -> np.ndarray:
    return np.random.default_rng(length).integers(0, 2**32, length).astype(dtype)


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
@pytest.mark.parametrize("leaves", [0.001, 1, 4, 9.3, 17])
def test_the_number_of_cores_changes_nothing(monkeypatch: pytest.MonkeyPatch, dtype: str, leaves: float) -> None:
    found = []
    for workers in (1, 2, 3, 4):
        monkeypatch.setattr(parallel, "CORES", workers)
        vector = words(int(leaves * LEAF_BYTES / np.dtype(dtype).itemsize), dtype)
        root = masks.apply(vector, some_masks())
        assert root == masks.hash_of(vector)
        found.append((root, vector.tobytes()))
    assert len(set(found)) == 1


def test_masks_come_off_as_they_went_on() -> None:
    vector = words(100_003, "<u4")
    before = vector.copy()
    masks.apply(vector, some_masks())
    assert (vector != before).mean() > 0.99
    masks.apply(vector, [Mask(m.key, subtract=not m.subtract) for m in some_masks()])
    np.testing.assert_array_equal(vector, before)


def test_masked_words_look_random() -> None:
    vector = np.zeros(200_000, "<u4")
    masks.apply(vector, some_masks()[:1])
    counts = np.bincount(vector.view(np.uint8), minlength=256)
    assert abs(((counts - counts.mean()) ** 2 / counts.mean()).sum() - 255) < 5 * (2 * 255) ** 0.5  # chi-squared


def test_the_hash_is_that_of_the_leaves_hashes_and_the_length() -> None:
    data = words(2 * LEAF_BYTES // 4 + 5, "<u4")
    content = data.tobytes()
    leaves = [blake3(content[i : i + LEAF_BYTES]).digest() for i in range(0, len(content), LEAF_BYTES)]
    fields = [b"consilium/secagg/2/words", struct.pack("<Q", len(content)), b"".join(leaves)]
    by_hand = hashlib.sha256(b"".join(struct.pack("<Q", len(f)) + f for f in fields)).digest()
    assert len(leaves) == 3
    assert masks.hash_of(data) == by_hand


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_a_message_written_around_its_vector_is_the_same_message(dtype: str) -> None:
    vector = masks.room(1001, np.dtype(dtype))
    vector[:] = words(1001, dtype)
    apart = Masked(b"c" * 32, 3, vector.copy(), signature=b"s" * 64)
    around = Masked(b"c" * 32, 3, vector, signature=b"s" * 64).in_place()
    assert bytes(around) == apart.encode() == apart.in_place()
    assert np.shares_memory(np.frombuffer(around, np.uint8), vector)
    assert vector.ctypes.data % 64 == masks.room(1, np.dtype(dtype)).ctypes.data % 64 == 0
    np.testing.assert_array_equal(Masked.decode(around).words, vector)


def test_a_part_of_a_larger_array_is_no_room() -> None:
    whole = np.zeros(masks.LEAD_BYTES + 80 + masks.TAIL_BYTES + 64, np.uint8)
    assert masks.room_of(whole[masks.LEAD_BYTES : masks.LEAD_BYTES + 80].view("<u4")) is not None
    assert masks.room_of(whole[:80].view("<u4")) is None
    assert masks.room_of(whole[masks.LEAD_BYTES + 64 : masks.LEAD_BYTES + 144].view("<u4")) is None
    assert masks.room_of(whole[masks.LEAD_BYTES : masks.LEAD_BYTES + 40].view("<u4")) is None
    assert masks.room_of(np.frombuffer(bytes(256), "<u4")[12:32]) is None


def test_a_key_does_not_print() -> None:
    assert "key" not in repr(some_masks()[0])

"""Sketches are exact integers, linear, and by a second implementation the same; sums keep every carry."""

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from common.secagg import masks
from common.secagg.sketch import ROW, SKETCH_BYTES, Challenge, LimbSum, key_of, limbs_of, total_of
from common.trust.roster import MAX_SITES

KEY = hashlib.sha256(b"a round's challenge").digest()


def plain_sketch(key: bytes, limbs: list[int]) -> tuple[int, ...]:
    """Python's own integers, a limb at a time: AES block by block, no matrix, no digits."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305

    def challenges(j: int) -> list[int]:
        stretch = block.update(j.to_bytes(16, "big"))
        return [int.from_bytes(stretch[4 * c : 4 * c + 4], "little") for c in range(4)]

    within = [challenges(q) for q in range(min(ROW, len(limbs)))]
    four = [0] * 4
    for p in range(-(-len(limbs) // ROW)):
        of_row = challenges(ROW + p)
        for q, limb in enumerate(limbs[p * ROW : (p + 1) * ROW]):
            for c in range(4):
                four[c] += of_row[c] * within[q][c] * limb
    return tuple(four)


def numbers(content: bytes) -> tuple[int, ...]:
    assert len(content) == SKETCH_BYTES
    return total_of([content])


def words_of(length: int, bits: int = 32, seed: int = 0) -> masks.Words:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 2**bits, length, np.dtype(f"<u{bits // 8}"))  # type: ignore[no-any-return]


def test_known_answers() -> None:
    # The sketch of 1 at one place is the product of that place's two challenges.
    stretch = Cipher(algorithms.AES(KEY), modes.CTR(bytes(16))).encryptor().update(bytes(16 * (ROW + 2)))
    for place in (0, 1, ROW - 1, ROW, ROW + 5):
        one = np.zeros(ROW + 6, "<u4")
        one[place] = 1
        row, column = divmod(place, ROW)
        for c, number in enumerate(numbers(Challenge(KEY, len(one)).sketch(one))):
            b = int.from_bytes(stretch[16 * column + 4 * c :][:4], "little")
            a = int.from_bytes(stretch[16 * (ROW + row) + 4 * c :][:4], "little")
            assert number == a * b
    counted = Challenge(KEY, 5000).sketch(np.arange(5000, dtype="<u4"))
    assert hashlib.sha256(counted).hexdigest() == "669461daa95b17296172d2ac912ac0778381e6c67a4df7df53cfa2474c9c75e7"


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("length", [1, 2, ROW - 1, ROW, ROW + 1, 8 * ROW - 1, 8 * ROW, 8 * ROW + 1, 32_767, 32_769])
def test_a_second_implementation_gives_the_same(length: int, bits: int) -> None:
    words = words_of(length, bits, seed=length)
    limbs = limbs_of(words)
    assert len(limbs) == length * bits // 32
    assert int(words[0]) == sum(int(limb) << (32 * i) for i, limb in enumerate(limbs[: bits // 32]))
    assert numbers(Challenge(KEY, len(limbs)).sketch(words)) == plain_sketch(KEY, [int(limb) for limb in limbs])


def test_the_largest_words_of_many_rows_stay_exact() -> None:
    rows = 300
    words = np.full(rows * ROW, 2**32 - 1, "<u4")
    stretch = np.frombuffer(masks.stream(KEY).update(bytes(16 * (ROW + rows))), "<u4").reshape(-1, 4)
    for c, number in enumerate(numbers(Challenge(KEY, len(words)).sketch(words))):
        within, of_rows = sum(map(int, stretch[:ROW, c])), sum(map(int, stretch[ROW:, c]))
        assert number == (2**32 - 1) * within * of_rows


@pytest.mark.parametrize("bits", [32, 64])
def test_200_sites_at_the_maximum_carry_199_and_add_up(bits: int) -> None:
    length = 70
    highest = np.full(length, 2**bits - 1, np.dtype(f"<u{bits // 8}"))
    total = LimbSum.zero(length, highest.dtype)
    for _ in range(MAX_SITES):
        total.add(highest)
    assert set(total.carry.tolist()) == {MAX_SITES - 1}
    assert [int(w) for w in total.words(highest.dtype)] == [MAX_SITES * (2**bits - 1) % 2**bits] * length
    challenge = Challenge(KEY, len(total.low))
    assert total_of([challenge.sketch(highest)] * MAX_SITES) == challenge.expected(total)


@settings(max_examples=60, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=6),
    length=st.integers(1, 5000),
    bits=st.sampled_from([32, 64]),
)
def test_the_sketches_of_vectors_add_up_to_that_of_their_sum(seeds: list[int], length: int, bits: int) -> None:
    sites = [words_of(length, bits, seed) for seed in seeds]
    total = LimbSum.zero(length, sites[0].dtype)
    for words in sites:
        total.add(words)
    challenge = Challenge(KEY, len(total.low))
    assert total_of(map(challenge.sketch, sites)) == challenge.expected(total)
    exact = [sum(int(words[j]) for words in sites) % 2**bits for j in range(length)]
    assert [int(w) for w in total.words(sites[0].dtype)] == exact
    limbs = [sum(int(limbs_of(words)[j]) for words in sites) for j in range(len(total.low))]
    assert [int(low) + (int(carry) << 32) for low, carry in zip(total.low, total.carry, strict=True)] == limbs


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 4999), change=st.sampled_from([1, 2**31, 2**32, 2**39, 2**61 - 1]))
def test_a_sum_that_differs_anywhere_has_another_sketch(place: int, change: int) -> None:
    words = words_of(5000)
    total = LimbSum.zero(5000, words.dtype)
    total.add(words)
    challenge = Challenge(KEY, 5000)
    true = challenge.expected(total)
    limb = (int(total.low[place]) + (int(total.carry[place]) << 32) + change) % 2**40
    total.low[place], total.carry[place] = limb % 2**32, limb >> 32
    changed = challenge.expected(total)
    assert all(one != other for one, other in zip(true, changed, strict=True))


def test_a_challenge_follows_from_the_round_the_survivors_and_the_sum() -> None:
    others = (bytes(32), (0, 1), KEY), (KEY, (0, 2), KEY), (KEY, (0, 1), bytes(32))
    keys = {key_of(KEY, (0, 1), KEY), *(key_of(*other) for other in others)}
    assert len(keys) == 4
    with pytest.raises(ValueError, match="3 limbs, expected 4"):
        Challenge(KEY, 4).sketch(words_of(3))


def test_a_commitment_holds_every_limb_and_every_carry() -> None:
    commitments = set()
    for low, carry in (((1, 2), (0, 0)), ((1, 3), (0, 0)), ((1, 2), (0, 1)), ((2, 1), (0, 0)), ((1, 2, 0), (0, 0, 0))):
        commitments.add(LimbSum(np.array(low, "<u4"), np.array(carry, np.uint8)).commitment())
    assert len(commitments) == 5

"""Sketches are exact integers, linear, and by a second implementation the same; sums keep every carry."""

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from common.secagg import masks
from common.secagg.sketch import BLOCK, COLUMNS, ROWS, SKETCH_BYTES, Challenge, LimbSum, key_of, limbs_of, total_of
from common.trust.roster import MAX_SITES

KEY = hashlib.sha256(b"a round's challenge").digest()


def challenges(key: bytes, blocks: int) -> tuple[list[list[int]], list[int]]:
    """b by number and row, and a by column: AES block by block, no matrix, no digits."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    count = 2 * 8 * ROWS // 16
    stretch = block.update(b"".join(j.to_bytes(16, "big") for j in range(count + blocks * COLUMNS)))

    def signed(at: int) -> int:
        return int.from_bytes(stretch[at : at + 2], "little", signed=True)

    within = [[signed(2 * (ROWS * j + r)) // 4 for r in range(ROWS)] for j in range(8)]
    starts = range(16 * count, len(stretch), 16)
    return within, [sum(signed(at + 2 * k) << (16 * k) for k in range(8)) for at in starts]


def plain_sketch(key: bytes, limbs: list[int]) -> tuple[int, ...]:
    """Python's own integers, a limb at a time."""
    within, of_columns = challenges(key, -(-len(limbs) // BLOCK))
    sums = [[0] * len(of_columns) for _ in range(8)]
    for place, limb in enumerate(limbs):
        block, (row, column) = place // BLOCK, divmod(place % BLOCK, COLUMNS)
        for j in range(8):
            sums[j][COLUMNS * block + column] += within[j][row] * limb
    return tuple(sum(a * b for a, b in zip(of_columns, one, strict=True)) for one in sums)


def numbers(content: bytes) -> tuple[int, ...]:
    assert len(content) == SKETCH_BYTES
    return total_of([content])


def words_of(length: int, bits: int = 32, seed: int = 0) -> masks.Words:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 2**bits, length, np.dtype(f"<u{bits // 8}"))  # type: ignore[no-any-return]


def test_known_answers() -> None:
    # The sketch of 1 at one place is the product of that place's two challenges.
    within, of_columns = challenges(KEY, 2)
    assert all(-(2**13) <= b < 2**13 for row in within for b in row)
    assert max(map(abs, of_columns)) > 2**125
    for place in (0, 1, COLUMNS - 1, COLUMNS, 5 * COLUMNS + 7, BLOCK - 1, BLOCK, BLOCK + COLUMNS + 3):
        one = np.zeros(BLOCK + 2 * COLUMNS, "<u4")
        one[place] = 1
        row, column = divmod(place % BLOCK, COLUMNS)
        expected = [within[j][row] * of_columns[COLUMNS * (place // BLOCK) + column] for j in range(8)]
        assert list(numbers(Challenge(KEY, len(one)).sketch(one))) == expected
    counted = Challenge(KEY, 5000).sketch(np.arange(5000, dtype="<u4"))
    assert hashlib.sha256(counted).hexdigest() == "192ac45d4d1518074c0f27fc86fe4294c971c62b8e4a192d8ebe6188aabaa827"


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("length", [1, 2, COLUMNS, COLUMNS + 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1])
def test_a_second_implementation_gives_the_same(length: int, bits: int) -> None:
    words = words_of(length, bits, seed=length)
    limbs = limbs_of(words)
    assert len(limbs) == length * bits // 32
    assert int(words[0]) == sum(int(limb) << (32 * i) for i, limb in enumerate(limbs[: bits // 32]))
    sketch, root = Challenge(KEY, len(limbs)).sketch_and_hash(words)
    assert numbers(sketch) == plain_sketch(KEY, [int(limb) for limb in limbs])
    assert sketch == Challenge(KEY, len(limbs)).sketch(words)
    assert root == masks.hash_of(words)


@pytest.mark.parametrize("within", [-(2**13), 2**13 - 1])
@pytest.mark.parametrize("digit", [-(2**15), 2**15 - 1])
def test_the_largest_words_under_the_largest_challenges_stay_exact(within: int, digit: int) -> None:
    blocks = 9
    words = np.full(blocks * BLOCK, 2**32 - 1, "<u4")
    challenge = Challenge(KEY, len(words))
    challenge._within[:], challenge._digits[:] = within, digit  # no key gives these
    number = (2**32 - 1) * ROWS * within * blocks * COLUMNS * sum(digit << (16 * k) for k in range(8))
    assert numbers(challenge.sketch(words)) == (number,) * 8


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
    assert total_of([challenge.sketch(highest)] * MAX_SITES) == challenge.expectation(total)


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
    assert total_of(map(challenge.sketch, sites)) == challenge.expectation(total)
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
    true = challenge.expectation(total)
    limb = (int(total.low[place]) + (int(total.carry[place]) << 32) + change) % 2**40
    total.low[place], total.carry[place] = limb % 2**32, limb >> 32
    changed = challenge.expectation(total)
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

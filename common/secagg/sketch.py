"""Sketches: four numbers of each masked vector, by which anybody sees that a claimed sum is the sum of all vectors.

A vector is viewed as 32-bit limbs (a 64-bit word is two) y[p][q], in rows of 1024. The coordinator commits to the sum,
limb by limb over the integers; from this commitment C follow challenges a, b of 32 bits, and each site signs

    sketch_i[c] = Σ_p a[p][c] · Σ_q b[q][c] · y_i[p][q]      c = 0..3, over the integers

Linear, so Σ_i sketch_i is the sketch of the sum. After Freivalds, 1977.
"""

# What it proves. Let the claimed sum differ from the true one, both fixed before the challenges. Some row of the
# difference is not zero; its product with b is zero for one b[q] in 2**32 at most; if it is not, then all rows together
# are zero for one a[p] in 2**32 at most. So one of the four holds with probability 2**-31 at most, all with 2**-124.
# The coordinator can try other commitments, 2**80 of them with 2**-44; what it tries is of no use in another round or
# for other survivors, since the key takes these in.
# Integers, and no field: modulo a prime or a power of two there are multiples that pass, and 64-bit words hold them.
# Exact all the same in float64, which BLAS multiplies fast: below, no sum of products reaches 2**53.

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.secagg import masks
from common.secagg.message_fields import Members
from common.secagg.parallel import run_on_cores
from common.secagg.protocol import digest
from common.secagg.schedule import u16

CHALLENGES = 4
NUMBER_BYTES = 16
"""Of one of the four numbers: 2**20 rows · 2**32 · 1024 · 2**32 · 2**32 at most."""
SKETCH_BYTES = CHALLENGES * NUMBER_BYTES
ROW = 1024
"""Limbs of a row: part of the protocol."""
_DIGITS = 4
"""A challenge is four digits of 8 bits: 2**32 · 2**8 · 1024 = 2**50."""
_COLUMNS = CHALLENGES * _DIGITS
_HALF_BITS = 25
"""A row's product goes on as two halves: 2**25 · 2**8 · 2**20 rows = 2**53."""
_BLOCK = 32
"""Rows multiplied at a time: they stay in cache, and BLAS starts no threads for them."""
_RUN = 4 * _BLOCK
"""Rows that a core takes at a time."""
_PIECE = 2**15
"""Limbs that are added at a time."""

Four = tuple[int, ...]
"""The four numbers of a sketch, or of a sum of sketches."""


@dataclass(frozen=True, eq=False)
class LimbSum:
    """Vectors added limb by limb over the integers: 1.25 times the bytes of one vector, whatever their number."""

    low: NDArray[np.uint32]
    """Of each limb's sum, the 32 lowest bits."""
    carry: NDArray[np.uint8]
    """Of each limb's sum, what is above: less than the number of vectors, of which there are 200 at most."""

    @classmethod
    def zero(cls, length: int, dtype: np.dtype[Any]) -> "LimbSum":
        """The sum of no vector of so many words."""
        limbs = length * dtype.itemsize // 4
        return cls(np.zeros(limbs, np.uint32), np.zeros(limbs, np.uint8))

    def add(self, words: masks.Words) -> None:
        """Add a vector, in place."""

        def core() -> Callable[[int], None]:
            def add(start: int) -> None:
                low, more = self.low[start : start + _PIECE], values[start : start + _PIECE]
                np.add(low, more, out=low)
                carry = self.carry[start : start + _PIECE]
                np.add(carry, low < more, out=carry, casting="unsafe")  # it wrapped round

            return add

        values = limbs_of(words)
        run_on_cores(range(0, len(values), _PIECE), core)

    def commitment(self) -> bytes:
        """C: what stands for the sum before its sketch is known."""
        size = len(self.low).to_bytes(8, "little")
        return digest("sum", size, masks.hash_of(self.low), masks.hash_of(self.carry))

    def words(self, dtype: np.dtype[Any]) -> masks.Words:
        """The sum as words mod 2**32 or mod 2**64."""
        if dtype.itemsize == 4:
            return self.low.copy()
        words: masks.Words = self.low.view("<u8").copy()
        words += self.carry[::2].astype(np.uint64) << np.uint64(32)  # the upper limb's own carry is beyond 2**64
        return words


def limbs_of(words: masks.Words) -> NDArray[np.uint32]:
    """A vector as 32-bit limbs, little-endian, not copied."""
    return words.view("<u4")


def key_of(context: bytes, members: Members, commitment: bytes) -> bytes:
    """From what the challenges follow: the round, whose vectors are added, and what their sum is said to be."""
    return digest("sketch", context, u16(*members), commitment)


class Challenge:
    """The challenges of one round, for vectors of so many limbs.

    Args:
        key: as `key_of` gives it.
        limbs: of every vector.
    """

    def __init__(self, key: bytes, limbs: int) -> None:
        self._limbs, self._rows = limbs, -(-limbs // ROW)
        # Block j of AES-256-CTR is four challenges, each four digits: first those within a row, then those of the rows.
        blocks = np.frombuffer(masks.stream(key).update(bytes(_COLUMNS * (ROW + self._rows))), np.uint8)
        digits = blocks.reshape(-1, _COLUMNS).astype(np.float64)
        self._within, self._of_rows = digits[:ROW], digits[ROW:]

    def sketch(self, words: masks.Words) -> bytes:
        """The sketch of one masked vector: 64 bytes."""
        return encode(self._numbers(limbs_of(words)))

    def expected(self, total: LimbSum) -> Four:
        """What the sketches of all vectors must add up to, if `total` is their sum."""
        low, carry = self._numbers(total.low), self._numbers(total.carry)
        return tuple(a + (b << 32) for a, b in zip(low, carry, strict=True))

    def _numbers(self, limbs: NDArray[np.uint32] | NDArray[np.uint8]) -> Four:
        if len(limbs) != self._limbs:
            raise ValueError(f"{len(limbs)} limbs, expected {self._limbs}")
        starts = range(0, self._rows, _RUN)
        products = np.concatenate(run_on_cores(starts, lambda: self._multiplier(limbs)))
        whole = products.astype(np.int64)
        halves = np.concatenate([whole & (2**_HALF_BITS - 1), whole >> _HALF_BITS], axis=1).astype(np.float64)
        table = (self._of_rows.T @ halves).astype(np.int64).reshape(CHALLENGES, _DIGITS, 2, CHALLENGES, _DIGITS)
        own: list[list[list[list[int]]]] = np.einsum("cihck->chik", table).tolist()  # each challenge with itself
        return tuple(
            sum(
                product << (8 * (i + k) + _HALF_BITS * half)
                for half, pair in enumerate(halves_of_one)
                for i, row in enumerate(pair)
                for k, product in enumerate(row)
            )
            for halves_of_one in own
        )

    def _multiplier(self, limbs: NDArray[Any]) -> Callable[[int], NDArray[np.float64]]:
        """What one core does with a run of rows: their products with the challenges within a row."""
        block = np.empty((_BLOCK, ROW))

        def multiply(first: int) -> NDArray[np.float64]:
            rows = min(_RUN, self._rows - first)
            products = np.empty((rows, _COLUMNS))
            for row in range(0, rows, _BLOCK):
                part = limbs[(first + row) * ROW : (first + min(row + _BLOCK, rows)) * ROW]
                flat = block.reshape(-1)
                flat[: len(part)] = part
                flat[len(part) :] = 0.0  # behind the last limb
                count = min(_BLOCK, rows - row)
                np.matmul(block[:count], self._within, out=products[row : row + count])
            return products

        return multiply


def encode(four: Four) -> bytes:
    """A sketch as bytes."""
    return b"".join(number.to_bytes(NUMBER_BYTES, "little") for number in four)


def total_of(sketches: Iterable[bytes]) -> Four:
    """Sketches of 64 bytes, added up."""
    numbers = [[int.from_bytes(s[16 * c : 16 * (c + 1)], "little") for c in range(CHALLENGES)] for s in sketches]
    return tuple(sum(column) for column in zip(*numbers, strict=True)) or (0,) * CHALLENGES

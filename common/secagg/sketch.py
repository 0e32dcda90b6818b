"""Sketches: eight numbers of each masked vector, by which anybody sees that a claimed sum is the sum of all vectors.

A vector is viewed as 32-bit limbs (a 64-bit word is two), in columns y[c] of 256 limbs. The coordinator commits to the
sum, limb by limb over the integers; from this commitment C follow challenges, b of 14 bits and a of 128, and each site
signs

    sketch_i[j] = Σ_c a[c] · Σ_r b[j][r] · y_i[c][r]      j = 0..7, over the integers

Linear, so Σ_i sketch_i is the sketch of the sum. After Freivalds, 1977.
"""

# What it proves. Let the claimed sum differ from the true one, both fixed before the challenges. Some column of the
# difference is not zero; its product with b[j] is zero for one b[j][r] in 2**14 at most, with all eight for one in
# 2**112. If one is not, then all columns together are zero for one a[c] in 2**128 at most. So a false sum passes with
# probability 2**-111 at most. The coordinator can try other commitments, 2**80 of them with 2**-31; what it tries is of
# no use in another round or for other survivors, since the key takes these in.
# Integers, and no field: modulo a prime or a power of two there are multiples that pass, and 64-bit words hold them.
# Exact all the same in float64, which BLAS multiplies fast: below, no sum of products goes beyond 2**53.

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.secagg import masks
from common.secagg.key_schedule import u16
from common.secagg.message_fields import Members
from common.secagg.parallel import run_on_cores
from common.secagg.protocol import digest

CHALLENGES = 8
NUMBER_BYTES = 32
"""Of one of the eight numbers, which has a sign: 2**22 columns · 2**53 · 2**127 at most."""
SKETCH_BYTES = CHALLENGES * NUMBER_BYTES
ROWS, COLUMNS = 256, 128
"""Limbs of a column, and columns of a block, in which limb r of column c is at 128 · r + c: part of the protocol."""
BLOCK = ROWS * COLUMNS
_DIGITS = 8
"""A challenge of 128 bits is eight digits of 16 bits, which have a sign."""
_HALF = 2.0**27
"""A column's product, 2**32 · 2**13 · 256 = 2**53 at most, goes on in halves: 2**27 · 2**15 · 128 columns = 2**49."""
_LEAF = masks.LEAF_BYTES // 4
"""What a core takes at a time, in limbs: a few blocks that stay in cache, for which BLAS starts no threads."""
_PIECE = 2**15
"""Limbs that are added at a time."""

Numbers = tuple[int, ...]
"""The eight numbers of a sketch, or of a sum of sketches."""


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
        words = masks.room(self.low.nbytes // dtype.itemsize, dtype)
        words[:] = self.low.view(dtype)
        if dtype.itemsize == 8:
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
        self._limbs, self._blocks = limbs, -(-limbs // BLOCK)
        # AES-256-CTR as 16-bit numbers with a sign: first those within a column, of which the 14 upper bits are taken,
        # then the digits of the columns' challenges, the lowest first.
        count = CHALLENGES * ROWS + self._blocks * COLUMNS * _DIGITS
        numbers = np.frombuffer(masks.stream(key).update(bytes(2 * count)), "<i2")
        within, digits = np.split(numbers, [CHALLENGES * ROWS])
        self._within = (within >> 2).reshape(CHALLENGES, ROWS).astype(np.float64)
        self._digits = digits.reshape(self._blocks, COLUMNS, _DIGITS).astype(np.float64)

    def sketch(self, words: masks.Words) -> bytes:
        """The sketch of one masked vector: 256 bytes."""
        return encode(self._numbers(self._sweep(limbs_of(words))[0]))

    def sketch_and_hash(self, words: masks.Words) -> tuple[bytes, bytes]:
        """The sketch of a vector, and what `masks.hash_of` gives, in one sweep."""
        products, leaves = self._sweep(limbs_of(words), masks.leaf_hash)
        return encode(self._numbers(products)), masks.hash_of_leaves(words.nbytes, leaves)

    def expectation(self, total: LimbSum) -> Numbers:
        """What the sketches of all vectors must add up to, if `total` is their sum."""
        low, carry = (self._numbers(self._sweep(limbs)[0]) for limbs in (total.low, total.carry))
        return tuple(a + (b << 32) for a, b in zip(low, carry, strict=True))

    def _sweep(
        self, limbs: NDArray[Any], visit: Callable[[NDArray[Any]], bytes] = lambda leaf: b""
    ) -> tuple[NDArray[np.float64], list[bytes]]:
        """Every column's products with the challenges within it, by block, challenge, column.

        Args:
            visit: is shown every leaf while it is in cache; what it gives is given beside.
        """
        if len(limbs) != self._limbs:
            raise ValueError(f"{len(limbs)} limbs, expected {self._limbs}")
        products = np.empty((self._blocks, CHALLENGES, COLUMNS))

        def core() -> Callable[[int], bytes]:
            flat = masks.room(_LEAF, np.dtype(np.float64))
            blocks = flat.reshape(-1, ROWS, COLUMNS)

            def multiply(start: int) -> bytes:
                leaf, first = limbs[start : start + _LEAF], start // BLOCK
                beside = visit(leaf)
                flat[: len(leaf)] = leaf
                flat[len(leaf) :] = 0.0  # behind the last limb
                out = products[first : first + len(blocks)]
                np.matmul(self._within, blocks[: len(out)], out=out)
                return beside

            return multiply

        return products, run_on_cores(range(0, len(limbs), _LEAF), core)

    def _numbers(self, products: NDArray[np.float64]) -> Numbers:
        """The sketch, from the products of its columns."""
        upper = np.floor(products * (1 / _HALF))
        products -= upper * _HALF
        # By half, block, challenge, digit.
        table = np.array([np.matmul(half, self._digits) for half in (products, upper)]).astype(np.int64)
        low, high = (part.sum(axis=1).tolist() for part in (table & 0xFFFFFFFF, table >> 32))
        return tuple(
            sum(
                (low[half][j][k] + (high[half][j][k] << 32)) << (27 * half + 16 * k)
                for half in range(2)
                for k in range(_DIGITS)
            )
            for j in range(CHALLENGES)
        )


def encode(numbers: Numbers) -> bytes:
    """A sketch as bytes."""
    return b"".join(number.to_bytes(NUMBER_BYTES, "little", signed=True) for number in numbers)


def total_of(sketches: Iterable[bytes]) -> Numbers:
    """Sketches of 256 bytes, added up."""
    places = range(0, SKETCH_BYTES, NUMBER_BYTES)
    numbers = [[int.from_bytes(s[at : at + NUMBER_BYTES], "little", signed=True) for at in places] for s in sketches]
    return tuple(sum(column) for column in zip(*numbers, strict=True)) or (0,) * CHALLENGES

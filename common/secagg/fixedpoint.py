"""Named arrays as one vector of words mod 2**k, so that words add up as the numbers do.

A layout is the order of the segments. A weighted segment is clipped to its bound, coordinate by coordinate, and
multiplied by the site's weight; any other must keep within its bound by itself. Numbers become multiples of
2**-fraction_bits by stochastic rounding, whose expectation is the number (to 2**-17 of a step); whole numbers stay.

Capacity: each segment needs  sites × (bound × weight bound × 2**fraction_bits + 1) < 2**(k-1);  a layout that breaks
it for the number of sites is refused. Then no sum over any of the sites can wrap round.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from common.errors import PolicyError, WeightsError
from common.secagg.masks import Words, room, stream
from common.trust.codec import ByteReader, ByteWriter
from common.types import Tensors

# Why fixed point. Masks cancel only in arithmetic that is exact: integers mod 2**k are, floats are not. A number
# becomes an integer of steps of 2**-fraction_bits, negative ones in two's complement, and adding words mod 2**k adds
# the integers. Below 2**(k-1) in magnitude the total is read back as itself; so a segment's bound times the number of
# sites decides whether a sum can be trusted, and that is checked before anything is sent (`Layout.check`).
MAX_SEGMENTS, MAX_WORDS, MAX_FRACTION_BITS = 4096, 2**29, 52
_PIECE = 2**15  # coordinates a step: all of a step's scratch stays in cache


@dataclass(frozen=True)
class Segment:
    """One array's place in the vector."""

    name: str
    shape: tuple[int, ...]
    bound: float
    """No coordinate's magnitude goes beyond (before the weight is applied)."""
    fraction_bits: int
    weighted: bool = False
    """Clip to the bound and multiply by the site's weight; otherwise: refuse what is out of bounds."""

    @property
    def size(self) -> int:
        """How many coordinates the array has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The whole vector: segments in order, words of 32 or 64 bits."""

    segments: tuple[Segment, ...]
    bits: Literal[32, 64] = 32
    weight_bound: float = 1.0
    """The largest weight (number of examples) that a site may have."""

    @cached_property
    def length(self) -> int:
        """How many words the whole vector has."""
        return sum(segment.size for segment in self.segments)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the words: uint32 or uint64, little-endian."""
        return np.dtype("<u4" if self.bits == 32 else "<u8")

    def check(self, sites: int) -> None:
        """Refuse a layout that is no layout, or whose sums over so many sites could wrap round.

        Raises:
            PolicyError: naming the segment, with the numbers.
        """
        names = [segment.name for segment in self.segments]
        if not 0 < self.length <= MAX_WORDS or len(set(names)) != len(names) or not self.weight_bound > 0:
            raise PolicyError(
                "bad-layout",
                f"a layout of {self.length} words and {len(names)} segments with weights up to {self.weight_bound:g}: "
                f"expected 1 to {MAX_WORDS} words, every name once, and weights above 0.",
            )
        for segment in self.segments:
            if not 0 <= segment.fraction_bits <= MAX_FRACTION_BITS or not segment.bound > 0:
                raise PolicyError(
                    "bad-layout",
                    f"'{segment.name}' has {segment.fraction_bits} fraction bits and the bound {segment.bound:g}: "
                    f"expected 0 to {MAX_FRACTION_BITS}, and a bound above 0.",
                )
            self._check_capacity(segment, sites)

    def encode(self, tensors: Tensors, weight: float, key: bytes) -> Words:
        """Named arrays as one vector of words: clip, weigh, scale and round each.

        Args:
            weight: the site's number of examples.
            key: 32 random bytes, never used again, from which the rounding is drawn.

        Raises:
            WeightsError: naming the tensor, for missing and unknown names, wrong shapes and types, NaN, infinities, and
                values or a weight out of bounds. Nothing may be sent then.
        """
        if not 0 <= weight <= self.weight_bound:
            raise WeightsError(
                f"the site's weight is {weight:g}, expected 0 to {self.weight_bound:g}, the plan's bound."
            )
        if odd := set(tensors) ^ {segment.name for segment in self.segments}:
            raise WeightsError(f"tensors {', '.join(sorted(odd))}: missing, or not in the plan's layout.")
        words = room(self.length, self.dtype)
        rounding, at = stream(key), 0
        for segment in self.segments:
            values = _refuse_unfit(segment, tensors[segment.name])
            _encode(segment, values, weight, rounding, words[at : at + segment.size])
            at += segment.size
        return words

    def decode(self, words: Words) -> dict[str, NDArray[np.float64]]:
        """The sums that a sum of vectors stands for, as float64 of each segment's shape."""
        if words.dtype != self.dtype or words.shape != (self.length,):
            raise WeightsError(f"{words.dtype}{list(words.shape)} for a layout of {self.dtype}[{self.length}].")
        integers, sums, at = words.view(np.dtype(f"<i{self.bits // 8}")), {}, 0
        for segment in self.segments:
            part = integers[at : at + segment.size].astype(np.float64) * 2.0**-segment.fraction_bits
            sums[segment.name] = part.reshape(segment.shape)
            at += segment.size
        return sums

    def refuse_impossible(self, words: Words, sites: int) -> None:
        """Refuse a sum that vectors of so many sites, each within its bounds, cannot make.

        Raises:
            PolicyError: naming the segment.
        """
        integers, at = words.view(np.dtype(f"<i{self.bits // 8}")), 0
        for segment in self.segments:
            part = integers[at : at + segment.size]
            at += segment.size
            most = sites * (self._largest(segment) + 1)
            low, high = int(part.min(initial=0)), int(part.max(initial=0))
            if max(-low, high) > most:
                raise PolicyError(
                    "impossible-sum",
                    f"'{segment.name}' is {max(-low, high)} steps in a sum over {sites} sites, expected {most:g} at "
                    "most: some site sent what its bounds do not allow. Do not use this sum.",
                )

    def write(self, writer: ByteWriter) -> None:
        """Write the layout into a message."""
        writer.u8(self.bits).f64(self.weight_bound).u16(len(self.segments))
        for s in self.segments:
            writer.text(s.name).u8(len(s.shape))
            for side in s.shape:
                writer.u32(side)
            writer.f64(s.bound).u8(s.fraction_bits).u8(s.weighted)

    @classmethod
    def read(cls, reader: ByteReader) -> "Layout":
        """Read a layout from a message."""
        bits, weight_bound = reader.u8(), reader.f64()
        if bits not in (32, 64):
            raise reader.fault(f"has words of {bits} bits, expected 32 or 64")
        segments = tuple(_segment(reader) for _ in range(reader.count(MAX_SEGMENTS, 13)))
        return cls(segments, 32 if bits == 32 else 64, weight_bound)

    def _largest(self, segment: Segment) -> float:
        """In steps: what one site may report."""
        return segment.bound * (self.weight_bound if segment.weighted else 1.0) * 2.0**segment.fraction_bits

    def _check_capacity(self, segment: Segment, sites: int) -> None:
        # One step more than the bound, since rounding may go up; half of the words stand for negative numbers.
        largest = self._largest(segment)
        if not sites * (largest + 1) < 2.0 ** (self.bits - 1):
            weights = f" × weights up to {self.weight_bound:g}" if segment.weighted else ""
            raise PolicyError(
                "capacity",
                f"'{segment.name}': {sites} sites × the bound {segment.bound:g}{weights} × 2^{segment.fraction_bits} "
                f"= {sites * largest:.3g}, and {self.bits}-bit words hold less than {2.0 ** (self.bits - 1):.3g}. "
                "Take fewer fraction bits, a smaller bound, or 64-bit words.",
            )


def _segment(reader: ByteReader) -> Segment:
    name, sides = reader.text(), reader.u8()
    if sides > 8:
        raise reader.fault(f"has a segment of {sides} dimensions")
    shape = tuple(reader.u32() for _ in range(sides))
    bound, fraction_bits, weighted = reader.f64(), reader.u8(), reader.u8()
    if weighted > 1:
        raise reader.fault("has a flag that is neither 0 nor 1")
    return Segment(name, shape, bound, fraction_bits, bool(weighted))


def _refuse_unfit(segment: Segment, value: NDArray[Any]) -> NDArray[Any]:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.shape != segment.shape:
        kind = f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
        raise WeightsError(f"'{segment.name}' is {kind}, expected numbers of shape {list(segment.shape)}.")
    return value.reshape(-1)


def _encode(segment: Segment, values: NDArray[Any], weight: float, rounding: Any, words: Words) -> None:
    """Into `words`, a piece at a time."""
    scale = 2.0**segment.fraction_bits * (weight if segment.weighted else 1.0)
    scaled, whole = np.empty(_PIECE), np.empty(_PIECE)
    zeros, random = memoryview(bytes(2 * _PIECE)), bytearray(2 * _PIECE)
    chance = np.frombuffer(random, "<u2")
    integers = words.view(np.dtype(f"<i{words.itemsize}"))
    for start in range(0, len(values), _PIECE):
        piece = values[start : start + _PIECE]
        v, w, u = scaled[: len(piece)], whole[: len(piece)], chance[: len(piece)]
        v[...] = piece
        _refuse_or_clip(segment, v)
        v *= scale
        np.floor(v, out=w)
        # Rounding to the nearest would push small updates of all sites the same way, to 0. Rounding up with the chance
        # of what is left over is right on average, and errors of many sites and coordinates cancel.
        v -= w  # what is left over, in [0, 1): rounds up with just this chance
        v *= 65536.0
        v -= 0.5
        rounding.update_into(zeros[: u.nbytes], random)
        w += v > u
        np.copyto(integers[start : start + _PIECE], w, casting="unsafe")


def _refuse_or_clip(segment: Segment, values: NDArray[np.float64]) -> None:
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise WeightsError(f"'{segment.name}' has infinite or undefined values, so nothing is sent.")
    if max(-low, high) > segment.bound:
        if not segment.weighted:
            raise WeightsError(
                f"'{segment.name}' has values from {low:g} to {high:g}, beyond the plan's bound {segment.bound:g}, "
                "so nothing is sent. The plan needs a larger bound."
            )
        np.clip(values, -segment.bound, segment.bound, out=values)

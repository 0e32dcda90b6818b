"""DICOM's lookup tables: modality, VOI and palette (PS3.3 C.11.1, C.11.2, C.7.6.3.1.5), as devices write them.

What a table says of itself is often wrong: 8-bit entries that call themselves 16, or lie as bytes in words, and a first
value of the other signedness. The data's own length decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from common.errors import ImageError

MOST = 1 << 16
"""Entries of a table."""


@dataclass(frozen=True)
class Lookup:
    """A table: what stands for `first`, for the value after it, and so on; the ends stand for all beyond them."""

    first: int
    entries: NDArray[np.int64]
    high: float
    """White of the entries: what their bits can hold."""

    def __call__(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """The entry of each value; the nearest, for values between two."""
        place = np.rint(values).astype(np.int64) - self.first
        entries: NDArray[np.int64] = self.entries[np.clip(place, 0, len(self.entries) - 1)]
        return entries


def read(path: object, item: Dataset, is_signed: bool, is_little: bool) -> Lookup:
    """The table of an item of a modality or VOI LUT sequence.

    Args:
        is_signed: whether the values looked up may be negative.
        is_little: byte order of entries that lie as bytes.

    Raises:
        ImageError: without a descriptor, or with entries of another number.
    """
    count, first, bits = _descriptor(path, item, "LUTDescriptor", is_signed)
    entries = _entries(path, item, "LUTData", count, is_little)
    return Lookup(first, entries, _white(entries, bits))


def read_palette(path: object, header: Dataset, is_signed: bool, is_little: bool) -> list[Lookup]:
    """Red, green and blue, with one white.

    Raises:
        ImageError: a table is missing, or holds entries of another number than it says.
    """
    tables = []
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        count, first, bits = _descriptor(path, header, f"{name}Descriptor", is_signed)
        if f"Segmented{name}Data" in header and f"{name}Data" not in header:
            entries = _expand(path, header, f"Segmented{name}Data", 8 if bits <= 8 else 16, is_little)
            if len(entries) != count:
                raise ImageError(f"{path}: Segmented{name}Data holds {len(entries)} entries; expected {count}.")
        else:
            entries = _entries(path, header, f"{name}Data", count, is_little)
        tables.append((first, entries, bits))
    brightest = np.concatenate([entries for _, entries, _ in tables])
    high = _white(brightest, max(bits for _, _, bits in tables))
    return [Lookup(first, entries, high) for first, entries, _ in tables]


def _descriptor(path: object, place: Dataset, name: str, is_signed: bool) -> tuple[int, int, int]:
    """Number of entries, the first value that is looked up, and bits of an entry."""
    descriptor = place.get(name)
    try:
        count, first, bits = (int(number) & 0xFFFF for number in descriptor)
    except (TypeError, ValueError):
        raise ImageError(f"{path}: {name} is {descriptor!r}; expected three numbers. Export the image again.") from None
    return count or MOST, first - MOST if is_signed and first >= MOST // 2 else first, bits


def _white(entries: NDArray[np.int64], bits: int) -> float:
    """What the bits can hold; of 8-bit entries that call themselves 16, or the reverse, what they turn out to be."""
    brightest = int(entries.max())
    if brightest < 256 and (bits <= 8 or bits >= 16):
        return 255.0
    return float(2**bits - 1) if brightest < 2**bits else 65535.0


def _entries(path: object, place: Dataset, name: str, count: int, is_little: bool) -> NDArray[np.int64]:
    content = _bytes(place.get(name), is_little)
    if len(content) == 2 * count:
        return np.frombuffer(content, "<u2").astype(np.int64)
    if len(content) == count + count % 2:
        return np.frombuffer(content, np.uint8)[:count].astype(np.int64)
    raise ImageError(
        f"{path}: {name} holds {len(content)} bytes; expected {count} entries of 8 or 16 bits. Export the image again."
    )


def _bytes(value: bytes | int | Sequence[int] | None, is_little: bool) -> bytes:
    """Entries as bytes, words little endian, whatever the VR (US, SS, OW) that they came in."""
    if isinstance(value, bytes):
        return value if is_little or len(value) % 2 else np.frombuffer(value, ">u2").astype("<u2").tobytes()
    return (np.atleast_1d(np.array([] if value is None else value, np.int64)) & 0xFFFF).astype("<u2").tobytes()


def _expand(path: object, place: Dataset, name: str, bits: int, is_little: bool) -> NDArray[np.int64]:
    """Segments to entries, C.7.9.2: runs that are listed, and straight lines from the last entry to a value."""
    words = np.frombuffer(_bytes(place.get(name), is_little), "<u2" if bits == 16 else np.uint8).tolist()
    entries: list[int] = []
    at = 0
    while at + 2 < len(words) and len(entries) <= MOST:  # a byte of padding is no segment
        kind, length = words[at : at + 2]
        if kind == 0:
            entries += words[at + 2 : at + 2 + length]
            at += 2 + length
        elif kind == 1 and entries and length:
            line = entries[-1] + (words[at + 2] - entries[-1]) * np.arange(1, length + 1) / length
            entries += np.rint(line).astype(int).tolist()
            at += 3
        else:
            raise ImageError(f"{path}: {name} has a segment of kind {kind} that cannot be read here.")
    return np.array(entries, np.int64)

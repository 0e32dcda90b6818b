"""Lossless JPEG (ITU-T T.81 annex H, DICOM's processes 14), which the permissive libraries decode to 8 bits alone.

pydicom calls it as a plugin. Python walks from code to code, and NumPy does everything else.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import DecodeRunner

MAX_BYTES = 1 << 28
"""Of one compressed frame: the walk takes some 20 times as much memory."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Code:
    """A Huffman table as look-up: by the next 16 bits, how long the code is and how many bits of difference follow."""

    length: NDArray[np.uint8]
    """0 where no code begins so."""
    category: NDArray[np.uint8]


@dataclass
class _Header:
    precision: int = 0
    height: int = 0
    width: int = 0
    components: list[int] = field(default_factory=list)
    codes: dict[int, _Code] = field(default_factory=dict)
    restart: int = 0


def is_available(uid: str) -> bool:
    """pydicom asks; nothing else has to be installed."""
    return True


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """What pydicom calls: one frame's samples, colour by pixel, little endian."""
    pixels = decode(source)
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    return pixels.tobytes()


def decode(source: bytes) -> NDArray[Any]:
    """uint8 or uint16 [height, width, components].

    Raises:
        ValueError: damaged, or not lossless JPEG of one scan.
    """
    if len(source) > MAX_BYTES:
        raise ValueError(f"{len(source):,} bytes in one frame")
    header, selectors, predictor, shift, at = _headers(source)
    if not header.components or len(selectors) != len(header.components):
        raise ValueError("lossless JPEG of several scans")
    count = len(selectors)
    codes = [header.codes[s] for s in selectors]
    rows = header.height if not header.restart else header.restart // header.width
    if not rows or (header.restart and header.restart % header.width):
        raise ValueError("restarts inside a row")
    blocks = []
    for number, segment in enumerate(_segments(source[at:])):
        rows_here = min(rows, header.height - number * rows)
        if rows_here <= 0:
            break
        differences = _differences(segment, codes, rows_here * header.width).reshape(rows_here, header.width, count)
        start = 1 << (header.precision - shift - 1)
        planes = [_undo_prediction(differences[:, :, c], predictor, start) for c in range(count)]
        blocks.append(np.stack(planes, axis=-1))
    pixels = np.concatenate(blocks) if blocks else np.empty((0, header.width, count), np.int64)
    if len(pixels) != header.height:
        raise ValueError("lossless JPEG ends too early")
    return ((pixels << shift) & 0xFFFF).astype(np.uint8 if header.precision <= 8 else np.uint16)


def _headers(source: bytes) -> tuple[_Header, list[int], int, int, int]:
    """Header, each component's table, predictor, point transform, and where the scan's data begins."""
    header, at = _Header(), 2
    while at + 4 <= len(source):
        if source[at] != 0xFF:
            raise ValueError("no JPEG marker where one must be")
        marker, (length,) = source[at + 1], struct.unpack_from(">H", source, at + 2)
        if marker == 0xFF:
            at += 1
            continue
        body = source[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xC3:
            header.precision, header.height, header.width, count = struct.unpack_from(">BHHB", body)
            header.components = [body[6 + 3 * i] for i in range(count)]
            if any(body[7 + 3 * i] != 0x11 for i in range(count)) or not 2 <= header.precision <= 16:
                raise ValueError("subsampled lossless JPEG")
        elif marker == 0xC4:
            _read_codes(body, header.codes)
        elif marker == 0xDD:
            (header.restart,) = struct.unpack_from(">H", body)
        elif marker == 0xDA:
            count = body[0]
            selectors = [body[2 + 2 * i] >> 4 for i in range(count)]
            return header, selectors, body[1 + 2 * count], body[3 + 2 * count] & 15, at
        elif marker in (0xC0, 0xC1, 0xC2, *range(0xC5, 0xC8), *range(0xC9, 0xD0)):
            raise ValueError("not a lossless JPEG")
    raise ValueError("lossless JPEG ends in its header")


def _read_codes(body: bytes, codes: dict[int, _Code]) -> None:
    """Annex C: codes of one length count up, and those of the next length go on at twice the last."""
    while len(body) >= 17:
        counts, length, category = body[1:17], np.zeros(1 << 16, np.uint8), np.zeros(1 << 16, np.uint8)
        values, code = iter(body[17 : 17 + sum(counts)]), 0
        for bits, many in enumerate(counts, start=1):
            for _ in range(many):
                span = slice(code << (16 - bits), (code + 1) << (16 - bits))
                length[span], category[span] = bits, min(next(values), 16)
                code += 1
            code <<= 1
        codes[body[0] & 15] = _Code(length, category)
        body = body[17 + sum(counts) :]


def _segments(scan: bytes) -> Iterator[bytes]:
    """The scan's data between restart markers, without the zeros that are stuffed after each 255."""
    start = at = 0
    while (at := scan.find(b"\xff", at)) >= 0 and at + 1 < len(scan):
        marker = scan[at + 1]
        if marker not in (0, 0xFF):
            yield scan[start:at].replace(b"\xff\x00", b"\xff")
            start = at + 2
            if not 0xD0 <= marker <= 0xD7:
                return
        at += 1 if marker == 0xFF else 2
    yield scan[start:].replace(b"\xff\x00", b"\xff")


def _differences(data: bytes, codes: Sequence[_Code], count: int) -> Ints:
    """The coded differences, int64[count × components]."""
    padded = np.frombuffer(data + b"\xff" * 8, np.uint8).astype(np.uint64)
    # 40 bits from each byte on: a code, its extra bits, and up to 7 bits before them.
    words = np.zeros(len(data) + 4, np.uint64)
    for i in range(5):
        words |= padded[i : i + len(words)] << np.uint64(32 - 8 * i)
    steps = [_steps(words, code) for code in codes]

    def walk() -> Iterator[int]:
        at = 0
        for _ in range(count):
            for step in steps:
                yield at
                at += step[at]

    try:
        positions = np.fromiter(walk(), np.int64, count * len(codes))
    except IndexError:
        raise ValueError("lossless JPEG ends too early") from None
    values = np.empty(len(positions), np.int64)
    for c, code in enumerate(codes):
        at = positions[c :: len(codes)]
        word, offset = words[at >> 3].astype(np.int64), at & 7
        window = (word >> (24 - offset)) & 0xFFFF
        length, category = code.length[window].astype(np.int64), code.category[window].astype(np.int64)
        if not length.all() or at[-1] >= 8 * len(data):
            raise ValueError("lossless JPEG holds a code that its table lacks, or ends too early")
        extra = np.where(category == 16, 0, category)
        bits = (word >> (40 - offset - length - extra)) & ((1 << extra) - 1)
        negative = (extra > 0) & (bits < (1 << np.maximum(extra - 1, 0)))
        values[c :: len(codes)] = np.where(category == 16, 1 << 15, bits - negative * ((1 << extra) - 1))
    return values


def _steps(words: NDArray[np.uint64], code: _Code) -> bytes:
    """For every bit position, how far the next code is if one begins here."""
    step = code.length + np.where(code.category == 16, 0, code.category).astype(np.uint8)
    table = np.empty((len(words), 8), np.uint8)
    for offset in range(8):
        table[:, offset] = step[(words >> np.uint64(24 - offset)) & np.uint64(0xFFFF)]
    return table.tobytes()


def _undo_prediction(differences: Ints, predictor: int, start: int) -> Ints:
    """Table H.1, modulo 2**16. The first row is predicted from the left, the first column from above."""
    out = np.empty_like(differences)
    out[0] = (start + np.cumsum(differences[0])) & 0xFFFF
    for r in range(1, len(out)):
        above, row = out[r - 1], differences[r]
        first = above[0] + row[0]
        if predictor == 1:
            line = np.cumsum(np.concatenate([[first], row[1:]]))
        elif predictor == 2:
            line = above + row
        elif predictor == 3:
            line = np.concatenate([[first], above[:-1] + row[1:]])
        elif predictor in (4, 5):
            slope = np.diff(above) >> (predictor - 4)
            line = np.cumsum(np.concatenate([[first], slope + row[1:]]))
        else:
            line = np.array(_one_by_one(above.tolist(), row.tolist(), first, predictor), np.int64)
        out[r] = line & 0xFFFF
    return out


def _one_by_one(above: list[int], row: list[int], first: int, predictor: int) -> list[int]:
    """The predictors whose halves depend on the pixel just decoded."""
    if predictor not in (6, 7):
        raise ValueError(f"lossless JPEG with predictor {predictor}")
    line = [int(first) & 0xFFFF]
    for c in range(1, len(row)):
        half = (line[-1] - above[c - 1]) >> 1 if predictor == 6 else (line[-1] - above[c]) >> 1
        line.append((above[c] + half + row[c]) & 0xFFFF)
    return line

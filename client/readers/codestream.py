"""What a compressed image says of itself in its own markers: JPEG and JPEG-LS (T.81, T.87), JPEG 2000 (T.800)."""

from collections.abc import Iterator
from typing import NamedTuple

_FRAME_STARTS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Second bytes of the SOF markers, ITU-T T.81 table B.1; F7 is JPEG-LS, T.87."""
_SCAN = 0xDA


class Claim(NamedTuple):
    """What the header of a codestream claims."""

    width: int
    height: int
    precision: int
    components: int
    is_signed: bool = False


def claim(stream: bytes) -> Claim | None:
    """Size, bits and components; None if the bytes are none of these formats, or end too early."""
    if stream[:2] == b"\xff\xd8":
        bodies = (body for marker, body in jpeg_segments(stream) if marker in _FRAME_STARTS and len(body) >= 6)
        body = next(bodies, None)
        if body is None:
            return None
        return Claim(int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"), body[0], body[5])
    at = _codestream_at(stream)
    if at < 0 or len(stream) < at + 43:
        return None
    right, bottom, left_edge, top = (int.from_bytes(stream[at + i : at + i + 4], "big") for i in (8, 12, 16, 20))
    components = int.from_bytes(stream[at + 40 : at + 42], "big")
    precision, is_signed = (stream[at + 42] & 127) + 1, stream[at + 42] > 127
    return Claim(right - left_edge, bottom - top, precision, components, is_signed)


def begins(fragment: bytes) -> bool:
    """Whether a codestream begins here: a JPEG, JPEG-LS or JPEG 2000."""
    return fragment.startswith((b"\xff\xd8\xff", b"\xff\x4f\xff\x51"))


def jpeg_segments(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Second byte and content of each marker before the first scan's data."""
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        yield marker, stream[at + 4 : at + 2 + length]
        if marker == _SCAN:
            return
        at += 2 + length


def is_whole(stream: bytes) -> bool:
    """Whether the last scan of a JPEG or JPEG-LS comes to its end marker, which its coded data cannot hold.

    Without one libjpeg fills up with grey and no word, and CharLS may wait for more for ever.
    """
    return stream.rfind(b"\xff\xd9") > stream.rfind(b"\xff\xda")


def has_colour_transform(stream: bytes) -> bool | None:
    """Whether the three components of a JPEG 2000 were mixed before packing (COD, A.6.1), which its decoder undoes."""
    at = _codestream_at(stream)
    cod = stream.find(b"\xff\x52", at) if at >= 0 else -1
    return None if cod < 0 or len(stream) < cod + 9 else bool(stream[cod + 8])


def _codestream_at(stream: bytes) -> int:
    """Where SOC and SIZ are: at the beginning, or in the `jp2c` box of a JP2 file; -1: nowhere."""
    at = 0
    while stream[at : at + 4] != b"\xff\x4f\xff\x51":
        length, kind = int.from_bytes(stream[at : at + 4], "big"), stream[at + 4 : at + 8]
        if len(kind) < 4:
            return -1
        header = 16 if length == 1 else 8
        length = int.from_bytes(stream[at + 8 : at + 16], "big") if length == 1 else length
        if kind == b"jp2c":
            at += header
            return at if stream[at : at + 4] == b"\xff\x4f\xff\x51" else -1
        if length < header:
            return -1
        at += length
    return at

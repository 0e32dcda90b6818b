"""The size that a compressed image claims in its own header: JPEG and JPEG-LS (SOF markers), JPEG 2000 (SIZ)."""

_FRAME_STARTS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Second bytes of the SOF markers, ITU-T T.81 table B.1; F7 is JPEG-LS, T.87."""


def claimed_size(stream: bytes) -> tuple[int, int] | None:
    """Width and height; None if the bytes are none of these formats, or end too early."""
    if stream[:2] == b"\xff\xd8":
        return _jpeg(stream)
    at = stream.find(b"\xff\x4f\xff\x51", 0, 4096)  # SOC, SIZ; a JP2 file has boxes before it
    if at < 0 or len(stream) < at + 24:
        return None
    right, bottom, left_edge, top = (int.from_bytes(stream[at + i : at + i + 4], "big") for i in (8, 12, 16, 20))
    return right - left_edge, bottom - top


def _jpeg(stream: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _FRAME_STARTS:
            return int.from_bytes(stream[at + 7 : at + 9], "big"), int.from_bytes(stream[at + 5 : at + 7], "big")
        else:
            at += 2 + length
    return None

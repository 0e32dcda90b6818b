"""The parts of a multipart/related answer as they arrive (RFC 2046, 5.1; PS3.18, 8.6.1.2), one in memory at a time."""

import re
from collections.abc import Iterable, Iterator

from common.errors import PacsError

MOST_HEADER_BYTES = 1 << 16


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names.

    Raises:
        PacsError: it is no multipart/related.
    """
    match = re.search(r'boundary=(?:"([^"]{1,70})"|([^\s;,]{1,70}))', content_type, re.IGNORECASE)
    if not content_type.lower().startswith("multipart/related") or match is None:
        kind = content_type[:80] or "nothing"
        raise PacsError("wrong object", f"it answers with {kind!r}, expected multipart/related with DICOM objects")
    return (match[1] or match[2]).encode("ascii", "replace")


def parts(chunks: Iterable[bytes], boundary: bytes, most: int) -> Iterator[bytes]:
    """The content of each part.

    Args:
        most: bytes of one part; more is refused before it is in memory.

    Raises:
        PacsError: the answer ends before its last boundary, or a part is larger.
    """
    mark, buffer, in_part, searched = b"\r\n--" + boundary, bytearray(b"\r\n"), False, 0
    for chunk in chunks:
        buffer += chunk
        while True:
            at = buffer.find(mark, searched)
            if at < 0 or len(buffer) < at + len(mark) + 2:
                searched = max(0, len(buffer) - len(mark) - 2) if at < 0 else at
                break
            if in_part:
                yield _content(buffer, at)
            if buffer[at + len(mark) : at + len(mark) + 2] == b"--":
                return
            in_part, searched = True, 0
            del buffer[: at + len(mark)]
        if len(buffer) > most + MOST_HEADER_BYTES:
            raise PacsError("damaged", f"an object of more than {most:,} bytes; refused")
    raise PacsError("half", "the answer ends before its last object does")


def _content(buffer: bytearray, end: int) -> bytes:
    head = buffer.find(b"\r\n\r\n", 0, min(end, MOST_HEADER_BYTES))
    if head < 0:
        raise PacsError("damaged", "a part of the answer has no header")
    return bytes(memoryview(buffer)[head + 4 : end])

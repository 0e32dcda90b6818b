"""A zip archive in one spelling: stored, not compressed, no times, in the order given, nothing between or behind.

The same members give the same bytes, and bytes that differ in anything from what `pack` writes are refused: a second
member of one name, a comment, bytes after the end, sizes that lie. Any zip program can open it.
Layout: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping

from common.errors import PackageError

MOST_BYTES = 2**30
"""Of a whole package: sizes in it are then 32-bit numbers."""
MOST_MEMBERS = 16
NAME = re.compile(r"[a-z]{1,32}\.[a-z]{1,16}")
"""No folder, nothing absolute, nothing hidden."""

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION, _FLAGS, _STORED, _TIME, _DAY = 20, 0, 0, 0, 0x21  # 1980-01-01 00:00, the earliest that zip can say
_HEAD = struct.Struct("<4sHHHHHIIIHH")


def pack(members: Mapping[str, bytes]) -> Iterator[bytes]:
    """The archive of members in their order, in pieces."""
    directory, at = b"", 0
    for name, content in members.items():
        fixed = struct.pack("<HHHHHIII", _VERSION, _FLAGS, _STORED, _TIME, _DAY, zlib.crc32(content), len(content),
                            len(content))  # fmt: skip
        head = _LOCAL + fixed + struct.pack("<HH", len(name), 0) + name.encode()
        directory += _CENTRAL + struct.pack("<H", _VERSION) + fixed
        directory += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, at) + name.encode()
        at += len(head) + len(content)
        yield head
        yield content
    many = len(members)
    yield directory + _END + struct.pack("<HHHHIIH", 0, 0, many, many, len(directory), at, 0)


def unpack(content: bytes) -> dict[str, bytes]:
    """The members of an archive as `pack` writes it.

    Raises:
        PackageError: for anything else than such bytes, whole.
    """
    members: dict[str, bytes] = {}
    at = 0
    while content[at : at + 4] == _LOCAL and len(members) < MOST_MEMBERS:
        try:
            head = _HEAD.unpack_from(content, at)
        except struct.error:
            break
        size, length = head[8], head[9]
        start = at + _HEAD.size + length
        name = content[at + _HEAD.size : start].decode("ascii", "replace")
        if not NAME.fullmatch(name) or name in members or start + size > len(content):
            break
        members[name], at = content[start : start + size], start + size
    _refuse_unless(content, members)
    return members


def _refuse_unless(content: bytes, members: Mapping[str, bytes]) -> None:
    """Refuse bytes that are not just the archive of these members."""
    view, at = memoryview(content), 0
    for piece in pack(members):
        if view[at : at + len(piece)] != piece:
            break
        at += len(piece)
    else:
        if members and at == len(content):
            return
    raise PackageError(
        f"is not a package as this program writes it ({len(content)} bytes, {len(members)} members that can be read). "
        "It was damaged, changed or repacked: get it again."
    )

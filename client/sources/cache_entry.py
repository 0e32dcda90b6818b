"""Entries of the cache of decoded images: what is told of an image, and its frames.

Parts one behind the other, each after its length: what is told, then the frames, each with its type before its pixels,
each sealed for its place in its entry, or with a checksum where the images lie in the clear.

It is no .npz, as NumPy reads an array's header with `ast.literal_eval`: in Python 3.11 before 3.11.8 two threads that
do so at once can end in a SystemError (github.com/python/cpython/issues/106905).
"""

import json
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from client.readers.source import Sealer

TYPES = ("u1", "u2", "i2", "f4")
FrameFacts = dict[str, Any]


class Checksums:
    """In the place of a key, for images in the clear: a part that was changed, cut, or moved is noticed."""

    def seal(self, content: bytes, part: str) -> bytes:
        """The content behind its checksum."""
        return struct.pack("<I", zlib.crc32(content, zlib.crc32(part.encode()))) + content

    def unseal(self, sealed_bytes: bytes, part: str) -> memoryview:
        """The content.

        Raises:
            ValueError, struct.error: it is damaged, or another's.
        """
        content = memoryview(sealed_bytes)[4:]
        if struct.unpack_from("<I", sealed_bytes) != (zlib.crc32(content, zlib.crc32(part.encode())),):
            raise ValueError(f"{part}: damaged")
        return content


@dataclass(frozen=True)
class EntrySeal:
    """The parts of one entry, sealed under its name, so that no other's pass for them."""

    sealer: Sealer | Checksums
    name: str

    def seal_part(self, content: bytes, number: int) -> bytes:
        """A part, as it may lie on a disk."""
        return self.sealer.seal(content, f"{self.name}/{number}")

    def open_part(self, file: BinaryIO, number: int) -> memoryview:
        """The content of a part.

        Raises:
            ValueError, OSError, struct.error: it is damaged, or another's.
        """
        for _ in range(number):
            file.seek(_length(file), 1)
        return self.sealer.unseal(file.read(_length(file)), f"{self.name}/{number}")


def write(file: BinaryIO, facts: FrameFacts, frames: Sequence[NDArray[Any]], seal: EntrySeal) -> None:
    """Write an entry of the cache.

    Args:
        frames: of one of the types above.
    """
    header = json.dumps(facts).encode()
    contents = [header, *(frame.dtype.str[1:].encode() + np.ascontiguousarray(frame).tobytes() for frame in frames)]
    for number, content in enumerate(contents):
        sealed_part = seal.seal_part(content, number)
        file.write(struct.pack("<Q", len(sealed_part)) + sealed_part)


def read_facts(file: BinaryIO, seal: EntrySeal) -> FrameFacts:
    """What an entry tells.

    Raises:
        ValueError, OSError, struct.error: a damaged entry.
    """
    facts: FrameFacts = json.loads(bytes(seal.open_part(file, 0)))
    return facts


def read_frame(file: BinaryIO, index: int, shape: tuple[int, int, int], seal: EntrySeal) -> NDArray[Any]:
    """One frame: [height, width, channels].

    Raises:
        ValueError, OSError, struct.error: a damaged entry.
    """
    content = seal.open_part(file, index + 1)
    kind = TYPES[TYPES.index(bytes(content[:2]).decode())]
    return np.frombuffer(content, kind, offset=2).reshape(shape)


def _length(file: BinaryIO) -> int:
    (length,) = struct.unpack("<Q", file.read(8))
    return min(int(length), os.fstat(file.fileno()).st_size)  # a damaged one takes no more memory than it has

"""Entries of the cache of decoded images: what is told of an image, and its frames.

In the clear an entry is an .npz. Sealed it is parts one behind the other, each after its length: what is told, then the
frames, each with its type before its pixels, each sealed for its place in its entry.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from client.readers.source import Sealer

TYPES = ("u1", "u2", "i2", "f4")
FrameFacts = dict[str, Any]


@dataclass(frozen=True)
class EntrySeal:
    """The parts of one entry, sealed under its name, so that no other's pass for them."""

    sealer: Sealer
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


def write(file: BinaryIO, facts: FrameFacts, frames: Sequence[NDArray[Any]], seal: EntrySeal | None) -> None:
    """Write an entry of the cache.

    Args:
        frames: of one of the types above.
    """
    header = json.dumps(facts).encode()
    if seal is None:
        arrays = {f"frame{i}": frame for i, frame in enumerate(frames)}
        np.savez(file, **arrays, told=np.frombuffer(header, np.uint8))  # type: ignore[arg-type]  # numpy's flags
        return
    contents = [header, *(frame.dtype.str[1:].encode() + np.ascontiguousarray(frame).tobytes() for frame in frames)]
    for number, content in enumerate(contents):
        sealed_part = seal.seal_part(content, number)
        file.write(struct.pack("<Q", len(sealed_part)) + sealed_part)


def read_facts(file: BinaryIO, seal: EntrySeal | None) -> FrameFacts:
    """What an entry tells.

    Raises:
        ValueError, KeyError, OSError, EOFError, struct.error, zipfile.BadZipFile, zlib.error: a damaged entry.
    """
    if seal:
        facts: FrameFacts = json.loads(bytes(seal.open_part(file, 0)))
        return facts
    with np.load(file, allow_pickle=False) as arrays:
        facts = json.loads(arrays["told"].tobytes())
        if any(f"frame{i}" not in arrays for i in range(len(facts["frames"]))):
            raise KeyError("a frame is missing")
        return facts


def read_frame(file: BinaryIO, index: int, shape: tuple[int, int, int], seal: EntrySeal | None) -> NDArray[Any]:
    """One frame: [height, width, channels].

    Raises:
        ValueError, KeyError, OSError, EOFError, struct.error, zipfile.BadZipFile, zlib.error: a damaged entry.
    """
    if seal:
        content = seal.open_part(file, index + 1)
        kind = TYPES[TYPES.index(bytes(content[:2]).decode())]
        return np.frombuffer(content, kind, offset=2).reshape(shape)
    with np.load(file, allow_pickle=False) as arrays:
        frame: NDArray[Any] = arrays[f"frame{index}"]
        return frame


def _length(file: BinaryIO) -> int:
    (length,) = struct.unpack("<Q", file.read(8))
    return min(int(length), 1 << 40)

"""All that sites send in a round, in a file while the round goes on: the coordinator holds no vector in memory.

A process that takes up where another ended reads it again, up to the last whole message.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from common.errors import WireError
from common.secagg.envelope import sender_in
from common.secagg.protocol import MAGIC
from common.secagg.round_messages import Masked
from common.secagg.transcript import frame, read_frames

_MASKED = MAGIC + bytes([Masked.KIND])

Retry = Callable[[Callable[[], object]], object]
"""Calls what writes: once, or again until it succeeds."""


def write_once(write: Callable[[], object]) -> None:
    """Write, and let an error be one."""
    write()


@dataclass
class Spool:
    """One round's messages in the order in which they came; without a file, they are forgotten."""

    file: IO[bytes] | None = None
    retry: Retry = write_once
    is_agreed: bool = False
    """The survivors are agreed on, and shares may have been released: what becomes of the round must be told, even if
    nothing does."""
    _bytes: int = 0
    _vectors: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By sender, where its masked vector lies: offset and length."""

    def append(self, message: bytes | memoryview) -> None:
        """Take the next message."""
        self.retry(lambda: self._append(frame(message)))
        self._note(message)

    def agree(self) -> None:
        """From here on shares may be released: so far, it is safe on the disk."""
        if self.file:
            handle = self.file.fileno()
            self.retry(lambda: os.fsync(handle))
        self.is_agreed = True

    def vector(self, sender: int) -> bytes:
        """The message with a site's masked vector, as it came."""
        if self.file is None:
            raise ValueError("vectors were not kept")
        offset, length = self._vectors[sender]
        self.file.seek(offset)
        pieces = []
        while length and (piece := self.file.read(length)):
            pieces.append(piece)
            length -= len(piece)
        return b"".join(pieces)

    def messages(self) -> Iterator[bytes]:
        """The whole messages of a file; the last one may be cut off, and is left out."""
        if self.file is None:
            return
        try:
            for message in read_frames(self.file):
                self._note(message)
                yield message
        except WireError:
            return

    def _append(self, content: bytes) -> None:
        if self.file:
            self.file.seek(self._bytes)  # a part may be there, of an attempt that found the disk full
            rest = memoryview(content)
            while rest:
                rest = rest[self.file.write(rest) :]

    def _note(self, message: bytes | memoryview) -> None:
        start = self._bytes + len(frame(b""))
        self._bytes = start + len(message)
        if bytes(message[: len(_MASKED)]) == _MASKED:
            self._vectors[sender_in(message)] = start, len(message)

"""Transcripts of rounds on disk, for `common.secagg.audit`: written message by message as they arrive, none is held."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.secagg.audit import framed
from common.transport import Request

Keep = Callable[[bytes | memoryview], None]
"""What takes the next message of a transcript."""


@dataclass(frozen=True)
class Transcripts:
    """A folder with a file for each question, named by round and kind."""

    folder: Path

    @contextmanager
    def writing(self, request: Request) -> Iterator[Keep]:
        """Keep one question's messages; the file is there once the block ends, and not at all if it fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{request.round:04d}-{request.kind}"
        part = self.folder / f".{name}"

        def keep(message: bytes | memoryview) -> None:
            file.write(framed(message))

        try:
            with part.open("wb") as file:
                yield keep
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.folder / name)
        finally:
            part.unlink(missing_ok=True)


def forget(message: bytes | memoryview) -> None:
    """Keeps nothing."""

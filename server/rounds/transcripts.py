"""Transcripts of rounds on disk: written message by message as they arrive, none is held in memory.

A transcript is every message that the coordinator received in a round. From it `common.secagg.audit` recomputes the
sum: a site that audits does so to see that it was told the truth, the coordinator itself to go on after a crash.

What makes a transcript matter is the moment at which the survivors of a round are agreed on. Before it, a round that is
given up has revealed nothing, and its transcript goes. After it, sites may have released the shares that unmask the
sum; to ask again, with other survivors, would unmask the difference, which may be one site's own vector. So from that
moment on the transcript is on the disk before anything else happens, and the next process takes the round up from it.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from common.algorithms.course import number
from common.errors import ConsiliumError, QuorumError, ShareError, WireError
from common.messages.transport import Request
from common.secagg.audit import TranscriptAccount, frame, read_frames, replay_transcript
from common.trust.roster import Pins

log = logging.getLogger("consilium")

Retry = Callable[[Callable[[], object]], object]
"""Calls what writes: once, or again until it succeeds."""


def write_once(write: Callable[[], object]) -> None:
    """Write, and let an error be one."""
    write()


@dataclass
class TranscriptWriter:
    """One question's transcript, while it is being written; without a file, it is forgotten."""

    file: IO[bytes] | None = None
    retry: Retry = write_once
    is_agreed: bool = False
    """The survivors are agreed on, and shares may have been released: what becomes of the round must be told, even if
    nothing does."""
    _bytes: int = 0

    def append(self, message: bytes | memoryview) -> None:
        """Take the next message."""
        self.retry(lambda: self._append(frame(message)))

    def agree(self) -> None:
        """From here on shares may be released: so far, it is safe on the disk."""
        if self.file:
            handle = self.file.fileno()
            self.retry(lambda: os.fsync(handle))
        self.is_agreed = True

    def _append(self, content: bytes) -> None:
        if self.file:
            self.file.seek(self._bytes)  # a part may be there, of an attempt that found the disk full
            rest = memoryview(content)
            while rest:
                rest = rest[self.file.write(rest) :]
            self._bytes += len(content)


@dataclass(frozen=True)
class Transcripts:
    """A folder with a file for each question, named by round and kind.

    Args:
        for_good: keep all of them; else each goes once nobody has a use for it.
        retry: how to write on a disk that may be full.
    """

    folder: Path
    for_good: bool = True
    retry: Retry = write_once

    @contextmanager
    def writer(self, request: Request) -> Iterator[TranscriptWriter]:
        """Write one question's; the file is there once the block ends, or fails after the survivors had agreed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(request)
        part = path.with_name(f".{path.name}")
        with part.open("wb", buffering=0) as file:  # a process that is killed has lost nothing that it had written
            writer = TranscriptWriter(file, self.retry)
            try:
                yield writer
            except BaseException as error:
                if not writer.is_agreed:
                    part.unlink()
                elif isinstance(error, QuorumError | ShareError):
                    self.retry(lambda: _finish(part, path))
                raise  # anything else ends the process: the next one finishes the file
        self.retry(lambda: _finish(part, path))

    def read(self, request: Request, pins: Pins) -> TranscriptAccount | None:
        """What became of a question, by its transcript; none where there is none that can be used."""
        try:
            with self.path(request).open("rb") as file:
                return replay_transcript(read_frames(file), pins)
        except FileNotFoundError:
            return None
        except ConsiliumError as error:
            log.warning("%s cannot be used: %s", self.path(request), error)
            return None

    def salvage(self, pins: Pins) -> None:
        """Finish what a process that ended was writing, where shares may have been released; remove it elsewhere."""
        for part in self.folder.glob(".[0-9]*-*"):
            try:
                with part.open("rb+") as file:
                    replay_transcript(messages := _WholeMessages(file), pins)
                    file.truncate(messages.bytes)
            except ConsiliumError:
                part.unlink()
            else:
                _finish(part, part.with_name(part.name[1:]))

    def note_lineage(self, number: int, lineage: bytes) -> None:
        """Write down the lineage after a question's sum, before anything follows from it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lineages").open("ab") as file:
            self.retry(lambda: file.write(f"{number} {lineage.hex()}\n".encode()))
            self.retry(file.flush)
            self.retry(lambda: os.fsync(file.fileno()))

    def lineages(self) -> dict[int, bytes]:
        """The lineage after each question that has a sum, by the question's number."""
        try:
            lines = (self.folder / "lineages").read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return {}
        pairs = [line.split() for line in lines]
        return {int(pair[0]): bytes.fromhex(pair[1]) for pair in pairs if len(pair) == 2 and len(pair[1]) == 64}

    def path(self, request: Request) -> Path:
        """Where a question's transcript is, if there is one."""
        return self.folder / f"{request.round:04d}-{request.kind}"

    def numbered(self) -> list[tuple[int, Path]]:
        """The transcripts that there are, by their questions' numbers, rising."""
        names = (path.name.partition("-") for path in self.folder.glob("[0-9]*-*"))
        return sorted((number(kind, int(round)), self.folder / f"{round}-{kind}") for round, _, kind in names)

    def discard(self, *, since: int = 0) -> None:
        """Remove the transcripts of a question and all after it, with the lineage that followed from them."""
        for question, path in self.numbered():
            if since <= question:
                path.unlink()
        if (path := self.folder / "lineages").exists():
            lines = [f"{n} {lineage.hex()}\n" for n, lineage in self.lineages().items() if n < since]
            path.write_text("".join(lines), encoding="ascii")


class _WholeMessages:
    """The messages of a file whose last one may be cut off."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.bytes = 0
        """Of the messages that were read."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            for message in read_frames(self._file):
                self.bytes += len(frame(message[:0])) + len(message)
                yield message
        except WireError:
            return


def _finish(part: Path, path: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)

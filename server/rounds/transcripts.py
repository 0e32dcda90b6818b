"""Transcripts of rounds on disk: from them anybody recomputes the sums, without the sites' vectors.

A site that audits does so to see that it was told the truth, the coordinator itself to go on after a crash. While a
round goes on, all that sites send is spooled, as it arrives; once it is over, the spool becomes the transcript
(`common.secagg.audit`), which holds one sum instead of all vectors.

What makes a transcript matter is the moment at which the survivors of a round are agreed on. Before it, a round that is
given up has revealed nothing, and its spool goes. After it, sites may have released the shares that unmask the
sum; to ask again, with other survivors, would unmask the difference, which may be one site's own vector. So from that
moment on the spool is on the disk before anything else happens, and the next process takes the round up from it.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from common.algorithms.course import number
from common.errors import ConsiliumError, QuorumError, ShareError
from common.messages.transport import Request
from common.secagg.audit import replay_transcript
from common.secagg.round import RoundOpening
from common.secagg.transcript import frame, read_frames, resumed_round
from common.secagg.transcript_reading import TranscriptAccount
from common.storage import tensorfile
from common.trust.roster import Pins
from server.rounds.spool import Retry, Spool, write_once

log = logging.getLogger("consilium")


@dataclass(frozen=True)
class Transcripts:
    """A folder with a file for each question, named by round and kind; it stays as long as the run.

    Args:
        retry: how to write on a disk that may be full.
    """

    folder: Path
    retry: Retry = write_once

    @contextmanager
    def spool(self, request: Request, opening: RoundOpening, roster: bytes) -> Iterator[Spool]:
        """Spool one question's round; its transcript is there once the block ends, or fails after the survivors had
        agreed.

        Args:
            roster: the signed file.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(request)
        part = path.with_name(f".{path.name}")
        with (
            tensorfile.naming(part),
            part.open("w+b", buffering=0) as file,
        ):  # a process that is killed has lost nothing that it had written
            spool = Spool(file, self.retry)
            for message in opening.beginning(roster):
                spool.append(message)
            try:
                yield spool
            except BaseException as error:
                if not spool.is_agreed:
                    part.unlink()
                elif isinstance(error, QuorumError | ShareError):
                    self._finish(opening, roster, spool, path)
                raise  # anything else ends the process: the next one finishes the file
            self._finish(opening, roster, spool, path)

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
        """Finish what a process that ended was spooling, where shares may have been released; remove it elsewhere."""
        for part in self.folder.glob(".[0-9]*-*"):
            with part.open("rb") as file:
                messages = (spool := Spool(file)).messages()
                try:
                    roster = next(messages, b"")
                    opening = resumed_round(chain([roster], messages), pins)
                except ConsiliumError:
                    part.unlink()
                    continue
                with suppress(QuorumError, ShareError):
                    opening.close()
                    opening.check_sketches(spool.vector)
                    opening.total()
                self._finish(opening, roster, spool, part.with_name(part.name[1:]))

    def note_lineage(self, number: int, lineage: bytes) -> None:
        """Write down the lineage after a question's sum, before anything follows from it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tensorfile.naming(self.folder / "lineages"), (self.folder / "lineages").open("ab") as file:
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

    def discard(self, *, since: int) -> None:
        """Remove the transcripts of a question and all after it, with the lineage that followed from them."""
        for question, path in self.numbered():
            if since <= question:
                path.unlink()
        if (path := self.folder / "lineages").exists():
            lines = [f"{n} {lineage.hex()}\n" for n, lineage in self.lineages().items() if n < since]
            path.write_text("".join(lines), encoding="ascii")

    def _finish(self, opening: RoundOpening, roster: bytes, spool: Spool, path: Path) -> None:
        """Put the transcript in the place of the spool."""

        def write() -> None:
            messages = opening.transcript(roster, spool.vector)
            tensorfile.write_atomically(path, map(frame, messages))

        self.retry(write)
        path.with_name(f".{path.name}").unlink()

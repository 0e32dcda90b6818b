"""The files of a log, written so that a crash at any moment loses nothing that was recorded.

    key     Ed25519, for its owner alone: signs the heads
    head    signed: how many entries there are, and the root over them; replaced with every entry
    log     a line for each entry

An entry counts when its line is on the disk. Of a process that was killed before it wrote the head, the next one takes
over whole lines, cuts off half of one, and says so in an entry of its own. A log without its head is refused: a head is
there before the first line.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.audit.entries import Entry, decode
from common.audit.heads import LogHead
from common.audit.merkle_tree import Frontier, leaf_hash
from common.errors import AuditError, ConsiliumError, RunError
from common.storage import file_lock, files, tensorfile
from common.trust.keys import public_of

PATIENCE_S = 30.0
"""How long an entry waits for another process that is writing one."""
RESTORE = "Restore the folder from a backup, or put it aside and let a new log begin; then find out who changed it."


@dataclass(frozen=True)
class LogFiles:
    """Key, head and entries of one log in a folder. Processes and threads may share it."""

    folder: Path
    origin: str
    """Whose it is: `site lisbon`, `consortium pilot`."""

    def key(self) -> Ed25519PrivateKey:
        """The private key that signs the log's heads.

        Raises:
            AuditError: it is damaged, or there is none.
        """
        try:
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self._key.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            raise AuditError(f"{self._key}: expected a key of 64 hexadecimal digits. {RESTORE}") from None

    def head(self) -> LogHead | None:
        """The newest signed head; None before the first entry.

        Raises:
            AuditError: it is gone while the log is there, or is not what was written.
        """
        try:
            return LogHead.load_verified(self._head.read_bytes(), public_of(self.key()), self.origin)
        except FileNotFoundError:
            if self._log.exists():
                raise AuditError(f"{self._head}: is gone, and the log is there. {RESTORE}") from None
            return None
        except ConsiliumError as error:
            raise AuditError(f"{self._head}: is not what was written ({error}). {RESTORE}") from None

    @property
    def _key(self) -> Path:
        return self.folder / "key"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    @property
    def _head(self) -> Path:
        return self.folder / "head"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w", encoding="utf-8") as lock:
            if not file_lock.take(lock, PATIENCE_S):
                raise RunError(f"{self.folder}: another process holds the log. Find it, and stop it.")
            yield

    def _initial_head(self) -> LogHead:
        """The head; of no entries where there was none."""
        if head := self.head():
            return head
        if not self._key.exists():
            files.replace(self._key, Ed25519PrivateKey.generate().private_bytes_raw().hex().encode())
        self._write_head(Frontier(), 0, round(time.time(), 3))
        return LogHead.load_verified(self._head.read_bytes(), public_of(self.key()), self.origin)

    def _recovered(self, head: LogHead) -> tuple[Frontier, int, tuple[int, int] | None]:
        """What is there with all that was written behind the head: the tree, its length, entries and bytes too many."""
        frontier, length = head.frontier, head.length
        there = self._log.stat().st_size if self._log.exists() else 0
        if there < length:
            raise AuditError(f"{self._log}: {there} of {length} bytes are there; the rest was cut off. {RESTORE}")
        if there == length:
            return frontier, length, None
        with self._open() as file:
            file.seek(length)
            while (line := file.readline()).endswith(b"\n"):
                try:
                    decode(line[:-1], frontier.size, "")
                except AuditError:
                    break
                frontier.append(leaf_hash(line[:-1]))
                length += len(line)
        return frontier, length, (frontier.size - head.size, there - length)

    def _append(self, entry: Entry, frontier: Frontier, length: int) -> int:
        """Write an entry behind so many bytes; how many there are then."""
        line = entry.encode()
        rest = memoryview(line + b"\n")
        handle = os.open(self._log, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if os.fstat(handle).st_size > length:
                os.ftruncate(handle, length)
            try:
                while rest:
                    count = os.pwrite(handle, rest, length + len(line) + 1 - len(rest))
                    rest = rest[count:]
                os.fsync(handle)
            except OSError as error:
                os.ftruncate(handle, length)
                raise OSError(error.errno, error.strerror, str(self._log)) from None
        finally:
            os.close(handle)
        if frontier.size == 0:
            files.flush_folder(self.folder)
        frontier.append(leaf_hash(line))
        return length + len(line) + 1

    def _write_head(self, frontier: Frontier, length: int, at_s: float) -> None:
        head = LogHead.sign(self.origin, frontier, length, at_s, [self.key()])
        # That the new name is on the disk need not be waited for: the old head will do after a power failure.
        tensorfile.write_atomically(self._head, head.document.encode(), mode=0o600)

    def _open(self) -> BinaryIO:
        try:
            return self._log.open("rb")
        except FileNotFoundError:
            raise AuditError(f"{self._log}: is gone. {RESTORE}") from None

"""The log on the disk: it only grows, and what was recorded is there after a crash at any moment.

    key     Ed25519, for its owner alone: signs the heads
    head    signed: how many entries there are, and the root over them; replaced with every entry
    log     a line for each entry

An entry counts when its line is on the disk. Of a process that was killed before it wrote the head, the next one takes
over whole lines, cuts off half of one, and says so in an entry of its own. A log without its head is refused: a head is
there before the first line.
"""

import fcntl
import os
import pwd
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.audit.entries import Entry, Outcome, decode, plain, plain_facts
from common.audit.heads import LogHead
from common.audit.merkle_tree import Frontier, leaf_hash
from common.errors import AuditError, ConsiliumError, RunError
from common.storage import files, tensorfile
from common.trust.keys import public_of

PATIENCE_S = 30.0
"""How long an entry waits for another process that is writing one."""
RESTORE = "Restore the folder from a backup, or put it aside and let a new log begin; then find out who changed it."


@dataclass(frozen=True)
class Checked:
    """What `verify` found in a log that is what was written."""

    head: LogHead
    after: int
    """Entries that are behind the head: a process was killed before it wrote it."""
    torn: int
    """Bytes of an entry that was being written when that happened, and never counted."""
    backwards: int
    """Entries that were made before the one in front of them, by the machine's clock."""


@dataclass
class Act:
    """Something that is being done."""

    plan: str = ""
    dataset: str = ""
    facts: dict[str, int | str] = field(default_factory=dict)
    """Numbers and names for the entry that says how it ended."""
    ended: Outcome | None = None
    """None: as it looks; done unless it ends in an error."""


@dataclass(frozen=True)
class Log:
    """One log in a folder. Processes and threads may share it."""

    folder: Path
    origin: str
    """Whose it is: `site lisbon`, `consortium pilot`."""
    role: str = ""
    """By which role this process does what it does."""

    # --- writing ----------------------------------------------------------------------------------------------------

    def record(
        self, what: str, outcome: Outcome = "done", *, plan: str = "", dataset: str = "",
        facts: Mapping[str, int | str] | None = None,
    ) -> Entry:  # fmt: skip
        """Write down one thing. It is on the disk when this returns.

        Raises:
            AuditError: the log is not what was written.
            RunError: another process holds it for too long.
            OSError: the disk is full; nothing was written then.
        """
        with self._alone():
            head = self._initial_head()
            frontier, length, recovered = self._recovered(head)
            entry = Entry(
                number=frontier.size, at_s=round(time.time(), 3), what=plain(what), outcome=outcome, user=user(),
                role=plain(self.role), plan=plain(plan), dataset=plain(dataset), facts=plain_facts(facts or {}),
            )  # fmt: skip
            if recovered:
                repair: dict[str, int | str] = {"whole entries": recovered[0], "bytes cut off": recovered[1]}
                note = Entry(number=frontier.size, at_s=entry.at_s, what="log recovered", outcome="done", facts=repair)
                length = self._append(note, frontier, length)
                entry = entry.model_copy(update={"number": frontier.size})
            length = self._append(entry, frontier, length)
            self._write_head(frontier, length, entry.at_s)
            return entry

    @contextmanager
    def act(self, what: str, *, plan: str = "", dataset: str = "") -> Iterator[Act]:
        """Write down that something begins, and how it ended.

        Raises:
            AuditError, RunError, OSError: as `record`; it does not begin then.
        """
        self.record(what, "begun", plan=plan, dataset=dataset)
        act = Act(plan, dataset)
        try:
            yield act
        except BaseException as error:
            facts = {**act.facts, "error": error.code if isinstance(error, ConsiliumError) else type(error).__name__}
            with suppress(ConsiliumError, OSError):  # what went wrong is said in any case
                self.record(what, "failed", plan=act.plan, dataset=act.dataset, facts=facts)
            raise
        self.record(what, act.ended or "done", plan=act.plan, dataset=act.dataset, facts=act.facts)

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether anything was ever recorded here."""
        return self._head.exists() or self._log.exists()

    def begin(self) -> bytes:
        """The public half of the key that signs the heads; both are made here where there is no log yet.

        Raises:
            AuditError, RunError, OSError: as `record`.
        """
        with self._alone():
            self._initial_head()
            return public_of(self.key())

    def key(self) -> Ed25519PrivateKey:
        """What signs the heads.

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

    def lines(self, since: int = 0) -> Iterator[bytes]:
        """Lines of the log under the newest head, from a byte on, without their ends; nothing of them is checked."""
        head = self.head()
        if head is None or since >= head.length:
            return
        with self._open() as file:
            file.seek(since)
            remaining = head.length - since
            while remaining > 0 and (line := file.readline(remaining)):
                remaining -= len(line)
                yield line.removesuffix(b"\n")

    def verify(self) -> Checked:
        """Read all of it: every entry is in its place, and all of them are what the head was signed for.

        Raises:
            AuditError: saying what is not.
        """
        if not self.exists:
            raise AuditError(f"{self.folder}: there is no log here. It begins with the first thing that is done.")
        with self._alone():
            head = self._initial_head()
            frontier, backwards, last_s = Frontier(), 0, 0.0
            for line in self.lines():
                entry = decode(line, frontier.size, str(self._log))
                frontier.append(leaf_hash(line))
                backwards += entry.at_s < last_s
                last_s = entry.at_s
            if (frontier.size, frontier.root) != (head.size, head.root):
                raise AuditError(
                    f"{self._log}: {frontier.size} entries, and not the {head.size} that its head was signed for: "
                    f"some were changed, cut off or put in another order. {RESTORE}"
                )
            _, _, recovered = self._recovered(head)
            return Checked(head, *(recovered or (0, 0)), backwards)

    # --- on the disk ------------------------------------------------------------------------------------------------

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
            deadline = time.monotonic() + PATIENCE_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise RunError(f"{self.folder}: another process holds the log. Find it, and stop it.") from None
                    time.sleep(0.005)
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


def user() -> str:
    """The system user of this process; the environment, which anybody can change, is not asked."""
    number = os.geteuid()
    try:
        return plain(pwd.getpwuid(number).pw_name)
    except KeyError:
        return str(number)

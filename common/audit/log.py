"""The log: what was done, entry by entry; it only grows, and what was recorded is there after a crash at any moment.

Its files and what a crash may leave of them: `common.audit.log_files`.
"""

import os
import pwd
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from common.audit.entries import Entry, Outcome, decode, plain, plain_facts
from common.audit.heads import LogHead
from common.audit.log_files import RESTORE, LogFiles
from common.audit.merkle_tree import Frontier, leaf_hash
from common.errors import AuditError, ConfigError, ConsiliumError
from common.trust.keys import public_of


@dataclass(frozen=True)
class LogVerification:
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
    """What is being done, while it is done: the entry that says how it ended is made of it."""

    plan: str = ""
    dataset: str = ""
    facts: dict[str, int | str] = field(default_factory=dict)
    """Numbers and names for the entry that says how it ended."""
    outcome: Outcome | None = None
    """None: as it looks; done unless it ends in an error."""


@dataclass(frozen=True)
class Log(LogFiles):
    """One log in a folder. Processes and threads may share it."""

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
        self.record(what, act.outcome or "done", plan=act.plan, dataset=act.dataset, facts=act.facts)

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

    def root_at(self, size: int) -> bytes:
        """The root over the first so many entries: what somebody was shown when there were no more.

        Raises:
            ConfigError: there are fewer.
        """
        frontier = Frontier()
        for line in self.lines():
            if frontier.size == size:
                break
            frontier.append(leaf_hash(line))
        if frontier.size != size:
            raise ConfigError(f"{self.folder}: {frontier.size} entries, expected {size} at least.")
        return frontier.root

    def verify(self) -> LogVerification:
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
            return LogVerification(head, *(recovered or (0, 0)), backwards)


def user() -> str:
    """The system user of this process; the environment, which anybody can change, is not asked."""
    number = os.geteuid()
    try:
        return plain(pwd.getpwuid(number).pw_name)
    except KeyError:
        return str(number)

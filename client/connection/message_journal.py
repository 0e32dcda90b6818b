"""What a site must not forget when its process is killed, as files in a folder of its own.

    node          the id under which the coordinator knows this site
    got           the last message that was written down here
    ID.message    a message that was taken from the coordinator, which will not send it again
    ID.reply      the answer to it, until it has arrived: the same bytes are sent again, never computed a second time

Each is a row of byte strings (a protobuf message, then Flower's deflated objects), each behind its length. Files are
replaced atomically, and one process at a time works in the folder. The disk is not waited for, which would be half of
what a small answer takes: only where the machine itself fails may what was under way be lost, and the site is a dropout
in that step. What it must never forget, so that nothing is answered twice, the answering app has on the disk.
"""

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from common.errors import RunError, WireError
from common.storage.run_folder import lock_folder
from common.storage.tensorfile import write_atomically

MESSAGE, REPLY = ".message", ".reply"
NODE, GOT = "node", "got"
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class Journal:
    """The folder, held by this process."""

    folder: Path

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """Hold the folder; it is made if it is missing, readable by its owner alone.

        Raises:
            RunError: if another process works in it, or it cannot be made.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{folder}: {error.strerror}. Expected a folder that this user may write to.") from None
        with lock_folder(
            folder, f"{folder}: another process of this site is running. Stop it first, or leave it to work."
        ):
            journal = cls(folder)
            for leftover in [*folder.glob(f".*{MESSAGE}.*"), *folder.glob(f".*{REPLY}.*")]:
                leftover.unlink()  # a process was killed while it wrote them
            yield journal

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Replace an entry. The parts are asked for one by one, so that they need not all be in memory.

        Raises:
            OSError: with the old entry, if there is one, as it was.
        """
        pieces = (piece for part in parts for piece in (_LENGTH.pack(len(part)), part))
        write_atomically(self.folder / name, pieces, durably=False)

    def read(self, name: str) -> list[bytes]:
        """The parts of an entry, at least one.

        Raises:
            WireError: naming the file, if it is missing or damaged.
        """
        parts = []
        try:
            with (self.folder / name).open("rb") as file:
                while size := file.read(_LENGTH.size):
                    parts.append(part := file.read(length := _LENGTH.unpack(size)[0]))
                    if len(part) != length:
                        raise EOFError
        except (OSError, EOFError, struct.error, OverflowError, MemoryError):
            parts = []
        if not parts or not parts[0]:  # zeros are what a file may hold that was never on the disk
            raise WireError(f"{self.folder / name}: missing or damaged; what it held is lost.")
        return parts

    def has(self, name: str) -> bool:
        """Whether there is such an entry."""
        return (self.folder / name).exists()

    def remove(self, *names: str) -> None:
        """Remove entries, if they are there."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def pending(self) -> list[str]:
        """The messages that are not finished, by id, the oldest first."""
        files = [file for suffix in (REPLY, MESSAGE) for file in self.folder.glob(f"*{suffix}")]
        return list(dict.fromkeys(file.stem for file in sorted(files, key=lambda file: file.stat().st_mtime)))

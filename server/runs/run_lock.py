"""One process at a time carries out a run: the lock on its folder, which ends with the process that holds it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import RunError
from common.storage import file_lock

PATIENCE_S = 2.0


@dataclass(frozen=True)
class RunLock:
    """The lock of one run. The kernel releases it when its process ends, even by SIGKILL.

    Args:
        path: its file, in which the holder's process id stands.
        run: the run's name.
    """

    path: Path
    run: str

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock as long as the block lasts.

        Raises:
            RunError: another process holds it.
        """
        with self.path.open("a+", encoding="utf-8") as file:
            if not file_lock.take(file, PATIENCE_S):  # `holder` takes the lock for a moment, to see whether it is free
                raise RunError(f"run {self.run}: another process conducts it.")
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def holder(self) -> int | None:
        """The process that holds it; None if there is none."""
        try:
            with self.path.open("r+", encoding="utf-8") as file:
                return None if file_lock.take(file) else int(file.read() or 0) or None
        except FileNotFoundError:
            return None

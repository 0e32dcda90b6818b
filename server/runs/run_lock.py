"""One process at a time carries out a run: the lock on its folder, which ends with the process that holds it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from common.errors import RunError

ATTEMPTS, PAUSE_S = 20, 0.1


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
            self._take(file)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def holder(self) -> int | None:
        """The process that holds it; None if there is none."""
        try:
            with self.path.open("r+", encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    return int(file.read() or 0) or None
                return None
        except FileNotFoundError:
            return None

    def _take(self, file: IO[str]) -> None:
        for _ in range(ATTEMPTS):  # `holder` takes the lock for a moment, to see whether it is free
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(PAUSE_S)
        raise RunError(f"run {self.run}: another process conducts it.")

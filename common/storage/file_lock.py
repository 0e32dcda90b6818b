"""A lock that processes share: held as long as a block lasts, and released by the kernel with the process."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

PAUSE_S = 0.005
"""Between two attempts."""


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Wait until nobody else holds the lock, in this process or another, and hold it.

    Args:
        path: a file of its own beside what it protects; it is made where it is missing, and stays.

    Raises:
        OSError: the folder cannot be written, or its file system knows no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:  # opened anew each time, so that two threads of one process exclude each other too
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked(file: IO[Any]) -> Iterator[None]:
    """Hold the lock of a file that is open. Threads that share the open file do not exclude each other by it."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def excludes(path: Path) -> bool:
    """Whether a lock that is held is held against others on this file system."""
    with hold(path), path.open("ab") as other:
        return not take(other)


def take(file: IO[Any], patience_s: float = 0.0) -> bool:
    """Take the lock of an open file, which the kernel releases when it is closed; whether it was free in that time."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(PAUSE_S)

"""A lock that processes share: held as long as a block lasts, and released by the kernel with the process."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path) -> Iterator[None]:
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


def excludes(path: Path) -> bool:
    """Whether a lock that is held is held against others on this file system."""
    with held(path), path.open("ab") as other:
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

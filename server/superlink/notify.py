"""A signal from one process of this machine to another that there is something new, so that nobody polls a database.

It is a file that grows by a byte each time: whoever waits compares its size, which costs microseconds.
"""

from contextlib import suppress
from pathlib import Path

COORDINATOR = "coordinator"
"""The name of the ServerApp's signal; every other is a site's."""


class Signal:
    """A signal of one name, between processes.

    Args:
        path: its file; whoever sends or waits may make it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self) -> None:
        """Send it. A full disk or a missing folder is no harm: who waits looks by itself now and then."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b".")

    def count(self) -> int:
        """How often it was sent so far."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

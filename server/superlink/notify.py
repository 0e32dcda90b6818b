"""A bell between two processes of one machine: a file that grows by a byte, so that nobody asks all the time."""

from contextlib import suppress
from pathlib import Path

COORDINATOR = "coordinator"
"""The bell that rings for the ServerApp; every other is a site's."""


class Bell:
    """One bell.

    Args:
        path: its file; whoever rings or listens may make it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def ring(self) -> None:
        """Let it be heard. A full disk or a missing folder is no harm: who listens looks by itself now and then."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b".")

    def rung(self) -> int:
        """How often it was rung so far."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

"""The masked vector that a site sent last: kept until the round is over, for the site signs a sketch of it.

It is what has left the site, so it is no secret; `round.root` of the protocol's state binds it by its hash. A machine
that fails may lose it, and its site is a dropout in that round.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.storage import tensorfile

Buffer = bytes | memoryview


class SentVector(Protocol):
    """Where one site keeps it."""

    def keep(self, vector: Buffer) -> None:
        """Replace the one before; a process that is killed has lost nothing."""
        ...

    def load(self) -> Buffer:
        """As it was kept; empty where none is."""
        ...

    def drop(self) -> None:
        """The round is over."""
        ...


@dataclass
class VectorInMemory:
    """Of a site that lives as long as its process."""

    vector: Buffer = b""

    def keep(self, vector: Buffer) -> None:
        """As `SentVector.keep`."""
        self.vector = vector

    def load(self) -> Buffer:
        """As `SentVector.load`."""
        return self.vector

    def drop(self) -> None:
        """As `SentVector.drop`."""
        self.vector = b""


@dataclass(frozen=True)
class VectorFile:
    """Of a real site: a file in the folder of the run."""

    path: Path

    def keep(self, vector: Buffer) -> None:
        """As `SentVector.keep`."""
        tensorfile.write_atomically(self.path, bytes(vector), durably=False)

    def load(self) -> Buffer:
        """As `SentVector.load`."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""

    def drop(self) -> None:
        """As `SentVector.drop`."""
        self.path.unlink(missing_ok=True)

"""Where a site that audits keeps what it follows a run by: a folder of its own, or, simulated, the state it is handed.

notes, place   arrays by name, each part replaced whole
transcript     one file of bytes that arrives in pieces
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from common.errors import WireError
from common.storage import tensorfile
from common.types import Tensors, prefixed, under


class AuditStore(Protocol):
    """Where one site keeps what it audits a run by."""

    def load(self, part: str) -> Tensors:
        """A part as it was saved last; empty if it never was."""
        ...

    def save(self, part: str, tensors: Tensors) -> None:
        """Replace a part; it is safe when this returns."""
        ...

    def add(self, at: int, piece: bytes) -> int:
        """Put a piece of a transcript at its place; a piece at 0 begins a new one.

        Returns:
            Bytes so far.

        Raises:
            WireError: if the piece is not the next one.
        """
        ...

    def transcript(self) -> IO[bytes]:
        """What was added, to read."""
        ...

    def clear(self) -> None:
        """Forget the transcript."""
        ...


@dataclass(frozen=True)
class AuditNotes:
    """What an auditing site must not forget beside its place in the run."""

    roster: int = 0
    """The newest version in a transcript."""
    asked: int = -1
    """The question that was answered last."""
    owed: Mapping[int, str] = field(default_factory=dict)
    """By question, the round_ctx (hexadecimal) under which this site released shares, with no account of it so far."""

    @classmethod
    def load(cls, store: AuditStore) -> "AuditNotes":
        """From a store; fresh ones where there are none."""
        if not (arrays := store.load("notes")):
            return cls()
        content = json.loads(arrays["json"].tobytes())
        owed = {int(n): str(context) for n, context in content["owed"].items()}
        return cls(int(content["roster"]), int(content["asked"]), owed)

    def due(self, since: int, before: int) -> bool:
        """Whether an account is owed of a question between these two."""
        return any(since <= owing < before for owing in self.owed)

    def save(self, store: AuditStore) -> None:
        """Write them into a store."""
        content = asdict(self)
        store.save("notes", {"json": np.frombuffer(json.dumps(content).encode(), np.uint8)})


@dataclass(frozen=True)
class FolderStore:
    """An `AuditStore` in files: of a real site."""

    folder: Path

    def load(self, part: str) -> Tensors:
        """As `AuditStore.load`."""
        try:
            return tensorfile.load(self._path(part))[0]
        except FileNotFoundError:
            return {}

    def save(self, part: str, tensors: Tensors) -> None:
        """As `AuditStore.save`."""
        tensorfile.save(self._path(part), tensors, {})

    def add(self, at: int, piece: bytes) -> int:
        """As `AuditStore.add`."""
        path = self._path("transcript")
        _demand_next(at, path.stat().st_size if path.exists() else 0)
        with tensorfile.naming(path), path.open("ab" if at else "wb") as file:
            file.write(piece)
        return at + len(piece)

    def transcript(self) -> IO[bytes]:
        """As `AuditStore.transcript`."""
        return self._path("transcript").open("rb")

    def clear(self) -> None:
        """As `AuditStore.clear`."""
        self._path("transcript").unlink(missing_ok=True)

    def _path(self, part: str) -> Path:
        return self.folder / f"lineage-{part}"


@dataclass
class AuditStateStore:
    """In a simulated site's state, among what it keeps anyway."""

    arrays: Tensors
    is_changed: bool = field(default=False, init=False)

    def load(self, part: str) -> Tensors:
        """As `AuditStore.load`."""
        return under(part, self.arrays)

    def save(self, part: str, tensors: Tensors) -> None:
        """As `AuditStore.save`."""
        rest = {name: value for name, value in self.arrays.items() if not name.startswith(part + "/")}
        self.arrays, self.is_changed = {**rest, **prefixed(part, tensors)}, True

    def add(self, at: int, piece: bytes) -> int:
        """As `AuditStore.add`."""
        before = self.load("transcript").get("bytes", np.zeros(0, np.uint8)) if at else np.zeros(0, np.uint8)
        _demand_next(at, len(before))
        self.save("transcript", {"bytes": np.concatenate([before, np.frombuffer(piece, np.uint8)])})
        return at + len(piece)

    def transcript(self) -> IO[bytes]:
        """As `AuditStore.transcript`."""
        return io.BytesIO(self.load("transcript")["bytes"].tobytes())

    def clear(self) -> None:
        """As `AuditStore.clear`."""
        self.save("transcript", {})


def _demand_next(at: int, size: int) -> None:
    if at and at != size:
        raise WireError(f"a piece of a transcript at byte {at}, expected {size}: pieces come in order, from the first.")

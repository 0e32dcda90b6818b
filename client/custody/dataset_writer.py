"""Adding to a data set, so that what was committed stays, whatever happens afterwards."""

import os
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.custody import sealing
from client.custody.dataset_index import Object
from client.custody.encrypted_dataset import EncryptedDataset, settle, write_index
from client.custody.key_ring import Custody
from client.custody.packs import path_of
from client.custody.wrapped_keys import DatasetKeys, WrappedKeys
from common.storage.files import flush_folder
from common.storage.run_folder import lock_folder

PACK_BYTES = 256 << 20
"""A pack that has as many is full. An object is never divided."""


@dataclass(frozen=True)
class SealedObject:
    """An object that is sealed and not yet written."""

    id: str
    ciphertext: bytes
    source: str
    frame_facts: dict[str, Any] | None
    taken_out: Counter[str]
    """What was not carried over from the file, by kind."""
    patient: str | None = None
    """Pseudonym of the patient in its header."""


class AppendedFile:
    """A file that only grows; what was not flushed may be lost in a crash, and is cut off by whoever knows its length.

    Args:
        keep: bytes that count; what lies behind them is left over from a write that was cut short.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self.path, self.length = path, keep
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        if os.fstat(self._handle).st_size > keep:
            os.ftruncate(self._handle, keep)

    def append(self, content: bytes) -> int:
        """Write it behind all else; where it begins.

        Raises:
            OSError: the disk is full; nothing of it counts then.
        """
        begin, remaining = self.length, memoryview(content)
        try:
            while remaining:
                remaining = remaining[os.pwrite(self._handle, remaining, self.length + len(content) - len(remaining)) :]
        except OSError as error:
            os.ftruncate(self._handle, begin)
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        self.length += len(content)
        return begin

    def flush(self) -> None:
        """All of it is on the disk when this returns."""
        os.fsync(self._handle)

    def close(self) -> None:
        """No more will come."""
        os.close(self._handle)


class DatasetWriter:
    """Adds objects and cases to a data set. What was committed stays, whatever happens afterwards."""

    def __init__(self, store: EncryptedDataset) -> None:
        self.store, self.index, self.version = store, store.index, store.version
        self._pack: AppendedFile | None = None
        self._committed = len(self.index.objects), len(self.index.cases)

    def add(self, entry: SealedObject) -> int:
        """Append an object; its number. It counts with the next commit.

        Raises:
            OSError: the disk is full.
        """
        offset = self._pack_with_room().append(entry.ciphertext)
        pack = self.index.first + len(self.index.packs) - 1
        return self.index.add_object(
            Object(entry.id, pack, offset, len(entry.ciphertext), entry.source, entry.frame_facts)
        )

    def commit(self) -> None:
        """All that was added is in when this returns; where nothing was, nothing is written.

        Raises:
            OSError: the disk is full; what was committed before is in, and nothing else.
        """
        if self._committed == (size := (len(self.index.objects), len(self.index.cases))):
            return
        self.flush()
        store = self.store
        write_index(store.custody, store.folder, store.wraps, store.secrets, self.version + 1, self.index)
        self.version += 1
        self._committed = size

    def flush(self) -> None:
        """What was added is on the disk when this returns; it counts with the next commit.

        Raises:
            OSError: the disk is full.
        """
        if self._pack:
            self._pack.flush()
            flush_folder(self._pack.path.parent)
            self.index.packs[-1] = self._pack.length

    def close(self) -> None:
        """No more will come."""
        if self._pack:
            self._pack.close()

    def _pack_with_room(self) -> AppendedFile:
        packs = self.index.packs
        if self._pack and self._pack.length < PACK_BYTES:
            return self._pack
        if self._pack:
            self._pack.flush()
            packs[-1] = self._pack.length
            self._pack.close()
        if self._pack or not packs or packs[-1] >= PACK_BYTES:
            packs.append(0)
        number = self.index.first + len(packs) - 1
        self._pack = AppendedFile(path_of(self.store.folder, number), packs[-1])
        return self._pack


@contextmanager
def open_for_writing(custody: Custody, folder: Path) -> Iterator[DatasetWriter]:
    """Open a data set for writing, for this process alone.

    Raises:
        RunError: another process writes to it.
        CustodyError: as `EncryptedDataset.open`.
    """
    with lock_folder(folder, f"{folder}: another process is importing into this data set. Wait for it, or stop it."):
        writer = DatasetWriter(settle(custody, folder))
        try:
            yield writer
        finally:
            writer.close()


def seal(wraps: WrappedKeys, keys: DatasetKeys, content: bytes | memoryview) -> tuple[str, bytes]:
    """A content as an object: its identity, and the bytes that are written."""
    identity = secrets.token_hex(8)
    return identity, sealing.seal(keys.data, content, wraps.place("object", identity))

"""An encrypted data set: packs of sealed objects, and an index that says where they are. *Read this first.*

    keys           the data set's keys, wrapped (client/custody/wrapped_keys.py)
    index          its version in the clear, eight bytes; behind it the sealed index of that version
    packs/00000    sealed objects, one behind the other

A case is in when the index says so. Packs only grow, the index is replaced as a whole after they are on the disk, and
what a pack holds beyond the index is left over from a write that was cut short: the next one writes over it. Where a
patient is taken out, all of it is written again under another data key (`rewriting`).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag

from client.custody import packs, sealing, wrapped_keys
from client.custody.dataset_index import Index, Option
from client.custody.key_ring import Custody, DatasetNote
from client.custody.packs import PackReader
from client.custody.sealing import RESTORE
from client.custody.wrapped_keys import DatasetKeys, WrappedKeys
from client.home import Home
from common.errors import CustodyError
from common.storage.files import flush_folder, replace

INDEX, NEXT_INDEX = "index", "index.next"
"""The second is there while a set is written again, until its keys are replaced and it takes the first one's place."""


@dataclass(frozen=True)
class EncryptedDataset:
    """A data set that is open for reading. Threads may share it; other processes open it again."""

    custody: Custody
    folder: Path
    wraps: WrappedKeys
    secrets: DatasetKeys = field(repr=False)
    version: int
    index: Index = field(repr=False)
    reader: "PackReader" = field(repr=False, compare=False)

    @classmethod
    def open(cls, custody: Custody, folder: Path) -> "EncryptedDataset":
        """Open and check a data set: its keys, its index, that neither was set back, and that all packs are there.

        Raises:
            ConfigError: the site has no keys.
            CustodyError: it is not what was stored last.
        """
        wraps = wrapped_keys.read(folder)
        while True:
            try:
                keys = wrapped_keys.unwrap(wraps, custody, folder)
                version, index = _current_index(custody, folder, wraps, keys)
                packs.check(folder, index)
                return cls(custody, folder, wraps, keys, version, index, PackReader(folder))
            except CustodyError:
                if wraps == (now := wrapped_keys.read(folder)):
                    raise
                wraps = now  # another process has written it again meanwhile, under other keys

    def __reduce__(self) -> tuple[Any, ...]:
        # Only the way there, and who was let in, is told to other processes: the keys stay in this one.
        return _reopen, (self.custody.home, self.folder)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.wraps.name

    @cached_property
    def _objects(self) -> bytes:
        """The context of all objects; behind it comes the name of one."""
        return sealing.context(self.wraps.place("object"))

    def read(self, number: int) -> memoryview:
        """One object, decrypted.

        Raises:
            CustodyError: it is not what was stored.
        """
        entry = self.index.objects[number]
        try:
            return self.reader.read(entry, self.secrets.data, self._objects + sealing.word(entry.id))
        except InvalidTag:
            raise CustodyError(
                f"{packs.path_of(self.folder, entry.pack)}, object {number} of {self.name}: is not what was stored: "
                f"changed, truncated or swapped. {RESTORE}"
            ) from None
        except FileNotFoundError:
            raise CustodyError(
                f"{self.folder}: was written again since it was opened, without a patient. Give the command again."
            ) from None

    def verify(self) -> Iterator[str]:
        """Read every byte of every object; what is wrong with those that are not what was stored."""
        for number in range(len(self.index.objects)):
            try:
                self.read(number)
            except CustodyError as error:
                yield str(error)


@lru_cache(maxsize=4)
def _reopen(home: Home, folder: Path) -> EncryptedDataset:
    return EncryptedDataset.open(Custody(home), folder)


def create(custody: Custody, name: str, retain: frozenset[Option]) -> Path:
    """Begin a data set, or what is left of one whose beginning was cut short.

    Raises:
        CustodyError: images are there, and the keys that open them are not.
    """
    folder = custody.sets / name
    for place in (custody.sets, folder, folder / "packs"):
        place.mkdir(mode=0o700, exist_ok=True)
    if any((folder / "packs").iterdir()):
        raise CustodyError(
            f"{folder / wrapped_keys.FILE}: is missing, and nothing opens the data set without it. {RESTORE}"
        )
    wraps, keys = wrapped_keys.begin(custody, name)
    flush_folder(custody.sets)
    # First the index and then the keys: without keys there is nothing to open, and all of it is begun again.
    write_index(custody, folder, wraps, keys, 1, Index(retain))
    wrapped_keys.write(wraps, folder)
    return folder


# --- the index ------------------------------------------------------------------------------------------------------


def _current_index(custody: Custody, folder: Path, wraps: WrappedKeys, keys: DatasetKeys) -> tuple[int, Index]:
    note = custody.note_of(wraps.set)  # before the index, which another process may be about to put ahead of it
    content, version, index = _read_index(folder, wraps, keys)
    if note is None:
        raise CustodyError(
            f"{folder}: this site remembers no such data set. If it was restored or brought here on purpose, take it "
            f"as it is: python -m client custody adopt {folder.name}"
        )
    if note.destroyed:
        raise CustodyError(f"{folder}: this data set was destroyed here, and is not opened again.")
    if version < note.version or (version == note.version and _digest(content) != note.index):
        raise CustodyError(
            f"{folder / INDEX}: version {version} was set back: this site has seen version {note.version}. Restore "
            f"the newest backup; if there is none, take this one: python -m client custody adopt {folder.name}"
        )
    return version, index


def settle(custody: Custody, folder: Path) -> EncryptedDataset:
    """Open a data set, and end what the last writer began: its index in its place, what it replaced gone, and noted.

    Who calls holds the folder's lock. It can be cut short at any moment itself.

    Raises:
        CustodyError: as `EncryptedDataset.open`.
    """
    store = EncryptedDataset.open(custody, folder)
    content, *_ = _read_index(folder, store.wraps, store.secrets)
    if content != (folder / INDEX).read_bytes():
        replace(folder / INDEX, content)
    for leftover in (folder / NEXT_INDEX, *folder.glob(f".{INDEX}*.*")):
        leftover.unlink(missing_ok=True)
    wrapped_keys.destroy_old(folder)
    packs.remove_others(folder, store.index)
    custody.remember(store.wraps.set, DatasetNote(name=store.name, version=store.version, index=_digest(content)))
    return store


def _read_index(folder: Path, wraps: WrappedKeys, keys: DatasetKeys) -> tuple[bytes, int, Index]:
    """File, version and content of the index that is there; of a set that was written again, the one of its keys."""
    try:
        content = (folder / INDEX).read_bytes()
    except FileNotFoundError:
        raise CustodyError(f"{folder / INDEX}: is missing. {RESTORE}") from None
    try:
        return content, *unseal_index(folder, wraps, keys, content)
    except CustodyError:
        if not (following := folder / NEXT_INDEX).exists():
            raise
    return (content := following.read_bytes()), *unseal_index(folder, wraps, keys, content)


def write_index(
    custody: Custody, folder: Path, wraps: WrappedKeys, keys: DatasetKeys, version: int, index: Index
) -> None:
    """Write an index of a version above all before, and remember that this site has seen it."""
    content = seal_index(wraps, keys, version, index)
    replace(folder / INDEX, content)
    custody.remember(wraps.set, DatasetNote(name=wraps.name, version=version, index=_digest(content)))


def seal_index(wraps: WrappedKeys, keys: DatasetKeys, version: int, index: Index) -> bytes:
    """The file of an index."""
    place = wraps.place("index", str(version))
    return version.to_bytes(8, "little") + sealing.seal(keys.data, index.encode(), place)


def unseal_index(folder: Path, wraps: WrappedKeys, keys: DatasetKeys, content: bytes) -> tuple[int, Index]:
    """Version and content of an index.

    Raises:
        CustodyError: these keys do not open it, or it is of another data set.
    """
    version = int.from_bytes(content[:8], "little")
    place = wraps.place("index", str(version))
    return version, Index.decode(sealing.unseal(keys.data, content[8:], place, str(folder / INDEX)))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def adopt(custody: Custody, folder: Path) -> int:
    """Take a data set as it is, one that was restored: from now on it is the newest. Its new version.

    Raises:
        CustodyError: it is damaged, or was destroyed here.
    """
    wraps = wrapped_keys.read(folder)
    keys = wrapped_keys.unwrap(wraps, custody, folder)
    _, version, index = _read_index(folder, wraps, keys)
    packs.check(folder, index)
    note = custody.note_of(wraps.set)
    if note and note.destroyed:
        raise CustodyError(f"{folder}: this data set was destroyed here, and is not taken back.")
    # Above whatever was seen, so that neither the one before nor this one's own past passes for the newest.
    version = max(version, note.version if note else 0) + 1
    write_index(custody, folder, wraps, keys, version, index)
    return version

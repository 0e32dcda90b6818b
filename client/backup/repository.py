"""One site's backup on a disk: objects by the hash of their bytes, snapshots by number, and the key that opens both.

DEST/SITE/keys             the backup's key, wrapped for the site's key and for the recovery key
DEST/SITE/objects/ab/…     pieces of files, each named by the SHA-256 of its bytes
DEST/SITE/snapshots/…      manifests

HOME/custody/backups/ID/SITE/keys      the same keys, which `custody rotate` wraps again though the disk is away
HOME/custody/backups/ID/SITE/newest    how far this backup had come, so that it cannot be set back unnoticed
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from client.backup.snapshot import Snapshot, hash_of
from client.custody import sealing
from client.custody.wrapped_keys import DatasetKeys, WrappedKeys
from common.errors import BackupError, CustodyError
from common.storage import tensorfile
from common.storage.files import flush_folder
from common.storage.run_folder import lock_folder

WHOLE = "Snapshots made before are whole. Make room there (`backup prune DEST --keep N`), and give the command again."
MEND = (
    "Another snapshot or another copy of the backup may have it (--snapshot N); where the site still has the file, "
    "remove the damaged object, and `backup` stores it again."
)


@dataclass(frozen=True)
class BackupRepository:
    """A backup that is open."""

    folder: Path
    wraps: WrappedKeys
    keys: DatasetKeys = field(repr=False)

    # --- objects ----------------------------------------------------------------------------------------------------

    def path_of(self, name: str) -> Path:
        """Where an object is."""
        return self.folder / "objects" / name[:2] / name

    def has(self, name: str, length: int) -> bool:
        """Whether an object is there, at least so long; its bytes are `get`'s and `backup verify`'s to check."""
        path = self.path_of(name)
        return path.exists() and path.stat().st_size >= length

    def store(self, content: bytes) -> tuple[str, bool]:
        """Store an object; its name, and whether it was written. `settle` makes its name last.

        Raises:
            BackupError: the disk is full.
        """
        name = hash_of(content)
        if self.has(name, len(content)):
            return name, False
        self._write(self.path_of(name), content)
        return name, True

    def get(self, name: str) -> bytes:
        """An object as it was stored.

        Raises:
            BackupError: naming its file, if it is gone or its bytes are others.
        """
        path = self.path_of(name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BackupError(f"{path}: {(error.strerror or str(error)).lower()}. {MEND}") from None
        if hash_of(content) != name:
            raise BackupError(f"{path}: {len(content):,} bytes that are not what was stored. {MEND}")
        return content

    def seal(self, content: bytes, digest: str) -> bytes:
        """A piece of a file, encrypted."""
        return sealing.seal(self.keys.data, content, self.wraps.place("piece", digest))

    def piece(self, digest: str, name: str, is_sealed: bool) -> bytes:
        """A piece of a file as it was in the file.

        Raises:
            BackupError: naming the object that is gone or damaged.
        """
        content = self.get(name)
        if is_sealed:
            content = self._unseal(content, self.wraps.place("piece", digest), self.path_of(name))
        if (hash_of(content) if is_sealed else name) != digest:
            raise BackupError(f"{self.path_of(name)}: is not the piece that the snapshot names. {MEND}")
        return content

    # --- snapshots --------------------------------------------------------------------------------------------------

    def numbers(self) -> list[int]:
        """The snapshots that are there, oldest first."""
        folder = self.folder / "snapshots"
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []

    def snapshot_path(self, number: int) -> Path:
        """Where a snapshot is."""
        return self.folder / "snapshots" / f"{number:06d}"

    def snapshot(self, number: int) -> Snapshot:
        """One snapshot, by its number.

        Raises:
            BackupError: there is none of this number, or it is not what was written.
        """
        path = self.snapshot_path(number)
        if not path.exists():
            there = ", ".join(map(str, self.numbers())) or "none"
            raise BackupError(f"{path}: there is no snapshot {number}; there is: {there}.")
        content = path.read_bytes()
        content_json = self._unseal(content[8:], self.wraps.place("snapshot", str(number)), path)
        try:
            manifest = Snapshot.decode(content_json)
        except ValueError as error:
            raise BackupError(
                f"{path}: no snapshot of this release ({error}). Use the release that wrote it."
            ) from None
        if (manifest.number, int.from_bytes(content[:8], "little"), manifest.site) != (number, number, self.wraps.site):
            raise BackupError(f"{path}: is another snapshot than its name says. {MEND}")
        return manifest

    def write(self, manifest: Snapshot, content: bytes) -> str:
        """Put a snapshot in its place, whole, behind all that it names; the hash of its file."""
        place = self.wraps.place("snapshot", str(manifest.number))
        file = manifest.number.to_bytes(8, "little") + sealing.seal(self.keys.data, content, place)
        for folder in sorted((self.folder / "objects").iterdir()):
            flush_folder(folder)
        flush_folder(self.folder / "objects")
        self._write(path := self.snapshot_path(manifest.number), file)
        flush_folder(path.parent)
        return hash_of(file)

    def _unseal(self, content: bytes, place: sealing.Place, path: Path) -> bytes:
        try:
            return sealing.unseal(self.keys.data, content, place, str(path))
        except CustodyError:
            raise BackupError(f"{path}: is not what was stored: changed, cut or swapped. {MEND}") from None

    def _write(self, path: Path, content: bytes) -> None:
        try:
            tensorfile.write_atomically(path, content, mode=0o600)
        except OSError as error:
            raise BackupError(f"{path}: {error.strerror}. {WHOLE}") from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process writes here meanwhile; what a killed one left half written is removed.

        Raises:
            RunError: another one does.
        """
        with lock_folder(self.folder, f"{self.folder}: another process is writing to this backup. Wait for it."):
            for leftover in self.folder.rglob(".*.*"):
                leftover.unlink()
            yield

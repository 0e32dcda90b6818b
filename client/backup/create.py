"""A new snapshot: what changed since the last one is written, all else is named again.

Keys and indexes are read while nobody can change keys, packs after the indexes that count on them. Objects are on the
disk before the manifest that names them, and the manifest before the note that this site made it: a kill at any moment
leaves every older snapshot whole, and the new one absent or whole.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from client.backup import file_selection, known_backups
from client.backup.file_selection import SelectedFile
from client.backup.repository import BackupRepository
from client.backup.snapshot import PIECE_BYTES, FileEntry, Piece, Snapshot, hash_of
from client.custody import lifecycle, wrapped_keys
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.key_ring import Custody
from common.errors import AuditError, BackupError, CustodyError
from common.trust.release import VERSION

Progress = Callable[[int], None]


@dataclass
class BackupReport:
    """What came of it."""

    number: int
    files: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    problems: list[str] = field(default_factory=list)
    """What was damaged at the site, and is not in the snapshot."""


def ignore_progress(_: int) -> None:
    """Nobody wants to know how far it is."""


def size_bytes(custody: Custody) -> int:
    """About how much there is to read."""
    sources = [*file_selection.small_files(custody)]
    sources += [pack for folder in lifecycle.data_sets(custody) for pack in file_selection.pack_files(folder)]
    return sum(source.file.stat().st_size for source in sources)


def run(
    custody: Custody, repository: BackupRepository, *, anew: bool = False, progress: Progress = ignore_progress
) -> BackupReport:
    """Take a snapshot of a site's folder.

    Args:
        anew: go on though the backup was set back.
        heard: told of bytes that were read.

    Raises:
        BackupError: the backup was set back, or its disk is full.
        ConfigError, RunError: the site has no keys, or another process changes them or writes to this backup.
    """
    identity = custody.home.identity
    with repository.alone():
        note, there = known_backups.newest_note(custody, repository), repository.numbers()
        if (problem := known_backups.rollback_evidence(custody, repository)) and not anew:
            raise BackupError(f"{problem} To go on behind it nevertheless: --anew.")
        number = max(there[-1] if there else 0, note.number) + 1
        taking = _SnapshotWriter(repository, _before(repository, anew), progress, BackupReport(number))
        with custody.alone():
            taking.small(custody)
        taking.packs(custody)
        manifest = taking.manifest(custody)
        digest = repository.write(manifest, manifest.encode(identity))
        known_backups.remember(custody, repository, number, digest, oldest=number if problem else note.oldest)
    return taking.report


def _before(repository: BackupRepository, anew: bool) -> Snapshot | None:
    """The newest snapshot; going on anew, the newest that is whole."""
    for number in reversed(repository.numbers()):
        try:
            return repository.snapshot(number)
        except BackupError:
            if not anew:
                raise
    return None


class _SnapshotWriter:
    def __init__(
        self, repository: BackupRepository, before: Snapshot | None, progress: Progress, report: BackupReport
    ) -> None:
        self.repository, self.before = repository, before
        self.report, self._progress = report, progress
        self.files: list[FileEntry] = []
        pieces = ((f.path, f, i, piece) for f in (before.files if before else ()) for i, piece in enumerate(f.pieces))
        self._known = {(path, i, digest): (name, f.length(i)) for path, f, i, (digest, name) in pieces if f.sealed}

    def small(self, custody: Custody) -> None:
        """Write all files but packs."""
        for source in file_selection.small_files(custody):
            self._take(source)

    def packs(self, custody: Custody) -> None:
        """The packs of all data sets; a set that is damaged is left out as a whole, and named."""
        indexed = {file.path.split("/")[1] for file in self.files if file.path.startswith("sets/")}
        for folder in lifecycle.data_sets(custody):
            count = len(self.files)
            try:
                store = EncryptedDataset.open(custody, folder)
                if folder.name in indexed:  # another has come since: the next backup has it
                    self._refuse_written_again(folder)
                    first = f"{store.index.first:05d}"  # those before it are of the set before it was written again
                    for source in file_selection.pack_files(folder):
                        if source.file.name >= first:
                            self._take(source)
            except (CustodyError, FileNotFoundError) as error:
                del self.files[count:]
                self.files = [file for file in self.files if not file.path.startswith(f"sets/{folder.name}/")]
                self.report.problems.append(str(error))

    def _refuse_written_again(self, folder: Path) -> None:
        """Packs go with the keys that were taken: a patient may have been taken out of the set since."""
        (keys,) = (file for file in self.files if file.path == f"sets/{folder.name}/{wrapped_keys.FILE}")
        content = (folder / wrapped_keys.FILE).read_bytes()
        now = [hash_of(content[at : at + PIECE_BYTES]) for at in range(0, len(content), PIECE_BYTES)]
        if now != [digest for digest, _ in keys.pieces]:
            raise CustodyError(f"{folder}: its keys were replaced while it was backed up. Give the command again.")

    def manifest(self, custody: Custody) -> Snapshot:
        """What names all of it."""
        self.report.files = len(self.files)
        before = self.repository.snapshot_path(self.before.number).read_bytes() if self.before else b""
        return Snapshot(
            site=custody.site, number=self.report.number, at_s=round(time.time(), 3), release=VERSION,
            previous=hash_of(before) if before else "", log=self._log(custody), left_out=tuple(self.report.problems),
            files=tuple(sorted(self.files, key=lambda file: file.path)),
        )  # fmt: skip

    def _log(self, custody: Custody) -> str:
        try:
            head = custody.home.log.head()
            return f"{head.size} {head.root.hex()}" if head else ""
        except AuditError as error:
            self.report.problems.append(str(error))
            return ""

    def _take(self, source: SelectedFile) -> None:
        pieces: list[Piece] = []
        size = 0
        with source.file.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            while content := file.read(PIECE_BYTES):
                pieces.append(self._piece(source, len(pieces), content))
                size += len(content)
                self._progress(len(content))
                if len(content) < PIECE_BYTES:
                    break  # what a log has grown by meanwhile is for the next snapshot: only the last piece is short
        self.report.read_bytes += size
        self.files.append(
            FileEntry(path=source.path, size=size, mode=mode, sealed=source.is_sealed, pieces=tuple(pieces))
        )

    def _piece(self, source: SelectedFile, number: int, content: bytes) -> Piece:
        digest = hash_of(content)
        if source.is_sealed:
            name, length = self._known.get((source.path, number, digest), ("", 0))
            if name and self.repository.has(name, length):
                return digest, name
            content = self.repository.seal(content, digest)
        name, is_new = self.repository.store(content)
        self.report.written_bytes += is_new * len(content)
        return digest, name

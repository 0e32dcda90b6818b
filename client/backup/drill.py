"""A restore drill: all of it is restored into a scratch folder, compared and opened; a signed report tells of it."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client.backup import model_check, restore
from client.backup.create import Progress, ignore_progress
from client.backup.repository import BackupRepository
from client.backup.snapshot import PIECE_BYTES, FileEntry, Snapshot, hash_of
from client.custody import lifecycle
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.key_ring import Custody
from client.home import Home
from common.errors import BackupError, ConsiliumError
from common.storage.files import replace
from common.trust.documents import sign_document
from common.trust.release import VERSION


@dataclass
class DrillReport:
    """What came of it."""

    snapshot: int
    files: int = 0
    bytes: int = 0
    restore_s: float = 0.0
    hashes: int = 0
    """Compared: of every object, and of every piece of a file."""
    unchanged: int = 0
    """Files that are the same at the site now, byte by byte."""
    changes: int = 0
    """Files that have changed there since, or are gone."""
    images: int = 0
    """How many were decrypted."""
    models: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """How fast the restoration was, in GB/s."""
        return self.bytes / max(self.restore_s, 1e-9) / 1e9

    def to_json(self, site: str, at_s: float) -> dict[str, Any]:
        """As the report has it."""
        return {
            "site": site, "at_s": round(at_s, 3), "release": VERSION, "snapshot": self.snapshot, "files": self.files,
            "bytes": self.bytes, "restore_s": round(self.restore_s, 3), "gb_per_s": round(self.rate, 4),
            "hashes": self.hashes, "unchanged": self.unchanged, "changed": self.changes, "images": self.images,
            "models": self.models, "problems": self.problems,
        }  # fmt: skip

    def text(self) -> str:
        """The report for people."""
        verdict = "passed" if not self.problems else f"FAILED, {len(self.problems)} problems"
        lines = [
            f"Restore drill of snapshot {self.snapshot}: {verdict}.",
            f"  restored    {self.files:,} files, {self.bytes / 1e6:,.1f} MB in {self.restore_s:.1f} s "
            f"({self.rate:.3f} GB/s)",
            f"  compared    {self.hashes:,} hashes; {self.unchanged:,} files are the same at the site, "
            f"{self.changes:,} have changed since",
            f"  decrypted   {self.images:,} images",
            f"  models      {'; '.join(self.models) or 'none in the backup'}",
        ]
        return "\n".join([*lines, *(f"  problem     {problem}" for problem in self.problems)]) + "\n"


def run(
    repository: BackupRepository,
    custody: Custody,
    number: int | None,
    scratch: Path | None,
    progress: Progress = ignore_progress,
) -> DrillReport:
    """Restore a snapshot into a folder that is removed afterwards, and try what is in it.

    Args:
        scratch: where that folder is made; none: where this system puts temporary files.
        heard: told of bytes: restored, compared with the site, decrypted.

    Raises:
        BackupError: there is no snapshot.
        OSError: there is no room.
    """
    if not (numbers := repository.numbers()):
        raise BackupError(f"{repository.folder}: holds no snapshot yet.")
    manifest = repository.snapshot(number or numbers[-1])
    drill = DrillReport(manifest.number, len(manifest.files), manifest.size)
    with _scratch(scratch) as folder:
        began = time.perf_counter()
        drill.problems += restore.fetch(repository, list(manifest.files), folder, progress=progress)
        drill.restore_s = time.perf_counter() - began
        drill.hashes = 2 * sum(len(file.pieces) for file in manifest.files)
        _compare(drill, manifest, custody.home.folder, progress)
        there = Custody(custody.home.copied_to(folder))
        drill.problems += restore.adopt_all(there)[1]
        _decrypt(drill, there, progress)
        model_check.open_all(drill.models, drill.problems, there)
    return drill


@contextmanager
def _scratch(place: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="consilium-drill-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _compare(drill: DrillReport, manifest: Snapshot, home: Path, progress: Progress) -> None:
    for file in manifest.files:
        same = _same(file, home / file.path)
        drill.unchanged += same
        drill.changes += not same
        drill.hashes += len(file.pieces)
        progress(file.size)


def _same(file: FileEntry, live: Path) -> bool:
    """Whether the site has it so; a pack may have grown since."""
    if not live.is_file() or live.stat().st_size < file.size or (file.sealed and live.stat().st_size != file.size):
        return False
    with live.open("rb") as there:
        return all(hash_of(there.read(min(PIECE_BYTES, file.length(i)))) == d for i, (d, _) in enumerate(file.pieces))


def _decrypt(drill: DrillReport, custody: Custody, progress: Progress) -> None:
    for folder in lifecycle.data_sets(custody):
        try:
            store = EncryptedDataset.open(custody, folder)
        except ConsiliumError as error:
            drill.problems.append(str(error))
            continue
        for number, entry in enumerate(store.index.objects):
            try:
                store.read(number)
                drill.images += 1
            except ConsiliumError as error:
                drill.problems.append(str(error))
            progress(entry.length)


def write(drill: DrillReport, home: Home, at_s: float) -> Path:
    """The report, signed by the site, and its text beside it; where it is."""
    report = drill.to_json(home.site, at_s)
    stem = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_s))
    (folder := home.folder / "drills").mkdir(mode=0o700, exist_ok=True)
    replace(path := folder / f"{stem}.json", sign_document("drill", report, [home.identity]).encode())
    replace(folder / f"{stem}.txt", drill.text().encode())
    return path

"""A site from a snapshot, in an empty folder: every hash before a file counts, `site.yaml` last, and new keys.

A kill at any moment leaves a folder that is no site yet, or a whole one; the same command goes on. What secure
aggregation must do once is not in a backup, so the restored site cannot know what it answered: it takes part in no plan
that was made before it was restored, under keys that nobody has seen yet.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from client.backup import known_backups
from client.backup.create import Progress, ignore_progress
from client.backup.repository import BackupRepository
from client.backup.snapshot import FileEntry, Snapshot, hash_of
from client.custody import lifecycle, wrapped_keys
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.key_ring import Custody, DatasetNote
from client.custody.withdrawals import Withdrawals
from client.home import Home
from client.plans import judge
from client.privacy import reopening
from client.setup import enrol
from common.errors import BackupError, ConfigError, CustodyError
from common.storage import tensorfile
from common.storage.files import flush_folder, read_json, replace
from common.storage.run_folder import lock_folder

MARK = "restoring"
LAST = "site.yaml"
"""Without it no command takes the folder for a site."""
LEAP = 1_000_000
"""Restored data sets go on so many versions above all that a backup knows: what came after the last one is older."""


@dataclass
class RestoreReport:
    """What came of it."""

    number: int
    files: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    sets: dict[str, int] = field(default_factory=dict)
    """Data sets that were taken as they are, and the versions that they have now."""
    withdrawn: dict[str, int] = field(default_factory=dict)
    """By data set, how many images it has again of patients who withdrew after the snapshot."""


def run(
    repository: BackupRepository,
    home: Home,
    number: int | None,
    contact: str = "",
    *,
    leave_out: bool = False,
    progress: Progress = ignore_progress,
) -> RestoreReport:
    """Restore a site from a snapshot.

    Args:
        number: of the snapshot; none: the newest.
        leave_out: finish without what is damaged in the backup; else nothing is a site while something is.

    Raises:
        ConfigError: the folder is not empty.
        BackupError: there is no such snapshot, or it is damaged.
        OSError: the disk is full; the same command goes on.
    """
    if not (numbers := repository.numbers()):
        raise BackupError(f"{repository.folder}: holds no snapshot yet.")
    manifest = repository.snapshot(number or numbers[-1])
    newest, unknown = _newest(repository, manifest)
    home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _mark(repository, home.folder, manifest.number)
    with lock_folder(home.folder, f"{home.folder}: another process is restoring here. Wait for it."):
        for leftover in [path for path in home.folder.rglob(".*.*") if path.is_file()]:
            leftover.unlink()  # a process was killed while it wrote them
        files = [file for file in manifest.files if file.path != LAST and not _never_set_back(file)]
        files += [file for file in newest.files if _never_set_back(file)]
        last = [file for file in manifest.files if file.path == LAST]
        report = RestoreReport(manifest.number, len(files) + 1, sum(file.size for file in [*files, *last]))
        if not (home.folder / LAST).exists():  # all else is whole where it is
            report.problems = list(fetch(repository, files, home.folder, zeros=leave_out, progress=progress))
            if not report.problems or leave_out:
                _refuse_old_plans(home, manifest)
                report.problems += fetch(repository, last, home.folder, progress=progress)
        if (home.folder / LAST).exists():
            _finish(repository, home, report, contact)
            report.problems += unknown
    return report


def _newest(repository: BackupRepository, otherwise: Snapshot) -> tuple[Snapshot, list[str]]:
    """The newest snapshot; where that is damaged, the one that is restored, and what is not known then."""
    try:
        return repository.snapshot(repository.numbers()[-1]), []
    except BackupError as error:
        return otherwise, [f"{error} What was destroyed or published since snapshot {otherwise.number} is not known."]


def _mark(repository: BackupRepository, folder: Path, number: int) -> None:
    """Take an empty folder, or one where the same was begun before."""
    content = {"backup": repository.wraps.set, "snapshot": number}
    mark = folder / MARK
    there = read_json(mark)
    if there is None and any(
        path.name != ".lock" and not path.name.startswith(f".{MARK}.") for path in folder.iterdir()
    ):
        raise ConfigError(f"{folder}: is not empty, and nothing is restored over what is there. Give another --home.")
    if there is not None and there != content:
        raise ConfigError(
            f"{folder}: snapshot {there.get('snapshot')} of a backup is being restored here. Go on with that one, or "
            "give another --home."
        )
    if there is None:
        replace(mark, json.dumps(content).encode())


def fetch(
    repository: BackupRepository,
    files: list[FileEntry],
    folder: Path,
    *,
    zeros: bool = False,
    progress: Progress = ignore_progress,
) -> Iterator[str]:
    """Write files that are not there yet, each whole or not at all; what is damaged in the backup.

    Args:
        zeros: put zeros for a damaged piece of a pack: the images in it are lost, and the others are not.
    """
    for file in files:
        path = folder / file.path
        if not _is_there(file, path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield from _one(repository, file, path, zeros)
        progress(file.size)
    for place in {(folder / file.path).parent for file in files}:
        if place.is_dir():
            flush_folder(place)


def _one(repository: BackupRepository, file: FileEntry, path: Path, zeros: bool) -> Iterator[str]:
    damaged: list[str] = []

    def pieces() -> Iterator[bytes]:
        for number, (digest, name) in enumerate(file.pieces):
            try:
                yield repository.piece(digest, name, file.sealed)
            except BackupError as error:
                damaged.append(f"{file.path}, piece {number}: {error}")
                if not zeros or file.sealed:
                    raise
                yield bytes(file.length(number))

    try:
        tensorfile.write_atomically(path, pieces(), mode=file.mode)
    except BackupError:
        pass  # it is named
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    yield from damaged


def _is_there(file: FileEntry, path: Path) -> bool:
    """Whether an earlier call has written it: its bytes are looked at, not its name."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as there:
        return all(hash_of(there.read(file.length(i))) == digest for i, (digest, _) in enumerate(file.pieces))


def _refuse_old_plans(home: Home, manifest: Snapshot) -> None:
    """From now on the site answers no plan that was made before: written before there is a site here at all."""
    moments_s = [manifest.at_s]
    for path in (home.folder / "plans").glob("*/plan.json"):
        try:
            moments_s.append(float(json.loads(path.read_bytes())["content"]["made_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no plan that any command would take
    judge.note_restored(home, max(time.time(), *moments_s))
    reopening.note_closed(home, "it was restored from a backup")


def _finish(repository: BackupRepository, home: Home, report: RestoreReport, contact: str) -> None:
    """Versions above all before, an entry in the log, new keys; then it is a site like any other."""
    custody = Custody(home)
    with home.log.act("restore") as act:
        report.sets, problems = adopt_all(custody)
        report.problems += problems
        report.withdrawn = _withdrawn_images(custody, report.sets)
        act.facts = {"snapshot": report.number, "files": report.files, "problems": len(report.problems)}
    note = known_backups.note_folder(custody, repository.wraps)
    note.mkdir(mode=0o700, parents=True, exist_ok=True)
    wraps = repository.wraps
    wrapped_keys.write(wrapped_keys.wrap(wraps.site, wraps.name, wraps.set, repository.keys, custody.ring()), note)
    numbers = repository.numbers()
    digest = hash_of(repository.snapshot_path(numbers[-1]).read_bytes())
    known_backups.remember(custody, repository, numbers[-1], digest, oldest=numbers[-1])
    if not (home.folder / "identity").exists():
        enrol.rekey(home, contact or f"{home.site}, restored")
    (home.folder / MARK).unlink()
    flush_folder(home.folder)


def adopt_all(custody: Custody) -> tuple[dict[str, int], list[str]]:
    """Take all data sets as they are; their versions, and what is wrong with those that are not taken."""
    sets, problems = {}, []
    for folder in lifecycle.data_sets(custody):
        try:
            wraps = wrapped_keys.read(folder)
            note = custody.note_of(wraps.set) or DatasetNote(name=wraps.name, version=0)
            if not note.destroyed:
                custody.remember(wraps.set, note.model_copy(update={"version": note.version + LEAP}))
            sets[folder.name] = lifecycle.adopt(custody, folder)
        except CustodyError as error:
            problems.append(str(error))
    return sets, problems


def _withdrawn_images(custody: Custody, names: Iterable[str]) -> dict[str, int]:
    """How many images restored data sets have of patients who withdrew: of those that have any."""
    images = {}
    for name in names:
        store = EncryptedDataset.open(custody, lifecycle.find(custody, name))
        withdrawals = Withdrawals(store)
        of_patients = {case.object for case in store.index.cases if case.patient and case.patient in withdrawals}
        of_files = {number for source, number in store.index.numbers.items() if withdrawals.bar(None, source)}
        images[name] = len(of_patients | of_files)
    return {name: count for name, count in images.items() if count}


def _never_set_back(file: FileEntry) -> bool:
    """Taken from the newest snapshot, whichever is restored: what was destroyed, answered, published, done or seen."""
    return file.path in ("ledger", "ledger.key", "ledger.images") or file.path.startswith(
        ("custody/seen/", "custody/withdrawn/", "published/", "witness/", "access/", "audit/", "privacy/")
    )

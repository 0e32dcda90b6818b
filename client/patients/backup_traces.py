"""Which snapshots of this site's backups still hold an image of a patient, and what removes them.

A snapshot is not changed: it is signed, and the next one is held against it. So the images go with the snapshots that
hold them, by `backup prune`, once a newer one is there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from client.backup import known_backups, unlock
from client.backup.repository import BackupRepository
from client.backup.snapshot import Snapshot
from client.custody import wrapped_keys
from client.custody.dataset_index import Index
from client.custody.encrypted_dataset import INDEX, NEXT_INDEX, unseal_index
from client.custody.key_ring import Custody
from client.patients.search import Match
from common.errors import BackupError, ConfigError, CustodyError


@dataclass(frozen=True)
class BackupTraces:
    """What one backup has of some images."""

    place: Path
    snapshots: tuple[int, ...] = ()
    """That hold some of them."""
    unreadable: tuple[int, ...] = ()
    """That have the data set, under keys which this site no longer has."""
    later: int = 0
    """Snapshots behind the newest that holds some."""
    problem: str = ""
    """Why it was not looked at."""


def look(custody: Custody, matches: Iterable[Match]) -> Iterator[BackupTraces]:
    """What every backup that this site knows of has of them; one whose disk is away is named."""
    matches = list(matches)
    for note in sorted((custody.folder / "backups").glob("*/*/newest")):
        place = Path(known_backups.BackupNote.model_validate_json(note.read_bytes()).place)
        try:
            yield _traces(custody, unlock.open_backup(custody, place), matches)
        except (BackupError, ConfigError) as error:
            yield BackupTraces(place, problem=str(error))


def _traces(custody: Custody, repository: BackupRepository, matches: list[Match]) -> BackupTraces:
    holding, unreadable, numbers = list[int](), list[int](), repository.numbers()
    for number in numbers:
        snapshot = repository.snapshot(number)
        try:
            if any(_holds(custody, repository, snapshot, match) for match in matches):
                holding.append(number)
        except CustodyError:
            unreadable.append(number)
    later = sum(number > max((*holding, *unreadable), default=0) for number in numbers)
    return BackupTraces(repository.folder, tuple(holding), tuple(unreadable), later)


def _holds(custody: Custody, repository: BackupRepository, snapshot: Snapshot, match: Match) -> bool:
    """Whether a snapshot has a file of these people: by digest, since files keep theirs, or by pseudonym."""
    folder = match.store.folder
    content = {file.path: file for file in snapshot.files if file.path.startswith(f"sets/{folder.name}/")}

    def read(name: str) -> bytes | None:
        if (file := content.get(f"sets/{folder.name}/{name}")) is None:
            return None
        return b"".join(repository.piece(digest, name, file.sealed) for digest, name in file.pieces)

    if (keys_file := read(wrapped_keys.FILE)) is None:
        return False
    wraps = wrapped_keys.decode(keys_file, f"snapshot {snapshot.number}")
    index = _index(custody, folder, wraps, [file for name in (INDEX, NEXT_INDEX) if (file := read(name))])
    sources = {source for files in match.sources().values() for source in files}
    return any(entry.source in sources for entry in index.objects) or any(
        case.patient in match.objects for case in index.cases
    )


def _index(custody: Custody, folder: Path, wraps: wrapped_keys.WrappedKeys, files: list[bytes]) -> Index:
    keys = wrapped_keys.unwrap(wraps, custody, folder)
    for file in files[:-1]:
        try:
            return unseal_index(folder, wraps, keys, file)[1]
        except CustodyError:
            continue
    return unseal_index(folder, wraps, keys, files[-1])[1]

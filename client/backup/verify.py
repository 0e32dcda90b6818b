"""Is a backup whole, and which of it may go."""

from collections.abc import Iterator
from itertools import pairwise

from client.backup import known_backups
from client.backup.create import Progress, ignore_progress
from client.backup.repository import BackupRepository
from client.backup.snapshot import Snapshot, hash_of
from client.custody.key_ring import Custody
from common.errors import BackupError
from common.storage.files import flush_folder


def size_bytes(repository: BackupRepository) -> int:
    """Bytes of all objects that are there."""
    return sum(path.stat().st_size for path in (repository.folder / "objects").rglob("*") if path.is_file())


def verify(
    repository: BackupRepository, custody: Custody | None, progress: Progress = ignore_progress
) -> Iterator[str]:
    """Read everything: every snapshot, every object that one names, every hash; what is wrong.

    Args:
        custody: the site's, which knows how far the backup had come; none: that cannot be looked at.
    """
    if custody and (problem := known_backups.rollback_evidence(custody, repository)):
        yield problem
    manifests: list[Snapshot] = []
    for number in repository.numbers():
        try:
            manifests.append(repository.snapshot(number))
        except BackupError as error:
            yield str(error)
    yield from _chain(repository, manifests)
    objects: dict[str, tuple[str, str, bool]] = {}
    for manifest in manifests:
        for file in manifest.files:
            for digest, name in file.pieces:
                objects.setdefault(name, (digest, f"snapshot {manifest.number}, {file.path}", file.sealed))
    for name, (digest, where, is_sealed) in objects.items():
        try:
            progress(len(repository.piece(digest, name, is_sealed)))
        except BackupError as error:
            yield f"{where}: {error}"


def _chain(repository: BackupRepository, manifests: list[Snapshot]) -> Iterator[str]:
    """Every snapshot names the one that it came after by its hash."""
    for before, after in pairwise(manifests):
        if after.previous != hash_of(repository.snapshot_path(before.number).read_bytes()):
            yield (
                f"{repository.snapshot_path(before.number)}: is not the one that snapshot {after.number} came after: "
                "one was removed or changed."
            )


def prune(repository: BackupRepository, custody: Custody, keep: int) -> tuple[int, int]:
    """Remove all snapshots but the newest so many, then what only they named; how many, and how many bytes.

    Killed halfway, it can be done again.

    Raises:
        BackupError: a snapshot that stays is damaged, or the backup was set back; nothing is removed then.
    """
    with repository.alone():
        if problem := known_backups.rollback_evidence(custody, repository):
            raise BackupError(problem)
        numbers = repository.numbers()
        go, stay = numbers[:-keep], numbers[-keep:]
        needed = {name for number in stay for name in repository.snapshot(number).objects}
        if stay:
            # First the note: a kill after it leaves a snapshot more than the note knows, which is no loss.
            newest = repository.snapshot_path(stay[-1]).read_bytes()
            known_backups.remember(custody, repository, stay[-1], hash_of(newest), oldest=stay[0])
        for number in go:
            repository.snapshot_path(number).unlink()
        if go:
            flush_folder(repository.folder / "snapshots")
        freed = 0
        for path in [path for path in (repository.folder / "objects").rglob("*") if path.is_file()]:
            if path.name not in needed:
                freed += path.stat().st_size
                path.unlink()
        return len(go), freed

"""Is a backup whole, and which of it may go."""

from collections.abc import Iterator
from itertools import pairwise

from client.backup import known_backups
from client.backup.create import Progress, ignore_progress
from client.backup.repository import BackupRepository
from client.backup.snapshot import Snapshot, hash_of
from client.custody import disk
from client.custody.key_ring import Custody
from common.errors import BackupError


def size_bytes(opened: BackupRepository) -> int:
    """Bytes of all objects that are there."""
    return sum(path.stat().st_size for path in (opened.folder / "objects").rglob("*") if path.is_file())


def verify(opened: BackupRepository, custody: Custody | None, heard: Progress = ignore_progress) -> Iterator[str]:
    """Read everything: every snapshot, every object that one names, every hash; what is wrong.

    Args:
        custody: the site's, which knows how far the backup had come; none: that cannot be looked at.
    """
    if custody and (problem := known_backups.rollback_evidence(custody, opened)):
        yield problem
    manifests: list[Snapshot] = []
    for number in opened.numbers():
        try:
            manifests.append(opened.snapshot(number))
        except BackupError as error:
            yield str(error)
    yield from _chain(opened, manifests)
    wanted: dict[str, tuple[str, str, bool]] = {}
    for manifest in manifests:
        for file in manifest.files:
            for digest, name in file.pieces:
                wanted.setdefault(name, (digest, f"snapshot {manifest.number}, {file.path}", file.sealed))
    for name, (digest, where, sealed) in wanted.items():
        try:
            heard(len(opened.piece(digest, name, sealed)))
        except BackupError as error:
            yield f"{where}: {error}"


def _chain(opened: BackupRepository, manifests: list[Snapshot]) -> Iterator[str]:
    """Every snapshot names the one that it came after by its hash."""
    for before, after in pairwise(manifests):
        if after.previous != hash_of(opened.snapshot_path(before.number).read_bytes()):
            yield (
                f"{opened.snapshot_path(before.number)}: is not the one that snapshot {after.number} came after: one "
                "was removed or changed."
            )


def prune(opened: BackupRepository, custody: Custody, keep: int) -> tuple[int, int]:
    """Remove all snapshots but the newest so many, then what only they named; how many, and how many bytes.

    Killed halfway, it can be done again.

    Raises:
        BackupError: a snapshot that stays is damaged, or the backup was set back; nothing is removed then.
    """
    with opened.alone():
        if problem := known_backups.rollback_evidence(custody, opened):
            raise BackupError(problem)
        numbers = opened.numbers()
        go, stay = numbers[:-keep], numbers[-keep:]
        named = {name for number in stay for name in opened.snapshot(number).objects}
        if stay:
            # First the note: a kill after it leaves a snapshot more than the note knows, which is no loss.
            newest = opened.snapshot_path(stay[-1]).read_bytes()
            known_backups.remember(custody, opened, stay[-1], hash_of(newest), oldest=stay[0])
        for number in go:
            opened.snapshot_path(number).unlink()
        if go:
            disk.flush_folder(opened.folder / "snapshots")
        freed = 0
        for path in [path for path in (opened.folder / "objects").rglob("*") if path.is_file()]:
            if path.name not in named:
                freed += path.stat().st_size
                path.unlink()
        return len(go), freed

"""What a site knows of its backups, whose disks may be away: their keys, and how far each had come.

HOME/custody/backups/ID/SITE/keys      as in the backup; `custody rotate` wraps them anew
HOME/custody/backups/ID/SITE/newest    so that a backup cannot be set back unnoticed
"""

from pathlib import Path

from client.backup.repository import BackupRepository
from client.backup.snapshot import hash_of
from client.custody.key_ring import Custody
from client.custody.wrapped_keys import WrappedKeys
from common.config import Frozen
from common.errors import BackupError
from common.storage.files import replace


class BackupNote(Frozen):
    """The note of how far a backup had come."""

    place: str
    number: int = 0
    digest: str = ""
    oldest: int = 1


def note_folder(custody: Custody, wraps: WrappedKeys) -> Path:
    """Where a site keeps what it knows of a backup."""
    return custody.folder / "backups" / wraps.set / wraps.site


def newest_note(custody: Custody, repository: BackupRepository) -> BackupNote:
    """How far this backup had come when this site last wrote to it."""
    try:
        return BackupNote.model_validate_json((note_folder(custody, repository.wraps) / "newest").read_bytes())
    except FileNotFoundError:
        return BackupNote(place=str(repository.folder.resolve()))
    except ValueError:
        raise BackupError(
            f"{note_folder(custody, repository.wraps) / 'newest'}: damaged. Remove it; then look whether `backup list` "
            "shows the newest snapshot that you know of."
        ) from None


def remember(custody: Custody, repository: BackupRepository, number: int, digest: str, oldest: int) -> None:
    """Note that this backup has come so far, and which is the oldest snapshot that must be there."""
    note = BackupNote(place=str(repository.folder.resolve()), number=number, digest=digest, oldest=oldest)
    replace(note_folder(custody, repository.wraps) / "newest", (note.model_dump_json(indent=1) + "\n").encode())


def rollback_evidence(custody: Custody, repository: BackupRepository) -> str:
    """What shows that a backup is not as this site left it; empty if nothing does."""
    note, there = newest_note(custody, repository), repository.numbers()
    missing = [number for number in range(note.oldest, note.number + 1) if number not in there]
    if missing:
        return (
            f"{repository.snapshot_path(missing[-1])}: is gone; this site has made {note.number} snapshots here. The "
            "backup was set back, or is another copy."
        )
    if note.number and hash_of(repository.snapshot_path(note.number).read_bytes()) != note.digest:
        return f"{repository.snapshot_path(note.number)}: is another than this site has written."
    return ""

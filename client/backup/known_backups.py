"""What a site knows of its backups, whose disks may be away: their keys, and how far each had come.

HOME/custody/backups/ID/SITE/keys      as in the backup; `custody rotate` wraps them anew
HOME/custody/backups/ID/SITE/newest    so that a backup cannot be set back unnoticed
"""

from pathlib import Path

from client.backup.repository import Vault
from client.backup.snapshot import hash_of
from client.custody import disk
from client.custody.key_ring import Custody
from client.custody.wrapped_keys import Wraps
from common.config import Frozen
from common.errors import BackupError


class Newest(Frozen):
    """The note of how far a backup had come."""

    place: str
    number: int = 0
    digest: str = ""
    oldest: int = 1


def note_of(custody: Custody, told: Wraps) -> Path:
    """Where a site keeps what it knows of a backup."""
    return custody.folder / "backups" / told.set / told.site


def newest(custody: Custody, opened: Vault) -> Newest:
    """How far this backup had come when this site last wrote to it."""
    try:
        return Newest.model_validate_json((note_of(custody, opened.wraps) / "newest").read_bytes())
    except FileNotFoundError:
        return Newest(place=str(opened.folder.resolve()))
    except ValueError:
        raise BackupError(
            f"{note_of(custody, opened.wraps) / 'newest'}: damaged. Remove it; then look whether `backup list` shows "
            "the newest snapshot that you know of."
        ) from None


def remember(custody: Custody, opened: Vault, number: int, digest: str, oldest: int) -> None:
    """Note that this backup has come so far, and which is the oldest snapshot that must be there."""
    told = Newest(place=str(opened.folder.resolve()), number=number, digest=digest, oldest=oldest)
    disk.replace(note_of(custody, opened.wraps) / "newest", (told.model_dump_json(indent=1) + "\n").encode())


def set_back(custody: Custody, opened: Vault) -> str:
    """What shows that a backup is not as this site left it; empty if nothing does."""
    note, there = newest(custody, opened), opened.numbers()
    missing = [number for number in range(note.oldest, note.number + 1) if number not in there]
    if missing:
        return (
            f"{opened.snapshot_path(missing[-1])}: is gone; this site has made {note.number} snapshots here. The "
            "backup was set back, or is another copy."
        )
    if note.number and hash_of(opened.snapshot_path(note.number).read_bytes()) != note.digest:
        return f"{opened.snapshot_path(note.number)}: is another than this site has written."
    return ""

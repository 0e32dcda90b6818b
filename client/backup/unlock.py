"""Whose key opens a backup: the site's, or the recovery key."""

import secrets
from pathlib import Path

from client.backup import known_backups
from client.backup.repository import BackupRepository
from client.custody import sealing, wrapped_keys
from client.custody.key_ring import Custody, read_recovery
from client.custody.sealing import KEY_BYTES
from client.custody.wrapped_keys import DatasetKeys, WrappedKeys
from common.errors import BackupError, CustodyError
from common.storage.files import flush_folder


def backup_folder(dest: Path) -> Path:
    """The folder of the one backup in DEST, or DEST itself.

    Raises:
        BackupError: there is none, or there are several.
    """
    folders = (
        [dest]
        if (dest / wrapped_keys.FILE).exists()
        else sorted(path.parent for path in dest.glob(f"*/{wrapped_keys.FILE}"))
    )
    if len(folders) != 1:
        what = f"has the backups of {', '.join(p.name for p in folders)}; name one of these folders" if folders else (
            "holds no backup. Is the disk mounted? Expected what `python -m client backup DEST` wrote"
        )  # fmt: skip
        raise BackupError(f"{dest}: {what}.")
    return folders[0]


def open_backup(custody: Custody, folder: Path) -> BackupRepository:
    """A backup, by the site's key.

    Raises:
        BackupError: its keys are gone or damaged, or it is another site's or another key's.
        ConfigError: the site has no keys.
    """
    wraps = _read(folder)
    if not wraps.site == wraps.name == custody.site == folder.name:
        raise BackupError(
            f"{folder / wrapped_keys.FILE}: is a backup of {wraps.site}, in a folder {folder.name}; this is "
            f"{custody.site}. "
            "Name this site's own backup, and leave its folder the site's name."
        )
    note = known_backups.note_folder(custody, wraps)
    try:
        if note.exists() and wraps.key not in custody.ring().wrapping:  # the site's key was changed since
            keys = wrapped_keys.unwrap(renewed := wrapped_keys.read(note), custody, note)
            wrapped_keys.demand(wraps, keys, folder / wrapped_keys.FILE)
            return BackupRepository(folder, renewed, keys)
        return BackupRepository(folder, wraps, wrapped_keys.unwrap(wraps, custody, folder))
    except CustodyError as error:
        raise BackupError(f"{error} Or: restore with the recovery key (--recovery FILE).") from None


def open_by_recovery_key(folder: Path, recovery: Path) -> BackupRepository:
    """A backup, by the recovery key.

    Raises:
        ConfigError: there is no such key in the file.
        BackupError: another recovery key's backup, or a changed file.
    """
    wraps = _read(folder)
    try:
        return BackupRepository(
            folder, wraps, wrapped_keys.unwrap_by_recovery_key(wraps, read_recovery(recovery), folder)
        )
    except CustodyError as error:
        raise BackupError(str(error)) from None


def open_or_begin(custody: Custody, dest: Path, anew: bool) -> BackupRepository:
    """The site's own backup in DEST, a new one if there is none.

    Raises:
        BackupError: this site made snapshots here that are gone.
    """
    folder = dest / custody.site
    if not (folder / wrapped_keys.FILE).exists():
        _refuse_gone(custody, folder, anew)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wraps = wrapped_keys.wrap(
            custody.site, custody.site, secrets.token_hex(16), DatasetKeys(secrets.token_bytes(KEY_BYTES), b""),
            custody.ring(),
        )  # fmt: skip
        (note := known_backups.note_folder(custody, wraps)).mkdir(mode=0o700, parents=True, exist_ok=True)
        wrapped_keys.write(wraps, note)
        wrapped_keys.write(wraps, folder)
        flush_folder(dest)
    vault = open_backup(custody, folder)
    note = known_backups.note_folder(custody, vault.wraps)
    note.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in (note, folder):
        if not (place / wrapped_keys.FILE).exists() or wrapped_keys.read(place) != vault.wraps:
            wrapped_keys.write(vault.wraps, place)
    return vault


def _read(folder: Path) -> WrappedKeys:
    try:
        return wrapped_keys.read(folder)
    except CustodyError as error:
        raise BackupError(str(error).replace(sealing.RESTORE, "Use another copy of the backup.")) from None


def _refuse_gone(custody: Custody, folder: Path, anew: bool) -> None:
    for file in sorted((custody.folder / "backups").glob("*/*/newest")):
        backup_note = known_backups.BackupNote.model_validate_json(file.read_bytes())
        if backup_note.place == str(folder.resolve()) and backup_note.number and not anew:
            raise BackupError(
                f"{folder}: holds no backup, and this site made {backup_note.number} snapshots here. Is the disk "
                "mounted? To begin a new backup: --anew."
            )

"""A data set's keys through the years: the site's key is changed, lost and recovered, and at the end destroyed."""

import shutil
from pathlib import Path

from client.custody import encrypted_dataset, wrapped_keys
from client.custody.events import Event, Record, unrecorded
from client.custody.key_ring import Custody, DatasetNote, new_key, read_recovery
from common.errors import ConfigError, CustodyError
from common.trust.joining import checked_name


def rotate(custody: Custody, recovery: Path | None = None, record: Record = unrecorded) -> list[Path]:
    """A new key of the site for all data sets, without writing an image; killed halfway, it can be done again.

    Args:
        recovery: where to write a new recovery key as well; None: the old one stays.

    Raises:
        CustodyError: some data set does not open. The old keys stay then beside the new one.
    """
    with custody.alone():
        ring = custody.ring()
        name, key = new_key()
        public = custody.new_recovery(recovery) if recovery else ring.recovery
        both = ring.model_copy(
            update={"newest": name, "wrapping": {**ring.wrapping, name: key}, "recovery": public}
        )  # fmt: skip
        custody.keep(both)
        folders = data_sets(custody)
        for folder in [*folders, *_backups(custody)]:
            wraps = wrapped_keys.read(folder)
            keys = wrapped_keys.unwrap(wraps, custody, folder)
            wrapped_keys.write(wrapped_keys.wrap(wraps.site, wraps.name, wraps.set, keys, both), folder)
        # Only now: a kill before this line leaves every data set with a key that opens it.
        custody.keep(both.model_copy(update={"wrapping": {name: key}}))
    record(Event("rotate", "", "done", {"data sets": len(folders), "key": name}))
    return folders


def data_sets(custody: Custody) -> list[Path]:
    """The folders of all data sets of a site that hold anything."""
    if not custody.sets.is_dir():
        return []
    return [
        folder for folder in sorted(custody.sets.iterdir()) if (folder / "packs").is_dir() and any(folder.glob("*"))
    ]


def _backups(custody: Custody) -> list[Path]:
    """Folders with the keys of this site's backups, whose disks may be away; the next backup brings them there."""
    return [path.parent for path in sorted((custody.folder / "backups").glob(f"*/*/{wrapped_keys.FILE}"))]


def recover(custody: Custody, folder: Path, recovery: Path, record: Record = unrecorded) -> int:
    """Open a data set by the recovery key, wrap its keys for this site's, and take it as it is. Its new version.

    Raises:
        ConfigError: no such recovery key, or the site has no keys yet.
        CustodyError: another recovery key's data set, or a damaged one.
    """
    with custody.alone():
        ring = custody.ring()
        wraps = wrapped_keys.read(folder)
        if wraps.site != custody.site:
            raise ConfigError(
                f"{folder}: is site {wraps.site}'s, and this is {custody.site}; recover it at its own site."
            )
        keys = wrapped_keys.unwrap_by_recovery_key(wraps, read_recovery(recovery), folder)
        wrapped_keys.write(wrapped_keys.wrap(wraps.site, wraps.name, wraps.set, keys, ring), folder)
        version = encrypted_dataset.adopt(custody, folder)
    record(Event("recover", f"{wraps.name} {wraps.set}", "done", {"version": version}))
    return version


def destroy(custody: Custody, folder: Path, record: Record = unrecorded) -> None:
    """Destroy a data set's keys, and with them all of its images here, in caches and in backups without its `keys`.

    Whoever holds the recovery key and an older copy of the file `keys` can still read copies of the packs.

    Killed halfway, it can be done again.

    Raises:
        CustodyError: it is another data set than its folder says.
    """
    identity = ""
    if (folder / wrapped_keys.FILE).exists():
        wraps = wrapped_keys.read(folder)
        identity = wraps.set
        if wraps.name != folder.name:
            raise CustodyError(
                f"{folder}: is data set '{wraps.name}'. Call the folder by its own name, then destroy it."
            )
        note = custody.note_of(identity)
        custody.remember(identity, DatasetNote(name=wraps.name, version=note.version if note else 0, destroyed=True))
        wrapped_keys.destroy_old(folder)
        wrapped_keys.overwrite_and_remove(folder / wrapped_keys.FILE)
    shutil.rmtree(folder.resolve())
    if folder.is_symlink():
        folder.unlink()
    record(Event("destroy", f"{folder.name} {identity}".strip(), "done"))


def adopt(custody: Custody, folder: Path, record: Record = unrecorded) -> int:
    """Take a restored data set as it is; its new version.

    Raises:
        CustodyError: it is damaged, or was destroyed here.
    """
    version = encrypted_dataset.adopt(custody, folder)
    wraps = wrapped_keys.read(folder)
    record(Event("adopt", f"{wraps.name} {wraps.set}", "done", {"version": version}))
    return version


def find(custody: Custody, name: str) -> Path:
    """The folder of a data set.

    Raises:
        ConfigError: it is no name.
        CustodyError: there is none of this name.
    """
    folder = custody.sets / checked_name(name, "NAME")
    if not folder.is_dir():
        names = ", ".join(path.name for path in data_sets(custody)) or "none yet"
        raise CustodyError(f"{folder}: there is no such data set; there is: {names}.")
    return folder

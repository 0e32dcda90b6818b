"""A hospital that has joined nothing yet, with images in custody and a disk for backups: what these tests share."""

import contextlib
import resource
import shutil
import subprocess

from client.backup import create, restore, unlock, verify
from client.custody.key_ring import Custody
from client.setup import enrol
from tests.admitted import home_of
from tests.custody.hospital import folder_of_dicoms, taken_in


class Place:
    """A site in a folder, a disk beside it, and a recovery key."""

    def __init__(self, folder):
        self.folder, self.disk, self.recovery = folder, folder / "disk", folder / "recovery.key"
        self.home = home_of(folder / "site")
        self.disk.mkdir(parents=True)
        enrol.begin(self.home, "lisbon", "")
        self.custody = Custody(self.home)
        self.custody.begin(self.recovery)

    def bring(self, count, name="chest", **settings):
        """So many images are in a data set now."""
        return taken_in(self.custody, folder_of_dicoms(self.folder / f"source-{name}", count, **settings), name)

    def backup(self, **settings):
        """A snapshot."""
        return create.run(self.custody, unlock.open_or_begin(self.custody, self.disk, False), **settings)

    @property
    def vault(self):
        """By the site's key."""
        return unlock.open_backup(self.custody, self.disk / "lisbon")

    def restored(self, name="new", number=None, **settings):
        """By the recovery key, into a folder of this name."""
        home = home_of(self.folder / name)
        return restore.run(
            unlock.open_by_recovery_key(self.disk / "lisbon", self.recovery), home, number, **settings
        ), home

    def problems(self):
        """What `backup verify` says."""
        return list(verify.verify(self.vault, self.custody))


def content(folder, *, but=()):
    """All files below a folder, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and not str(path.relative_to(folder)).startswith(tuple(but) or "\0")
    }


@contextlib.contextmanager
def little_room(folder, room_bytes):
    """A disk of so many bytes is at this folder; where none may be mounted, no file may be longer than a part of it."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room_bytes}", "tmpfs", str(folder)]
    if shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes // 8, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

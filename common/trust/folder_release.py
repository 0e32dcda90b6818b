"""Which release worked in a folder last: an older one may not know its form, and what a newer one changes is kept.

release.json       the newest release that worked here, and the form in which it wrote
before-RELEASE/    what that release would change for good, as it was: the way back
"""

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigError
from common.storage.files import read_json, write_json
from common.trust.release import VERSION

log = logging.getLogger("consilium")

FORM = 1
"""Of the folders that this release writes. It rises when an older release could not go on with one."""


def enter(folder: Path, changes: Sequence[Path] = ()) -> None:
    """Note that this release works in a folder from now on. Called when none of its processes runs.

    Args:
        changes: files and folders in it that another release may bring to a form of its own, as Flower its database.

    Raises:
        ConfigError: a newer release left it in a form that this one does not know.
        OSError: what is to be kept cannot be written.
    """
    note = read_json(folder / "release.json") or {}
    release, form = str(note.get("release", "")), int(note.get("form", 0))
    if form > FORM:
        raise ConfigError(
            f"{folder}: release {release} wrote it in form {form}, expected {FORM} at most: installed is {VERSION}. "
            f"Install {release} again, or go back as docs/upgrade.md says."
        )
    if release == VERSION:
        return
    room = folder / f"before-{VERSION}"
    if not room.exists() and any(path.exists() for path in changes):
        half = folder / f".before-{VERSION}"
        shutil.rmtree(half, ignore_errors=True)  # of a copy that was cut off
        half.mkdir(mode=0o700)
        for path in changes:
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, half / path.name)
        half.rename(room)
        log.info("release %s here from now on; what it changes is kept as it was in %s", VERSION, room)
    write_json(folder / "release.json", {"release": VERSION, "form": FORM, "at_s": time.time()})

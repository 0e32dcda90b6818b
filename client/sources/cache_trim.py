"""A cache of images that does not grow for ever: what was used longest ago goes first, and never what is in use.

Everything in it can be made again, so that deleting costs time and nothing else; a file that another process has open
stays readable to it.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from common.cli import terminal

OUR_FOLDERS = re.compile(r"[0-9a-f]{2}|prepared")
OURS = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.npz|prepared/[0-9a-f]{32}")
"""What `image_cache` and `prepared_cache` write. Nothing else is touched: the folder is somebody's choice."""


def touch(path: Path) -> None:
    """Say that a file was used now; not worth an error where that may not be said."""
    try:
        os.utime(path)
    except OSError:
        return


def trim(folder: Path, most_gb: float, used_since: float) -> int:
    """Delete files that were used longest ago until the rest takes at most so much, or was used since; says so.

    Args:
        used_since: seconds since 1970.

    Returns:
        Bytes that were freed.
    """
    files = list(_uses(folder))
    too_much = sum(size for _, size, _ in files) - most_gb * 1e9
    freed = 0
    for last_use, size, path in sorted(files) if too_much > 0 else ():
        if freed >= too_much or last_use >= used_since:
            break
        try:
            Path(path).unlink()
        except OSError:
            continue
        freed += size
    if freed:
        terminal.console(errors=True).print(
            f"{folder}: {freed / 1e9:,.1f} GB of prepared images that were used longest ago deleted, to keep to "
            f"data.cache_gb {most_gb:g}."
        )
    return freed


def _uses(folder: Path) -> Iterator[tuple[float, int, str]]:
    """Of every file of ours when it was used last, its bytes, and its path; what went meanwhile is passed over.

    `scandir` and not `glob`: this looks at a whole cache each time that data are loaded.
    """
    now = time.time()
    for room in _entries(folder):
        for entry in _entries(room.path) if OUR_FOLDERS.fullmatch(room.name) else ():
            if OURS.fullmatch(f"{room.name}/{entry.name}"):
                with suppress(OSError):
                    state = entry.stat(follow_symlinks=False)
                    yield min(state.st_mtime, now), state.st_size, entry.path


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # it is not there, or no folder
        return []

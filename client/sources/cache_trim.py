"""A cache of images that does not grow for ever: what was used longest ago goes first, and never what is in use.

Everything in it can be made again, so that deleting costs time and nothing else; a file that another process has open
stays readable to it.
"""

import os
import re
import time
from pathlib import Path

from common.cli import terminal

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
    files = []
    for path in folder.glob("*/*"):
        if OURS.fullmatch(path.relative_to(folder).as_posix()):
            files += _uses(path)
    too_much = sum(size for _, size, _ in files) - most_gb * 1e9
    freed = 0
    for last_use, size, path in sorted(files):
        if freed >= too_much or last_use >= used_since:
            break
        try:
            path.unlink()
        except OSError:
            continue
        freed += size
    if freed:
        terminal.console(errors=True).print(
            f"{folder}: {freed / 1e9:,.1f} GB of prepared images that were used longest ago deleted, to keep to "
            f"data.cache_gb {most_gb:g}."
        )
    return freed


def _uses(path: Path) -> list[tuple[float, int, Path]]:
    """When a file was used last, and its bytes; nothing where it went meanwhile."""
    try:
        state = path.lstat()
    except OSError:
        return []
    return [(min(state.st_mtime, time.time()), state.st_size, path)]

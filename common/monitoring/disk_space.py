"""Whether there is room on the disk of a folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from common.monitoring.check_result import CheckResult

SOON_BYTES, LEAST_BYTES = 2 * 2**30, 100 * 2**20


def look(folder: Path) -> Iterator[CheckResult]:
    """In order, soon to be full, or full: then nothing is answered, and all goes on when there is room."""
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free at {folder.resolve()}"
    if free < LEAST_BYTES:
        yield CheckResult(False, f"the disk is full: {text}", "Make room; what waits goes on by itself.")
    else:
        yield CheckResult(True, text, "" if free >= SOON_BYTES else "Make room: 2 GiB at least.")

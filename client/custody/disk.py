"""What must lie on the disk before something else may: writes that survive a kill or a power failure in their order.

A full disk or a broken one is an OSError with the file's name; what was there before is still there then.
"""

import os
from pathlib import Path

from common.storage.files import flush_folder as flush_folder
from common.storage.files import replace as replace


def remove(path: Path) -> None:
    """Overwrite a small file and take its name away. Where a disk moves blocks about, older copies may stay."""
    with path.open("r+b", buffering=0) as file:
        file.write(bytes(path.stat().st_size))
        os.fsync(file.fileno())
    path.unlink()
    flush_folder(path.parent)


class Appended:
    """A file that only grows; what was not flushed may be lost in a crash, and is cut off by whoever knows its length.

    Args:
        keep: bytes that count; what lies behind them is left over from a write that was cut short.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self.path, self.length = path, keep
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        if os.fstat(self._handle).st_size > keep:
            os.ftruncate(self._handle, keep)

    def append(self, content: bytes) -> int:
        """Write it behind all else; where it begins.

        Raises:
            OSError: the disk is full; nothing of it counts then.
        """
        begin, remaining = self.length, memoryview(content)
        try:
            while remaining:
                remaining = remaining[os.pwrite(self._handle, remaining, self.length + len(content) - len(remaining)) :]
        except OSError as error:
            os.ftruncate(self._handle, begin)
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        self.length += len(content)
        return begin

    def flush(self) -> None:
        """All of it is on the disk when this returns."""
        os.fsync(self._handle)

    def close(self) -> None:
        """No more will come."""
        os.close(self._handle)

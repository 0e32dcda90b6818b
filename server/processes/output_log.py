"""What a process of the supervisor's writes, line by line into a log of its own, each with its time."""

import logging
import re
import time
from pathlib import Path

from common.cli import logs

LOG_BYTES, LOG_FILES = 5_000_000, 3
MOST_LINE_BYTES = 65536
"""A line that goes on for longer is cut: whatever a process writes, this one's memory does not grow."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class OutputLog(logs.Patient):
    """The log of one process."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8", delay=True)
        self._rest = b""
        formatter = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def take(self, chunk: bytes) -> None:
        """Write the lines that are whole; the rest waits for its end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MOST_LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self.handle(logging.makeLogRecord({"msg": _COLOUR.sub("", line.decode("utf-8", "replace")).rstrip()}))

"""Logs of the processes that run for weeks: a line of JSON an event in a rotated file, a short line on the screen.

Never a secret, and nothing of a patient: names of sites, plans, rounds, error codes. A hospital's own log also has the
text of its errors, which may name an image's file; it stays there.
"""

import json
import logging
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE_BYTES, FILES = 5_000_000, 5

log = logging.getLogger("consilium")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record_fields = {"at": _utc(record.created), "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            record_fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(record_fields, ensure_ascii=False)


class _Short(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {mark}{record.getMessage()}"


class Patient(RotatingFileHandler):
    """A rotated file that gets along with a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 the library's name
        """Nothing: a full disk must not end the process."""


def begin(path: Path) -> None:
    """Log to a file and to the screen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = Patient(path, maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8", delay=True)
    file.setFormatter(_Json())
    screen = logging.StreamHandler()
    screen.setFormatter(_Short())
    for handler in (file, screen):
        log.addHandler(handler)
    log.setLevel(logging.INFO)


def _utc(at_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s)) + f".{int(at_s % 1 * 1000):03d}Z"

"""Files that hold a secret: read when it is needed, never copied, and refused where others can read them."""

import stat
from pathlib import Path

from common.errors import ConfigError

MOST_BYTES = 1 << 16


def read_secret(path: Path, what: str) -> str:
    """The one line of a file that its owner alone can read.

    Args:
        what: for messages, e.g. "a bearer token".

    Raises:
        ConfigError: it is not there, others can read it, or it holds no such line.
    """
    check_private(path, what)
    try:
        text = path.read_bytes()[:MOST_BYTES].decode("utf-8").strip()
    except (OSError, ValueError):
        raise ConfigError(f"{path}: cannot be read; expected {what} in one line of text.") from None
    if not text or not text.isprintable():
        raise ConfigError(f"{path}: expected {what} in one line, and nothing else.")
    return text


def check_private(path: Path, what: str) -> None:
    """Refuse a secret that others can read.

    Raises:
        ConfigError: they can, or there is no such file.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a file with {what}.") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigError(f"{path}: holds {what}, and others can read it. Close it to them: chmod 600 {path}")

"""Small files: keys that only their owner can read, and JSON that is replaced as a whole."""

import json
import os
from pathlib import Path
from typing import Any

from common.errors import ConfigError, RunError
from common.storage import tensorfile
from common.storage.lent_path import LentPath


def write_json(path: Path, value: Any, *, durably: bool = True) -> None:
    """Write JSON atomically."""
    tensorfile.write_atomically(path, (json.dumps(value, indent=1) + "\n").encode(), durably=durably)


def read_json(path: Path) -> Any:
    """Read JSON that this program wrote; None where there is none.

    Raises:
        RunError: naming the file, if it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise RunError(f"{path}: damaged, expected JSON as this program writes it. Restore it from a backup.") from None


def glance(path: Path) -> Any:
    """Read JSON that is only for people to look at, and was not written durably: None where nothing can be read."""
    try:
        return read_json(path)
    except RunError:
        return None


def replace(path: Path, content: bytes) -> None:
    """The file's new content, for its owner alone, and on the disk when this returns; the old one or none before."""
    tensorfile.write_atomically(path, content, mode=0o600)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Names that appeared in a folder, or went, are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_secret(path: Path, content: bytes) -> None:
    """Write a key that only its owner can read, and that is never replaced.

    Raises:
        ConfigError: if the file exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if isinstance(path, LentPath):
            return path.write_whole(content, 0o600, anew=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path}: exists already, and a key is never written over.") from None
    with tensorfile.naming(path), os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

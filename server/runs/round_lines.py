"""The rounds of a run as lines of JSON in one file that only grows; what a killed process tore off is passed over."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.storage import tensorfile


def append(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Add a line for each record, behind a last line that may not be whole."""
    with tensorfile.naming(path), path.open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        is_torn = file.read() not in (b"", b"\n")  # a process was killed, or the disk full, in the middle of a line
        file.write(b"\n" * is_torn + b"".join(json.dumps(fields).encode() + b"\n" for fields in records))


def read(path: Path) -> list[dict[str, Any]]:
    """The records of all rounds so far, by their number; of two of one round the later."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    records: dict[int, dict[str, Any]] = {}
    for line in lines:
        with suppress(ValueError):  # half a line, of a process that was killed
            record = json.loads(line)
            records[record["round"]] = record
    return [records[number] for number in sorted(records)]

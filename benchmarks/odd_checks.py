"""What drawn lists, folders and arrays are held against: just their cases, or an error that names the fault."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.sources import file_list
from client.sources.case_table import refuse
from common.config import Folder, Manifest
from common.errors import ConsiliumError

Rng = np.random.Generator
Check = Callable[[], str | None]
Case = tuple[str, str, str | None, str | None, str | None]
"""Path, label, site, patient, split."""

SPLITS = {
    "train": ("train", "Training", "TRAIN "),
    "validation": ("val", "validation", "dev"),
    "test": ("test", "Testing"),
}
NOTHING = ["NaN", "nan", "NA", "N/A", "null", "None", "#N/A", "-", "?", "<NA>", "#REF!", "unknown", "\u200b", "—"]


@dataclass(frozen=True)
class Situation:
    """One thing to try."""

    name: str
    run: Check
    """None: right. A sentence: what was wrong."""


def pick(rng: Rng, options: list[str]) -> str:
    """One of several."""
    return options[int(rng.integers(len(options)))]


def refusal(read: Callable[[], object], *parts: str) -> str | None:
    """Whether reading is refused, by an error that has these parts."""
    try:
        read()
    except ConsiliumError as error:
        missing = [part for part in parts if part not in str(error)]
        return f"unnamed: {missing} is not in: {error}" if missing else None
    return f"no error, expected one of {parts}"


def same(read: Callable[[], list[Case]], expected: list[Case]) -> str | None:
    """Whether just these cases are read."""
    try:
        found = read()
    except ConsiliumError as error:
        return f"refused: {error}"
    return None if sorted(found, key=str) == sorted(expected, key=str) else f"{found} and not {expected}"


def cases_of(source: Folder | Manifest) -> list[Case]:
    """What a list says, without opening an image; what is wrong with rows is an error."""
    listing = file_list.rows(source)
    if listing.problems:
        raise refuse(listing.problems, str(source.path))
    base = source.path if isinstance(source, Folder) else source.path.parent
    return [
        (str(Path(str(row.origin)).relative_to(base)), row.label, row.site, row.patient, row.split)
        for row in listing.rows
    ]

"""What the standard's profile does with each attribute: DICOM PS3.15 Annex E, table E.1-1, in confidentiality.csv.

Combined actions ("X/Z/D": remove, empty or a dummy, whichever the object's definition allows) become the one that every
definition allows: a dummy where D is offered, else empty. The identity is gone either way.
"""

import csv
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from client.custody.dataset_index import Option

Action = Literal["keep", "remove", "empty", "dummy", "uid", "inside", "shift", "pseudonym"]

ACTIONS: dict[str, Action] = {
    "X": "remove", "Z": "empty", "D": "dummy", "U": "uid",
    "X/Z": "empty", "X/D": "dummy", "Z/D": "dummy", "X/Z/D": "dummy", "X/Z/U*": "inside",
}  # fmt: skip

TEMPORAL = {"DA", "DT", "TM"}
FREE_TEXT = {"LT", "ST", "UT", "UC", "UR", "PN"}
"""What people type, and links: removed wherever the table does not say otherwise."""
CLASSES = {
    0x00080016, 0x0008001A, 0x0008001B, 0x00080062, 0x0008040E, 0x00081150, 0x0008115A, 0x00083002,
    0x00340003, 0x04000010, 0x04000510, 0x30100052, 0x30100053,
}  # fmt: skip
"""UIDs outside the table that say of what class or syntax something is, and not which one."""
PATIENT_ID = 0x00100020
NEVER_SHIFTED = {0x00100030, 0x00100032, 0x00160077}
"""Times of birth, and of a place: temporal, but outside the option on dates."""


@dataclass(frozen=True)
class TagRule:
    """A row of the table."""

    name: str
    action: Action
    kept_by: str


@cache
def table() -> dict[str, TagRule]:
    """Rows by tag, eight hexadecimal digits; 50XXXXXX, 60XX3000, 60XX4000 and PRIVATE stand for many."""
    with (Path(__file__).parent / "confidentiality.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {row["tag"]: TagRule(row["name"], ACTIONS[row["action"]], row["kept by"]) for row in rows}


@lru_cache(maxsize=1 << 16)
def action(tag: int, found_as: str | None, options: frozenset[Option]) -> Action:
    """What is done with an attribute.

    Args:
        tag: group and element.
        found_as: the value representation that a file gives it; None where it gives none.
    """
    group, standard = tag >> 16, dictionary_VR(tag) if dictionary_has_tag(tag) else None
    if group % 2 or group < 8 or group >> 8 in (0x50, 0x60) or standard is None:
        return "remove"  # private, no part of an image, curves and overlays, and what no dictionary explains
    kinds = {standard, standard if found_as in (None, "UN") else found_as}
    if tag == PATIENT_ID:
        return "pseudonym"  # a dummy, as the table has it, that tells people apart
    if rule := table().get(f"{tag:08X}"):
        return _option(tag, rule, kinds, options) or rule.action
    if kinds & (FREE_TEXT | TEMPORAL):
        return "remove"
    if "SQ" in kinds:
        return "inside"
    return "uid" if "UI" in kinds and tag not in CLASSES else "keep"


def _option(tag: int, rule: TagRule, kinds: set[str], options: frozenset[Option]) -> Action | None:
    if kinds & TEMPORAL and tag not in NEVER_SHIFTED:
        if "dates" not in options:
            return None
        return "keep" if kinds == {"TM"} else "shift"
    if rule.kept_by in options:
        return "inside" if "SQ" in kinds else "keep"
    return None

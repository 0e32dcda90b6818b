"""What the standard's profile does with each attribute: DICOM PS3.15 Annex E, table E.1-1, in confidentiality.csv.

Combined actions ("X/Z/D": remove, empty or a dummy, whichever the object's definition allows) become the one that every
definition allows: a dummy where D is offered, else empty. The identity is gone either way.

What the table does not list, the profile would keep; here it is kept only where reading an image needs it (`KEPT`, and
the terms of `TERMS`). People write names everywhere: a list of what may hold none is short, one of what may is not.
"""

import csv
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword

from client.custody.dataset_index import Option

Action = Literal["keep", "remove", "empty", "dummy", "uid", "inside", "shift", "pseudonym"]

ACTIONS: dict[str, Action] = {
    "X": "remove", "Z": "empty", "D": "dummy", "U": "uid",
    "X/Z": "empty", "X/D": "dummy", "Z/D": "dummy", "X/Z/D": "dummy", "X/Z/U*": "inside",
}  # fmt: skip

TEMPORAL = {"DA", "DT", "TM"}
KEPT = {
    tag_for_keyword(keyword)
    for keyword in (
        "SOPClassUID", "PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness",
        "SpacingBetweenSlices", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleIntercept", "RescaleSlope",
        "WindowCenter", "WindowWidth", "LUTDescriptor", "LUTData", "ModalityLUTSequence", "VOILUTSequence",
        "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelValueTransformationSequence",
        "FrameVOILUTSequence", "PixelMeasuresSequence",
    )
}  # fmt: skip
"""Numbers, classes and tables that say what pixels mean, and what holds them. Pixels themselves: `pixels_anew`."""
TERMS = {
    tag_for_keyword(keyword): frozenset(terms.split())
    for keyword, terms in {
        "Modality": "CR CT DX ES IO IVOCT IVUS MG MR NM OCT OP OPT OT PT PX RF RG SC SM US XA XC",
        "ImageType": "ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER",
        "BodyPartExamined": "ABDOMEN ANKLE BREAST CHEST ELBOW EYE FOOT HAND HEAD HEART HIP KNEE LUNG NECK PELVIS "
        "SHOULDER SKULL SPINE WRIST",
        "ViewPosition": "AP PA LL RL CC MLO",
        "Laterality": "L R",
        "ImageLaterality": "L R U B",
        "RescaleType": "HU OD US",
        "VOILUTFunction": "LINEAR LINEAR_EXACT SIGMOID",
        "PresentationLUTShape": "IDENTITY INVERSE",
        "BurnedInAnnotation": "YES NO",
        "LossyImageCompression": "00 01",
        "PatientSex": "M F O",
        "PatientSexNeutered": "ALTERED UNALTERED",
        "SmokingStatus": "YES NO UNKNOWN",
    }.items()
}
"""Terms that stay, where a value is one of them: codes could hold a name as well."""
CODES = {0x00080100, 0x00080102, 0x00080104}
"""A code, its scheme and its meaning: they stay in the items of a sequence that an option keeps."""
MAKER = {0x00080070, 0x00081090}
"""Manufacturer and model: the table is silent on them, and they stay with the device's identity alone."""
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
    if tag not in KEPT and tag not in TERMS and not (tag in MAKER and "device" in options):
        return "remove"
    if standard == "SQ":
        return "inside"
    return "uid" if standard == "UI" else "keep"


def _option(tag: int, rule: TagRule, kinds: set[str], options: frozenset[Option]) -> Action | None:
    if kinds & TEMPORAL and tag not in NEVER_SHIFTED:
        if "dates" not in options:
            return None
        return "keep" if kinds == {"TM"} else "shift"
    if rule.kept_by in options:
        return "inside" if "SQ" in kinds else "keep"
    return None


def is_kept_by_option(tag: int, options: frozenset[Option]) -> bool:
    """Whether the table keeps an attribute for the sake of an option."""
    rule = table().get(f"{tag:08X}")
    return rule is not None and rule.kept_by in options

"""Options of DICOM PS3.15 Annex E: what de-identification leaves in where a hospital says so."""

from typing import Literal

Option = Literal["patient", "device", "dates"]

OPTIONS: dict[Option, tuple[str, str]] = {
    "patient": ("113108", "Retain Patient Characteristics Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
}
"""Codes and names of PS3.16, CID 7050."""

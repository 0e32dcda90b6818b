"""Images in whose pixels a name can be: what no header's de-identification takes out."""

import re

from pydicom.dataset import Dataset

MODALITIES = {
    "US": "ultrasound", "IVUS": "ultrasound", "BDUS": "ultrasound", "OT": "other, often a screenshot",
    "ES": "endoscopy", "XC": "photography", "HC": "a hard copy", "DOC": "a document", "SC": "secondary capture",
}  # fmt: skip
CLASSES = {
    "1.2.840.10008.5.1.4.1.1.7": "secondary capture",
    "1.2.840.10008.5.1.4.1.1.6": "ultrasound",
    "1.2.840.10008.5.1.4.1.1.3": "ultrasound",
    "1.2.840.10008.5.1.4.1.1.77.1.1": "endoscopy",
    "1.2.840.10008.5.1.4.1.1.77.1.4": "photography",
}
"""SOP classes, and those below them."""
_SCREEN = re.compile(r"screen[ _-]?(shot|save|capture)|dose[ _-]?report|patient[ _-]?protocol", re.IGNORECASE)
_SCREENSHOT = re.compile(rb"screen[ _-]?shot", re.IGNORECASE)
_ENDS_BYTES = 1 << 16


def why_dicom(header: Dataset) -> str:
    """Why a DICOM image can have text in its pixels; empty where nothing speaks for it."""
    annotation = str(header.get("BurnedInAnnotation", "")).upper()
    if annotation == "YES":
        return "its header says that text is burned in"
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0100) in header and (group, 0x3000) not in header:
            return "an overlay lies in the unused bits of its pixels"
    if annotation == "NO":
        return ""
    modality, of_class = str(header.get("Modality", "")), str(header.get("SOPClassUID", ""))
    if modality in MODALITIES:
        return f"modality {modality}, {MODALITIES[modality]}"
    for uid, what in CLASSES.items():
        if of_class == uid or of_class.startswith(f"{uid}."):
            return what
    if header.get("ConversionType"):
        return "converted from something else"
    words = f"{header.get('ImageType', '')} {header.get('SeriesDescription', '')}"
    return "a picture of a screen" if _SCREEN.search(words) else ""


def why_other(content: bytes) -> str:
    """The same for PNG, JPEG and TIFF, which say it at the beginning or at the end if they say it at all."""
    ends = content[:_ENDS_BYTES], content[-_ENDS_BYTES:]
    return "a screenshot, as its metadata says" if any(_SCREENSHOT.search(end) for end in ends) else ""

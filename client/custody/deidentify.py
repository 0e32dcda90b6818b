"""DICOM files without identity: PS3.15 Annex E, Basic Application Level Confidentiality Profile, in all nested items.

The file is written anew. Nothing of the old one is copied: elements come one by one, by what `confidentiality` says of
each (keep, remove, empty, dummy, pseudonym, uid, shift, inside), with values that are what their kind allows
(`sound_values`); pixels are decoded and encoded again (`pixels_anew`). So what lies between, behind or beside them has
no way through, whatever it is. Names that can be seen in pixels: `burned_in`.
"""

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

from client.custody import pixels_anew, sound_values
from client.custody.confidentiality import CODES, action, is_kept_by_option
from client.custody.dataset_index import OPTIONS, Option
from client.custody.identity_words import text_words
from client.custody.pseudonyms import Pseudonyms
from client.readers.source import ImageFile, ImageSource
from client.sources.identity import is_somebody

UNNAMED = ImageFile(Path("this image"))
DUMMIES: dict[str, Any] = {
    "AE": "ANONYMOUS", "AS": "000Y", "CS": "ANONYMOUS", "DA": "19000101", "DS": "0", "DT": "19000101000000",
    "IS": "0", "LO": "ANONYMOUS", "LT": "ANONYMOUS", "PN": "ANONYMOUS", "SH": "ANONYMOUS", "ST": "ANONYMOUS",
    "TM": "000000", "UC": "ANONYMOUS", "UR": "urn:anonymous", "UT": "ANONYMOUS", "OB": b"\0\0", "OW": b"\0\0",
    "UN": b"\0\0",
}  # fmt: skip


@dataclass(frozen=True)
class Deidentifier:
    """Takes the identity out of DICOM files, in the same way each time."""

    names: Pseudonyms
    options: frozenset[Option]

    def clean(self, header: FileDataset, image: ImageSource = UNNAMED, counts: Counter[str] | None = None) -> bytes:
        """The file without identity, with the same pixels.

        Args:
            header: a whole file (`client.readers.dicom.parse`), which was checked (`check`).
            image: what errors call it.
            counts: what was taken out, by kind; added to.

        Raises:
            ImageError: a frame cannot be decoded, or its pixels would mean something else afterwards.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            number = str(header.get("PatientID", ""))
            person = number if is_somebody(number) else str(header.get("StudyInstanceUID", ""))
            one = _OneFile(
                self.names, self.options, person, text_words(header), Counter() if counts is None else counts
            )
            clean = one.clean(header)
            syntax = pixels_anew.put_pixels(image, header, clean, one.counts)
            self._mark(clean)
            return _encode(clean, syntax)

    def _mark(self, clean: Dataset) -> None:
        """Say what was done, in the standard's own words (E.1.1, items 6 and 7)."""
        codes = [("113100", "Basic Application Confidentiality Profile")]
        codes += [OPTIONS[option] for option in sorted(self.options)]
        clean.SpecificCharacterSet = "ISO_IR 192"
        clean.PatientIdentityRemoved = "YES"
        clean.DeidentificationMethod = [f"Consilium, DICOM PS3.15 Annex E, {code}" for code, _ in codes]
        clean.DeidentificationMethodCodeSequence = Sequence(_code(*code) for code in codes)
        clean.LongitudinalTemporalInformationModified = "MODIFIED" if "dates" in self.options else "REMOVED"


@dataclass(frozen=True)
class _OneFile:
    """The elements of one file, each as what is done with it makes it; None: it has no way through."""

    names: Pseudonyms
    options: frozenset[Option]
    person: str
    words: frozenset[str]
    counts: Counter[str]

    def clean(self, header: Dataset, codes: bool = False) -> Dataset:
        """A data set, or an item of one.

        Args:
            codes: it is an item of a sequence that an option keeps, whose codes stay.
        """
        clean = Dataset()
        clean.set_original_encoding(False, True)  # pydicom asks when it reads look-up tables
        for tag in header.keys():  # noqa: SIM118 (iterating over a data set reads every value)
            what = action(int(tag), getattr(header.get_item(tag), "VR", None), self.options)
            what = "keep" if codes and tag in CODES else what
            change: Callable[[Dataset, int], DataElement | None] = getattr(self, f"_{what}")
            if (element := change(header, int(tag))) is not None:
                clean.add(element)
            if what != "keep":
                self.counts[_kind(int(tag), what)] += 1
        return clean

    def _keep(self, header: Dataset, tag: int) -> DataElement | None:
        element = sound_values.element(tag, header)
        if element is None or not sound_values.holds(element, self.words):
            return element
        self.counts["names in values that stay"] += 1
        return None

    def _remove(self, header: Dataset, tag: int) -> None:
        return None

    def _empty(self, header: Dataset, tag: int) -> DataElement:
        vr = dictionary_VR(tag)
        return DataElement(tag, vr, Sequence() if vr == "SQ" else None)

    def _pseudonym(self, header: Dataset, tag: int) -> DataElement:
        name = str(header[tag].value or "").strip()
        return DataElement(tag, "LO", self.names.patient(name) if is_somebody(name) else "")

    def _dummy(self, header: Dataset, tag: int) -> DataElement:
        vr = dictionary_VR(tag)
        if vr == "UI":
            return self._uid(header, tag)
        return DataElement(tag, vr, DUMMIES[vr]) if vr in DUMMIES else self._empty(header, tag)

    def _uid(self, header: Dataset, tag: int) -> DataElement:
        return DataElement(tag, "UI", [self.names.uid(str(uid)) for uid in _values(header[tag].value)])

    def _inside(self, header: Dataset, tag: int) -> DataElement | None:
        if not isinstance(items := header[tag].value, Sequence):
            return None
        codes = is_kept_by_option(tag, self.options)
        return DataElement(tag, "SQ", Sequence(self.clean(item, codes) for item in items))

    def _shift(self, header: Dataset, tag: int) -> DataElement:
        dates = [self.names.shifted(str(value), self.person) for value in _values(header[tag].value)]
        return DataElement(tag, dictionary_VR(tag), dates)


def _kind(tag: int, what: str) -> str:
    if tag >> 16 & 1:
        return "private elements"
    if tag >> 24 in (0x50, 0x60):
        return "elements of overlays and curves"
    return {"remove": "elements removed", "uid": "UIDs", "shift": "dates moved"}.get(
        what, "elements emptied or replaced"
    )


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _values(value: Any) -> Iterator[Any]:
    many: Iterable[Any] = value if isinstance(value, MultiValue | list) else [value]
    return (one for one in many if one not in (None, ""))


def _encode(clean: Dataset, syntax: str) -> bytes:
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # filled in by what writes it
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = clean.get("SOPClassUID", "")
    meta.MediaStorageSOPInstanceUID = clean.get("SOPInstanceUID", "")
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    file = FileDataset(None, clean, bytes(128), meta, is_implicit_VR=False, is_little_endian=True)
    pydicom.dcmwrite(content := io.BytesIO(), file)
    return content.getvalue()

"""DICOM files without identity: PS3.15 Annex E, Basic Application Level Confidentiality Profile, in all nested items.

Pixels and transfer syntax stay as they are: what is not changed is copied byte by byte. Preamble and file meta
information are written again from what is known.

Which action an element gets (keep, remove, empty, dummy, pseudonym, uid, shift, inside) is said by `confidentiality`,
from table E.1-1; here is what each action does. Names inside pixels are not seen here: `burned_in`.
"""

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

from client.custody.confidentiality import action
from client.custody.dataset_index import OPTIONS, Option
from client.custody.pseudonyms import Pseudonyms
from client.sources.identity import is_somebody

PATIENT_AGE = 0x00101010
NAMES, NUMBERS = ("PatientName", "OtherPatientNames"), ("PatientID", "AccessionNumber", "PatientBirthDate")
TELLING = 6
"""Letters of a name, or digits of a number."""
OLDEST = "090Y"
"""Older people are few enough to be recognised: their age is kept as this one."""

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

    def clean(self, header: FileDataset) -> bytes:
        """The file without identity; `header` is changed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            number = str(header.get("PatientID", ""))
            person = number if is_somebody(number) else str(header.get("StudyInstanceUID", ""))
            self._clean(header, person)
            self._mark(header)
            return _encode(header)

    def _clean(self, header: Dataset, person: str) -> None:
        for tag in list(header.keys()):
            element = header.get_item(tag)
            change = getattr(self, f"_{action(int(tag), getattr(element, 'VR', None), self.options)}")
            change(header, int(tag), person)

    def _keep(self, header: Dataset, tag: int, person: str) -> None:
        if tag == PATIENT_AGE and (age := str(header[tag].value or ""))[-1:] == "Y" and age[:-1].isdecimal():
            header[tag].value = min(age, OLDEST)

    def _remove(self, header: Dataset, tag: int, person: str) -> None:
        del header[tag]

    def _empty(self, header: Dataset, tag: int, person: str) -> None:
        vr = dictionary_VR(tag)
        header[tag] = DataElement(tag, vr, Sequence() if vr == "SQ" else None)

    def _pseudonym(self, header: Dataset, tag: int, person: str) -> None:
        name = str(header[tag].value or "").strip()
        header[tag] = DataElement(tag, "LO", self.names.patient(name) if is_somebody(name) else "")

    def _dummy(self, header: Dataset, tag: int, person: str) -> None:
        vr = dictionary_VR(tag)
        if vr == "UI":
            self._uid(header, tag, person)
        elif vr in DUMMIES:
            header[tag] = DataElement(tag, vr, DUMMIES[vr])
        else:
            self._empty(header, tag, person)

    def _uid(self, header: Dataset, tag: int, person: str) -> None:
        header[tag] = DataElement(tag, "UI", [self.names.uid(str(uid)) for uid in _values(header[tag].value)])

    def _inside(self, header: Dataset, tag: int, person: str) -> None:
        if not isinstance(items := header[tag].value, Sequence):
            del header[tag]
            return
        for item in items:
            self._clean(item, person)

    def _shift(self, header: Dataset, tag: int, person: str) -> None:
        dates = [self.names.shifted(str(value), person) for value in _values(header[tag].value)]
        header[tag] = DataElement(tag, dictionary_VR(tag), dates)

    def _mark(self, header: Dataset) -> None:
        """Say what was done, in the standard's own words (E.1.1, items 6 and 7)."""
        codes = [("113100", "Basic Application Confidentiality Profile")]
        codes += [OPTIONS[option] for option in sorted(self.options)]
        header.PatientIdentityRemoved = "YES"
        header.DeidentificationMethod = [f"Consilium, DICOM PS3.15 Annex E, {code}" for code, _ in codes]
        header.DeidentificationMethodCodeSequence = Sequence(_code(*code) for code in codes)
        header.LongitudinalTemporalInformationModified = "MODIFIED" if "dates" in self.options else "REMOVED"


def identifying_words(header: Dataset) -> list[bytes]:
    """Names and numbers of the patient that are long enough not to occur by chance, as they are and in capitals.

    No element may hold them after `clean`, but where no element is known they can be: in a comment inside a JPEG.
    """
    words = [word for key in NUMBERS for word in [str(header.get(key, "")).strip()]]
    words += [word for key in NAMES for word in re.split(r"[\^= ,]+", str(header.get(key, "")))]
    long = {word for word in words if len(word) >= TELLING and word.upper() not in DUMMIES.values()}
    return [word.encode(errors="ignore") for word in long | {word.upper() for word in long}]


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _values(value: Any) -> Iterator[Any]:
    many: Iterable[Any] = value if isinstance(value, MultiValue | list) else [value]
    return (one for one in many if one not in (None, ""))


def _matches_its_syntax(header: FileDataset) -> bool:
    """Whether all elements are in the encoding that the transfer syntax names; some devices mix them up."""
    syntax = header.file_meta.TransferSyntaxUID
    expected_encoding = syntax.is_implicit_VR, syntax.is_little_endian
    raw = (element for element in map(header.get_item, header.keys()) if isinstance(element, RawDataElement))
    return all((element.is_implicit_VR, element.is_little_endian) == expected_encoding for element in raw)


def _encode(header: FileDataset) -> bytes:
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # filled in by what writes it
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = header.get("SOPClassUID", "")
    meta.MediaStorageSOPInstanceUID = header.get("SOPInstanceUID", "")
    meta.TransferSyntaxUID = header.file_meta.TransferSyntaxUID
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    header.file_meta, header.preamble = meta, bytes(128)
    if not _matches_its_syntax(header):
        for _ in header.iterall():  # reads every value, so that values are written and not bytes copied
            pass
    pydicom.dcmwrite(content := io.BytesIO(), header)
    return content.getvalue()

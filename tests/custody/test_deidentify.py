"""No identifying value is left of any row of the standard's table, wherever it was in a file; the pixels stay."""

import io
import itertools
import warnings

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)

from client import readers
from client.custody import burned_in
from client.custody.confidentiality import NEVER_SHIFTED, TEMPORAL, TERMS, table
from client.custody.dataset_index import OPTIONS
from client.custody.deidentify import Deidentifier
from client.custody.pseudonyms import Pseudonyms
from client.readers.dicom import parse
from client.readers.source import ImageBytes, ImageFile
from tests.custody.hospital import dicom, written
from tests.readers.pydicom_files import FOLDERS

PIXELS = np.arange(36, dtype=np.uint8).reshape(6, 6)
NAMES = Pseudonyms(b"k" * 32)
THEIRS = "SOUSA"
"""Part of every value of text, so that one look finds any that is left."""
DATES = {"DA": "19570423", "TM": "134507", "DT": "19570423134507"}
THEIR_UID = "1.3.6.1.4.1.57423"
PARTS = (THEIRS, "19570423", "134507", THEIR_UID, "57423")


def tags():
    """Every row as a tag that it stands for; the groups of curves and overlays several times."""
    for name in table():
        if name == "PRIVATE":
            yield from (0x00090010, 0x00091001, 0x7FE10010)
        elif name.startswith("50XX"):
            yield from (0x50000005, 0x501E3000)
        elif "XX" in name:
            yield from (int(name.replace("60XX", group), 16) for group in ("6000", "600E", "601E"))
        else:
            yield int(name, 16)


def vr_of(tag):
    return dictionary_VR(tag).split(" or ")[0] if dictionary_has_tag(tag) else "LO"


def identifying(tag):
    """A value that says who somebody is, in the attribute's own representation."""
    vr = vr_of(tag)
    if vr == "SQ":
        item = Dataset()
        item.PatientName, item.PatientComments, item.OperatorsName = f"{THEIRS}^Ana", THEIRS, THEIRS
        return DataElement(tag, vr, Sequence([item]))
    value = {
        "UI": f"{THEIR_UID}.{tag}", "AS": "057Y", "DS": "57423", "IS": "57423", "OB": THEIRS.encode() + b"\0",
        "OW": THEIRS.encode() + b"\0", "UN": THEIRS.encode() + b"\0", "UR": f"http://{THEIRS}", "US": 57423,
        "UL": 57423, "FL": 57423.0, "FD": 57423.0, "SL": 57423, "SS": 5742, "OF": b"SOUS", **DATES,
    }.get(vr, f"{THEIRS} {tag:08X}"[:16])  # fmt: skip
    return DataElement(tag, vr, value)


ROWS = [tag for tag in tags() if tag >> 16 >= 8]
OUTSIDE = [tag for tag in tags() if tag >> 16 < 8]


def filled(syntax, nested):
    """A file with every row, at its top or two items deep in a sequence that stays."""
    header = dicom(PIXELS, syntax)
    place = header
    if nested:
        place, between = Dataset(), Dataset()
        between.PurposeOfReferenceCodeSequence = Sequence([place])
        header.AnatomicRegionSequence = Sequence([between])
    for tag in ROWS:
        place[tag] = identifying(tag)
    return header


def values(header):
    """Every value in a file, as text, with its tag."""
    for element in header.iterall():
        if element.VR != "SQ" and element.tag != 0x7FE00010:
            yield element.tag, str(element.value)


def clean(header, *options):
    parsed = parse(ImageBytes(None, written(header)))
    return Deidentifier(NAMES, frozenset(options)).clean(parsed)


def left(content):
    """Identifying values in a file: found in its bytes, and value by value."""
    found = [(0, part) for part in PARTS if part.encode() in content]
    header = pydicom.dcmread(io.BytesIO(content))
    return found + [(tag, value) for tag, value in values(header) if any(part in value for part in PARTS)]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_of_no_row_of_the_table_an_identifying_value_is_left(syntax, nested, capsys):
    header = filled(syntax, nested)
    before = len([1 for _, value in values(header) if any(part in value for part in PARTS)])
    assert before > len(ROWS)
    remaining = left(clean(header))
    with capsys.disabled():
        where = "nested" if nested else "at the top"
        print(f"\n{len(table())} rows, {before} identifying values {where}: {len(remaining)} left")
    assert remaining == []


def test_rows_of_no_data_set_are_removed_and_the_file_s_own_header_is_written_anew():
    header = dicom(PIXELS)
    header.file_meta.SourceApplicationEntityTitle = THEIRS
    header.file_meta.PrivateInformationCreatorUID = THEIR_UID
    header.file_meta.PrivateInformation = THEIRS.encode() + b"\0"
    content = clean(header)
    assert not left(content)
    assert content[:128] == bytes(128)
    header = dicom(PIXELS)
    for tag in OUTSIDE:
        header[tag] = identifying(tag)
    assert len(OUTSIDE) > 2
    assert not left(Deidentifier(NAMES, frozenset()).clean(header))


@pytest.mark.parametrize("options", [c for n in (1, 2, 3) for c in itertools.combinations(OPTIONS, n)])
def test_options_keep_what_they_name_and_nothing_else(options):
    header = filled(ExplicitVRLittleEndian, False)
    for tag in header.keys():  # noqa: SIM118
        if header[tag].VR == "PN" or tag in (
            0x00080050,
            0x00100020,
            0x00101000,
        ):  # what names the patient stays nowhere
            header[tag].value = "Other"
    header = pydicom.dcmread(io.BytesIO(clean(header, *options)))
    for tag in ROWS:
        rule = table().get(f"{tag:08X}")
        kept = rule is not None and rule.kept_by in options and vr_of(tag) not in TEMPORAL
        if vr_of(tag) in TEMPORAL and tag not in NEVER_SHIFTED and "dates" in options:
            value, before = str(header[tag].value), DATES[vr_of(tag)]
            assert value == before if vr_of(tag) == "TM" else value[:8] < before[:8] and value[8:] == before[8:]
        elif not kept or tag in TERMS:
            assert tag not in header or not any(part in str(header[tag]) for part in PARTS)
        elif vr_of(tag) != "SQ":
            assert str(header[tag].value) == str(identifying(tag).value)
    codes = [item.CodeValue for item in header.DeidentificationMethodCodeSequence]
    assert sorted(codes) == sorted(["113100", *(OPTIONS[option][0] for option in options)])
    assert header.PatientIdentityRemoved == "YES"
    assert header.LongitudinalTemporalInformationModified == ("MODIFIED" if "dates" in options else "REMOVED")


def test_free_text_dates_and_what_no_dictionary_knows_go_even_where_the_table_is_silent():
    header = dicom(PIXELS)
    for tag, vr, value in (
        (0x00181400, "ST", THEIRS), (0x00080119, "UR", f"http://{THEIRS}"), (0x00400009, "SH", "kept"),
        (0x00321066, "UT", THEIRS), (0x00189999, "LO", THEIRS), (0x00209998, "UN", THEIRS.encode() + b"\0"),
        (0x00081032, "SQ", None), (0x00280120, "US", 3),
    ):  # fmt: skip
        header[tag] = DataElement(tag, vr, value)
    header.Manufacturer = "Maker"
    found = pydicom.dcmread(io.BytesIO(clean(header)))
    assert not left(clean(header))
    assert "Manufacturer" not in found
    assert pydicom.dcmread(io.BytesIO(clean(header, "device"))).Manufacturer == "Maker"
    assert found.PixelPaddingValue == 3


def test_an_attribute_that_lies_about_its_kind_is_not_left():
    header = dicom(PIXELS)
    header[0x00280030] = DataElement(0x00280030, "LT", THEIRS)  # pixel spacing, as a letter
    header[0x0008103E] = DataElement(0x0008103E, "OB", THEIRS.encode() + b"\0")  # series description, as bytes
    assert not left(clean(header))


def test_a_patient_keeps_one_pseudonym_and_uids_go_on_pointing_to_each_other():
    one, other = dicom(PIXELS, PatientID=" P-17"), dicom(PIXELS, PatientID="P-17 ")
    other.StudyInstanceUID = one.StudyInstanceUID
    other.ReferencedImageSequence = Sequence([Dataset()])
    other.ReferencedImageSequence[0].ReferencedSOPInstanceUID = one.SOPInstanceUID
    one, other = (pydicom.dcmread(io.BytesIO(clean(header))) for header in (one, other))
    assert one.PatientID == other.PatientID == NAMES.patient("P-17") != NAMES.patient("P-18")
    assert one.StudyInstanceUID == other.StudyInstanceUID != one.SOPInstanceUID
    assert other.ReferencedImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert one.SOPInstanceUID == one.file_meta.MediaStorageSOPInstanceUID
    assert one.SOPInstanceUID.is_valid
    assert one.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1"
    assert Pseudonyms(b"j" * 32).patient("P-17") != one.PatientID


def test_shifted_dates_keep_their_distances_for_one_patient_alone():
    def dates(patient, *days):
        header = dicom(PIXELS, PatientID=patient, StudyDate=days[0], AcquisitionDateTime=days[1] + "101500")
        found = pydicom.dcmread(io.BytesIO(clean(header, "dates")))
        day = found.StudyDate
        return np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}"), found.AcquisitionDateTime

    first, moment = dates("P-1", "20240228", "20240228")
    second, _ = dates("P-1", "20240301", "20240228")
    assert second - first == np.timedelta64(2, "D")
    assert moment == str(first).replace("-", "") + "101500"
    assert dates("P-2", "20240228", "20240228")[0] != first
    assert first < np.datetime64("2024-02-28")


@pytest.mark.parametrize(
    ("age", "kept"),
    [
        ("089Y", "089Y"),
        ("104Y", "090Y"),
        ("018M", "018M"),
        ("", ""),
        ("45Y", "045Y"),
        ("9y", "009Y"),
        ("100 Y", "090Y"),
        ("Ana", ""),
    ],
)
def test_the_very_old_are_not_told_by_their_age(age, kept):
    header = dicom(PIXELS)
    header.add(RawDataElement(Tag(0x00101010), "AS", len(age), age.encode(), 0, False, True))
    found = pydicom.dcmread(io.BytesIO(Deidentifier(NAMES, frozenset({"patient"})).clean(header)))
    assert (found.get("PatientAge") or "") == kept


def test_every_image_that_pydicom_brings_keeps_its_pixels_bit_by_bit():
    compared = 0
    for path in sorted(file for folder in FOLDERS for file in folder.rglob("*.dcm") if file.stat().st_size < 600_000):
        try:
            before = readers.read(path, "all")
        except readers.ImageError:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = parse(ImageFile(path))
        content = Deidentifier(NAMES, frozenset()).clean(header)
        after = readers.read(ImageBytes(path, content), "all")
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one.pixels, other.pixels)
            assert (one.low, one.high) == (other.low, other.high)
        cleaned = pydicom.dcmread(io.BytesIO(content))
        assert cleaned.file_meta.TransferSyntaxUID in (ExplicitVRLittleEndian, JPEGLSLossless)
        assert not [tag for tag, _ in values(cleaned) if tag.is_private or 0x5000 <= tag.group < 0x7000]
        compared += 1
    assert compared >= 70


# --- text in the pixels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "why"),
    [
        ({"Modality": "US"}, "ultrasound"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, "ultrasound"),
        ({"ConversionType": "WSD"}, "converted"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "picture of a screen"),
        ({"SeriesDescription": "Dose Report"}, "picture of a screen"),
        ({"BurnedInAnnotation": "YES"}, "its header says"),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, ""),
        ({"Modality": "US", "BurnedInAnnotation": "YES"}, "its header says"),
        ({}, ""),
    ],
)
def test_images_that_can_show_a_name_are_noticed(elements, why):
    assert why in burned_in.why_dicom(dicom(PIXELS, **elements))
    assert bool(burned_in.why_dicom(dicom(PIXELS, **elements))) == bool(why)


def test_an_overlay_in_the_unused_bits_of_pixels_is_noticed():
    header = dicom(PIXELS.astype(np.uint16))
    header[0x60000100] = DataElement(0x60000100, "US", 16)
    header[0x60000102] = DataElement(0x60000102, "US", 12)
    assert "overlay" in burned_in.why_dicom(header)

"""A prediction as DICOM objects of the image's own study: a Structured Report, and the heat map as a Secondary Capture.

The report is TID 1500 of PS3.16 in a Comprehensive SR, by highdicom: preliminary and unverified, as nobody has read it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from highdicom import UID
from highdicom.sc import SCImage
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset

SCHEME = "99CONSILIUM"
"""Designator of the codes that no standard has; PS3.16, 8.2: those of the program begin with 99."""
LONGEST_MEANING, LONGEST_CODE = 64, 16
NO_DEVICE = "Research software, not a medical device. Not for diagnosis. Nobody has verified this result."
MAKER = "Consilium"
REPORT_SERIES, CAPTURE_SERIES = 9901, 9902
NEEDED = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
          "AccessionNumber", "ReferringPhysicianName")  # fmt: skip
"""Of the source: where one is missing it is empty in the result (type 2)."""


@dataclass(frozen=True)
class ModelIdentity:
    """Which model it was."""

    name: str
    digest: str
    """64 hexadecimal digits."""
    publisher: str


@dataclass(frozen=True)
class ResultStatement:
    """What the model says of an image, or of one finding of it."""

    answer: str
    of_class: str
    """Which class the probability is of, and from which operating point on an image is called so."""
    probability: float | None
    """0..1; None where nothing was evaluated."""
    point: float | None
    texts: tuple[str, ...]
    warning: str
    """That the image is unlike those of the training; empty: it is not."""
    frame: int | None = None
    """From 0; None: the object has one."""


@dataclass
class ResultSeries:
    """The two series of one study that results go into."""

    report: UID = field(default_factory=UID)
    capture: UID = field(default_factory=UID)
    reports: int = 0
    captures: int = 0


def report_of(
    source: Dataset, model: ModelIdentity, statements: Sequence[ResultStatement], series: ResultSeries
) -> FileDataset:  # fmt: skip
    """What a model says of one image, as a Structured Report.

    Args:
        source: header of the image, whose patient and study it gets.
    """
    source, series.reports = _whole(source), series.reports + 1
    device = DeviceObserverIdentifyingAttributes(
        UID(f"2.25.{int(model.digest[:31], 16)}"), MAKER, model.publisher[:LONGEST_MEANING], model.name
    )
    content = MeasurementReport(
        ObservationContext(observer_device_context=ObserverContext(CodedConcept("121007", "DCM", "Device"), device)),
        procedure_reported=CodedConcept("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=[_group(source, model, statement, i) for i, statement in enumerate(statements, start=1)],
    )
    report: FileDataset = ComprehensiveSR(
        [source], content[0], series.report, REPORT_SERIES, UID(), series.reports, manufacturer=MAKER,
        is_complete=True, is_final=False, is_verified=False,
    )  # fmt: skip
    report.SpecificCharacterSet = "ISO_IR 192"  # statements have letters that no other may have
    report.SeriesDescription = f"AI research result: {model.name}"[:LONGEST_MEANING]
    report.SoftwareVersions = model.digest[:16]
    return report


def _group(
    source: Dataset, model: ModelIdentity, statement: ResultStatement, number: int
) -> MeasurementsAndQualitativeEvaluations:  # fmt: skip
    """TID 1501: one answer, with the figures and sentences that belong to it."""
    measurements, unit = list[Measurement](), CodedConcept("1", "UCUM", "no units")
    for code, name, value in (
        ("probability", f"Probability of {statement.of_class}", statement.probability),
        ("operating-point", f"Operating point of {statement.of_class}", statement.point),
    ):
        if value is not None:
            measurements.append(Measurement(_code(code, name), round(value, 6), unit))
    several = int(source.get("NumberOfFrames") or 1) > 1
    frames = [statement.frame + 1] if several and statement.frame is not None else None
    group = MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(UID(), f"{model.name} {number}"),
        algorithm_id=AlgorithmIdentification(model.name, model.digest[:16], [f"digest {model.digest}"]),
        measurements=measurements or None,
        qualitative_evaluations=[
            QualitativeEvaluation(_code("answer", "Answer of the model"), _code("class", statement.answer))
        ],
        source_images=[SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID, frames)],
    )
    comment = CodedConcept("121106", "DCM", "Comment")
    texts = [(_code("warning", "Warning"), statement.warning)] if statement.warning else []
    texts += [(comment, text) for text in (*statement.texts, NO_DEVICE) if text]
    for name, text in texts:
        group[0].ContentSequence.append(TextContentItem(name, text, RelationshipTypeValues.CONTAINS))
    return group


def capture_of(
    source: Dataset, model: ModelIdentity, pixels: NDArray[np.uint8], series: ResultSeries
) -> FileDataset:  # fmt: skip
    """A picture with the heat map as a Secondary Capture.

    Args:
        pixels: uint8[h, w, 3].
    """
    source, series.captures = _whole(source), series.captures + 1
    capture: FileDataset = SCImage.from_ref_dataset(
        source, np.ascontiguousarray(pixels), "RGB", 8, "PATIENT", series.capture, CAPTURE_SERIES, UID(),
        series.captures, MAKER, patient_orientation=("L", "F"), transfer_syntax_uid="1.2.840.10008.1.2.1",
    )  # fmt: skip
    capture.SpecificCharacterSet = "ISO_IR 192"
    capture.PatientOrientation = None  # two panels with words: rows and columns point to nothing in the patient
    capture.Laterality = source.get("Laterality", "")
    capture.SeriesDescription = f"AI research heat map: {model.name}"[:LONGEST_MEANING]
    capture.DerivationDescription = f"Heat map of model {model.name} {model.digest[:16]}. {NO_DEVICE}"
    capture.BurnedInAnnotation = "YES"  # words are drawn into it: whoever takes identity out has to look
    capture.SoftwareVersions = model.digest[:16]
    return capture


def _code(code: str, meaning: str) -> CodedConcept:
    return CodedConcept(code[:LONGEST_CODE], SCHEME, meaning[:LONGEST_MEANING])


def _whole(source: Dataset) -> Dataset:
    header = copy.copy(source)
    for name in NEEDED:
        if name not in header:
            setattr(header, name, None)
    return header

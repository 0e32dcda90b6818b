"""What every archive answers, whatever language it speaks: which studies there are, and what is in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, get_args

from common.errors import PacsError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

Cause = Literal[
    "not found", "ambiguous", "no image", "refused", "unreachable", "certificate", "timed out", "half",
    "wrong object", "damaged", "burned-in", "label",
]  # fmt: skip
"""Why a study, or a part of it, did not arrive."""
CAUSES: tuple[Cause, ...] = get_args(Cause)

NO_IMAGES = frozenset((
    "SR", "PR", "KO", "DOC", "SEG", "REG", "FID", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "RWV", "PLAN", "ECG",
    "HD", "EPS", "AU", "SMR", "ANN", "M3D", "STAIN", "TG", "OT",
))  # fmt: skip
"""Modalities of series without images of a patient: they are not pulled unless they are asked for. OT among them: that
is what results of programs are, this one's too."""

MOST_ENTRIES = 1_000_000
"""That are taken as the answer to one query: an archive that goes on for ever does not hold up the others."""
LONGEST_VALUE = 1 << 10
"""Of a text that an archive answers with; what is longer is cut."""


@dataclass(frozen=True)
class StudyQuery:
    """Which studies; empty: all."""

    accession: str = ""
    modality: str = ""
    dates: str = ""
    """A day or a range, as DICOM writes them: 20260101-20261231."""
    description: str = ""
    """With `*` and `?` as wildcards."""


@dataclass(frozen=True)
class StudyRecord:
    """What an archive says of a study: nothing that names the patient is asked for."""

    uid: str
    accession: str
    date: str
    modalities: tuple[str, ...]
    description: str
    images: int | None
    """None: it does not say."""


@dataclass(frozen=True)
class SeriesRecord:
    """What an archive says of a series."""

    uid: str
    modality: str
    body_part: str


@dataclass(frozen=True)
class SeriesChoice:
    """Which series of a study are images that are wanted; empty: all but those without images."""

    modality: str = ""
    body_part: str = ""

    def takes(self, series: SeriesRecord) -> bool:
        """Whether a series is one of them. What names no body part is taken: many devices name none."""
        if self.modality:
            fits = series.modality.upper() == self.modality.upper()
        else:
            fits = series.modality.upper() not in NO_IMAGES
        return fits and (not self.body_part or series.body_part.upper() in ("", self.body_part.upper()))


@dataclass(frozen=True)
class ArrivedObject:
    """One object as it came over the network: a whole DICOM file, in memory alone."""

    uid: str
    """SOP Instance UID that it was announced with."""
    content: bytes


class Archive(Protocol):
    """An archive to which a connection can be made; its methods raise PacsError."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...

    def test(self) -> str:
        """Ask whether it is there; what it answered, for people."""
        ...

    def studies(self, query: StudyQuery) -> list[StudyRecord]:
        """The studies that match."""
        ...

    def series(self, study: str) -> list[SeriesRecord]:
        """The series of a study."""
        ...

    def images(self, study: str, series: str) -> list[str]:
        """SOP Instance UIDs of a series."""
        ...

    def retrieve(self, study: str, series: str, images: frozenset[str], whole: bool) -> Iterator[ArrivedObject]:
        """These images of a series, as they arrive; an error, also at the end, says what did not.

        Args:
            whole: they are all images of the series.
        """
        ...

    def store(self, objects: Sequence["FileDataset"]) -> None:
        """Send objects to the archive, all of which it has when this returns."""
        ...


def study_of(archive: Archive, accession: str, name: str) -> StudyRecord:
    """The one study of an accession number.

    Args:
        name: of the archive, for the message.

    Raises:
        PacsError: there is none, or there are several.
    """
    studies = [one for one in archive.studies(StudyQuery(accession)) if one.accession == accession]
    if not studies:
        raise PacsError("not found", f"{name} has no study of this accession number")
    if len(studies) > 1:
        raise PacsError("ambiguous", f"{len(studies)} studies have this accession number; expected one")
    return studies[0]


def refuse_endless(address: str, entries: int) -> None:
    """Refuse an answer that does not end.

    Raises:
        PacsError: it has more entries than any archive has studies.
    """
    if entries > MOST_ENTRIES:
        raise PacsError("damaged", f"{address}: an answer of more than {MOST_ENTRIES:,} entries; refused")


def shortened(text: str) -> str:
    """A text from outside: without blanks around it, and no longer than any that means something."""
    return text.strip(" \0")[:LONGEST_VALUE]


def count(text: str) -> int | None:
    """A number that an archive gives as text; None: it is none."""
    return int(text) if text.isdecimal() and len(text) < 10 else None

"""Labels are corrected: a list says which, what they were, and what they are; all of it is right, or none is done.

path,was,label          a file as it was brought: it is known by its content, wherever it lies now
patient,was,label       the hospital's own number of a patient: all of theirs that had the old label
study,was,label         a StudyInstanceUID, in the same way
accession,was,label     an accession number, whose study the archive names: custody keeps none
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from client import readers
from client.custody import intake, wrapped_keys
from client.custody.dataset_version import dataset_version
from client.custody.dataset_writer import DatasetWriter, open_for_writing
from client.custody.encrypted_dataset import EncryptedDataset, write_index
from client.custody.key_ring import Custody
from client.pacs.archive import Archive, study_of
from client.pacs.worklist import wrong_accession
from client.patients.search import Kind, People, objects_of
from client.readers.source import ImageFile
from common.errors import ConfigError, DataError, ImageError, PacsError

BY = ("path", "patient", "study", "accession")
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Correction:
    """One row of the list."""

    row: int
    by: str
    who: str
    was: str
    label: str


@dataclass(frozen=True)
class Relabelling:
    """What came of a list."""

    rows: int
    cases: int
    version_before: str
    version: str


def read(path: Path) -> list[Correction]:
    """The corrections of a list.

    Raises:
        ConfigError: it has other columns, or a row without a value.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as a CSV in UTF-8 ({error}).") from None
    columns = set(rows[0]) if rows else set()
    by = [name for name in BY if name in columns]
    if len(by) != 1 or not {"was", "label"} <= columns:
        raise ConfigError(f"{path}: expected the columns was, label, and one of {', '.join(BY)}; rows below them.")
    corrections = []
    for number, row in enumerate(rows, 2):
        who, was, label = ((row.get(name) or "").strip() for name in (by[0], "was", "label"))
        if not (who and was and label):
            raise ConfigError(f"{path}, row {number}: expected {by[0]}, was and label, none of them empty.")
        if was == label:
            raise ConfigError(f"{path}, row {number}: was and label are both {label!r}. Take the row out.")
        corrections.append(Correction(number, by[0], who, was, label))
    return corrections


def of_studies(path: Path, corrections: Sequence[Correction], archive: Archive, name: str) -> list[Correction]:
    """Corrections by accession number as ones by study, each asked of the archive; others as they are.

    Raises:
        DataError: an accession number that is none, or whose study the archive does not name.
        PacsError: the archive does not answer.
    """
    studies, problems = list[Correction](), list[str]()
    for correction in corrections:
        if correction.by != "accession":
            studies.append(correction)
        elif wrong := wrong_accession(correction.who):
            problems.append(f"{path}, row {correction.row}: {wrong}")
        else:
            try:
                uid = study_of(archive, correction.who, name).uid
            except PacsError as error:
                if error.cause not in ("not found", "ambiguous"):
                    raise
                problems.append(f"{path}, row {correction.row}: {error}")
            else:
                studies.append(replace(correction, by="study", who=uid))
    _refuse(problems)
    return studies


def relabel(custody: Custody, folder: Path, path: Path, corrections: Sequence[Correction]) -> Relabelling:
    """Correct the labels of a data set, all or none.

    Args:
        path: the list, for messages, and what its paths are relative to.

    Raises:
        DataError: rows that fit no case with the old label, or two that want different things, all named.
        RunError, CustodyError: another process writes to the data set, or it is not what was stored last.
    """
    with open_for_writing(custody, folder) as writer:
        store = writer.store
        before, cases = dataset_version(store), store.index.cases
        labels, problems = _labels(store, path, corrections)
        _refuse(problems)
        writer.index.cases = [replace(case, label=labels.get(i, case.label)) for i, case in enumerate(cases)]
        _write(custody, writer)
        return Relabelling(len(corrections), len(labels), before, dataset_version(store))


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        more = f" and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
        raise DataError("; ".join(problems[:MOST_PROBLEMS]) + f"{more}. Nothing was changed.")


def _labels(store: EncryptedDataset, path: Path, corrections: Sequence[Correction]) -> tuple[dict[int, str], list[str]]:
    """New labels by place in the list of cases; and what is wrong with rows, without saying whom they name."""
    labels, problems, classes = dict[int, str](), list[str](), {case.label for case in store.index.cases}
    find = _finder(store, path.parent, corrections)
    for correction in corrections:
        where = f"{path}, row {correction.row}"
        try:
            numbers = find(correction)
        except ImageError as error:
            problems.append(f"{where}: {error}")
            continue
        places = [i for i, case in enumerate(store.index.cases) if case.object in numbers]
        matches = [i for i in places if store.index.cases[i].label == correction.was]
        if not places:
            problems.append(f"{where}: no such {correction.by} is in {store.name}")
        elif not matches:
            there = ", ".join(sorted({store.index.cases[i].label for i in places}))
            problems.append(f"{where}: was is {correction.was!r}, and {store.name} has {there!r}")
        elif correction.label not in classes:
            problems.append(f"{where}: label {correction.label!r} is none of {', '.join(sorted(classes))}")
        elif any(labels.get(i, correction.label) != correction.label for i in matches):
            problems.append(f"{where}: an earlier row gives the same case another label")
        else:
            labels |= dict.fromkeys(matches, correction.label)
    return labels, problems


def _finder(
    store: EncryptedDataset, base: Path, corrections: Sequence[Correction]
) -> Callable[[Correction], Sequence[int]]:
    """What gives the objects that a row means."""
    if corrections and (by := corrections[0].by) != "path":
        kind: Kind = "study" if by == "study" else "patient"
        names = People(kind, tuple(correction.who for correction in corrections)).pseudonyms(store)
        by_name = objects_of(store, names, kind)
        by_row = {correction.row: name for correction, name in zip(corrections, names, strict=True)}
        return lambda correction: by_name[by_row[correction.row]]
    return lambda correction: _by_content(store, base / correction.who)


def _by_content(store: EncryptedDataset, path: Path) -> list[int]:
    """The objects that were made from a file, whichever of its frames were people."""
    image = ImageFile(path)
    kind = readers.detect(image)
    content = path.read_bytes()
    choices = [""] if kind == "DICOM" else [repr(frames) for frames in ("first", "middle", "all", *range(64))]
    digests = (intake.digest(store, content, which) for which in choices)
    return [store.index.numbers[digest] for digest in digests if digest in store.index.numbers]


def _write(custody: Custody, writer: DatasetWriter) -> None:
    store = writer.store
    write_index(custody, store.folder, store.wraps, store.secrets, writer.version + 1, writer.index)
    with custody.alone():  # written again, the keys tell every process that holds the images to read them again
        wrapped_keys.write(wrapped_keys.read(store.folder), store.folder)

"""Bringing images in: `python -m client import`. A file is in or it is not, and the same command goes on where it was.

Workers take files in (`intake`); this process alone writes. Every few seconds what was written is committed.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from client import readers
from client.custody import encrypted_dataset, import_workers, intake
from client.custody.dataset_index import Case, Option
from client.custody.dataset_writer import DatasetWriter, SealedObject, open_for_writing
from client.custody.events import Event, Record, unrecorded
from client.custody.import_workers import IntakeResult
from client.custody.intake import AlreadyStored, Intake
from client.custody.key_ring import Custody
from client.custody.pseudonyms import Pseudonyms
from client.custody.withdrawals import Withdrawals
from client.readers.source import ImageBytes, ImageFile
from client.sources import file_list, npz
from client.sources.case_row import CaseRow
from client.sources.case_table import Problem, located
from client.sources.folder_walk import Found
from client.sources.identity import is_somebody
from common.config import Folder, Manifest, Npz
from common.errors import ConfigError, DataError, ImageError
from common.storage.lent_path import LentPath

COMMIT_S = 5.0
"""What a kill costs at most, in work to be done again."""
COMMIT_SHARE = 20.0
"""Between two commits, so many times as long passes as the last one took."""

Advance = Callable[[int], None]


class CaseFeed(Protocol):
    """Cases that come from elsewhere than a disk: from an image archive."""

    def cases(
        self, writer: DatasetWriter, request: "ImportRequest", outcome: "ImportReport", advance: Advance
    ) -> Iterator[tuple[CaseRow, IntakeResult]]:
        """Each case with what became of it; what did not come is added to the problems of `outcome`."""
        ...


@dataclass(frozen=True)
class ImportRequest:
    """What is to be imported, and how."""

    source: Folder | Manifest | Npz | CaseFeed
    name: str
    retain: frozenset[Option] = frozenset()
    allow_burned_in: bool = False
    processes: int = 0
    """That take files in; 0: this one does."""
    base: Path | None = None
    """What the paths of a CSV are relative to; None: where it lies."""


@dataclass
class ImportReport:
    """What came of it."""

    folder: Path
    added: int = 0
    """Cases that are in now."""
    already: int = 0
    """Cases that were in before."""
    problems: list[Problem] = field(default_factory=list)
    withdrawals: int = 0
    """Images that stay out, since their patients withdrew from this data set."""
    unknown: list[str] = field(default_factory=list)
    """Pictures, whose names alone could tell the patient."""
    unused: tuple[str, ...] = ()
    """What was found beside the images."""
    taken_out: Counter[str] = field(default_factory=Counter)
    """What files held that was not carried over, by kind."""


def run(
    custody: Custody, request: ImportRequest, advance: Advance = lambda total: None, record: Record = unrecorded
) -> ImportReport:
    """Import; what was committed stays, whatever ends it.

    Args:
        advance: called with the number of cases that there are, each time that one is done.

    Raises:
        ConfigError: no keys, or another choice of what is retained than this data set was begun with.
        DataError: the source cannot be read at all, or the disk is full.
        CustodyError: the data set is not what was stored last.
    """
    _ = custody.ring()
    folder = _folder(custody, request)
    outcome = ImportReport(folder)
    with open_for_writing(custody, folder) as writer:
        if writer.index.retain != request.retain:
            retain = ",".join(sorted(writer.index.retain)) or "nothing"
            raise ConfigError(
                f"{folder}: was begun with --retain {retain}, and all images of a data set are de-identified alike. "
                "Say the same, or begin another with --name."
            )
        try:
            with _regular_commits(writer) as commit_if_due:
                withdrawals = Withdrawals(writer.store)
                for row, result in _cases(writer, request, outcome, advance):
                    if isinstance(result, ImageError) or not withdrawals.bar(patient_of(row, result), result.source):
                        _enter(writer, row, result, outcome)
                    else:
                        outcome.withdrawals += 1
                    commit_if_due()
        except BaseException:
            record(_event(writer, request, outcome, "failed"))
            raise
        record(_event(writer, request, outcome, "done"))
    return outcome


def _cases(
    writer: DatasetWriter, request: ImportRequest, outcome: ImportReport, advance: Advance
) -> Iterator[tuple[CaseRow, IntakeResult]]:
    if isinstance(request.source, Npz):
        return _from_arrays(writer, request.source, outcome, advance)
    if isinstance(request.source, Folder | Manifest):
        return _from_files(writer, request, request.source, outcome, advance)
    return request.source.cases(writer, request, outcome, advance)


def _event(
    writer: DatasetWriter, request: ImportRequest, outcome: ImportReport, how: Literal["done", "failed"]
) -> Event:
    facts = {"added": outcome.added, "already in": outcome.already, "left out": len(outcome.problems)}
    facts |= {
        "of patients who withdrew": outcome.withdrawals,
        "version": writer.version,
        "burned in allowed": int(request.allow_burned_in),
    }
    return Event("import", f"{request.name} {writer.store.wraps.set}", how, facts)


def _folder(custody: Custody, request: ImportRequest) -> Path:
    folder = custody.sets / request.name
    with custody.alone():
        return folder if (folder / "keys").exists() else encrypted_dataset.create(custody, request.name, request.retain)


@contextmanager
def _regular_commits(writer: DatasetWriter) -> Iterator[Callable[[], None]]:
    """Commit now and then, and at the end, also when the end is an error or Ctrl-C."""
    last_s, took = time.monotonic(), 0.0

    def commit_if_due() -> None:
        nonlocal last_s, took
        if (now := time.monotonic()) - last_s > max(COMMIT_S, COMMIT_SHARE * took):
            writer.commit()
            last_s = time.monotonic()
            took = last_s - now

    try:
        yield commit_if_due
        writer.commit()
    except OSError as error:
        state = _rescue(writer)
        raise DataError(
            f"{error.filename or writer.store.folder}: cannot be written ({error.strerror}). {state} Make room, "
            "and give the same command again: it goes on from there."
        ) from None
    except BaseException:
        writer.commit()
        raise


def _rescue(writer: DatasetWriter) -> str:
    try:
        writer.commit()
    except OSError:
        return "What was committed before is stored."
    return f"{len(writer.index.cases)} cases are stored."


def _enter(writer: DatasetWriter, row: CaseRow, result: IntakeResult, outcome: ImportReport) -> None:
    """A row into the index, with its object if that is new."""
    if isinstance(result, ImageError):
        outcome.problems.append(_problem(row, str(result)))
        return
    if isinstance(result, SealedObject) and result.source not in writer.index.numbers:
        writer.add(result)
        outcome.taken_out += result.taken_out
    number = writer.index.numbers[result.source]
    frame = row.frames if isinstance(row.frames, int) and writer.index.objects[number].frame_facts is None else None
    case = Case(number, row.label, frame, row.site, row.patient, row.split)
    there = writer.index.case_by_frame.get((number, frame))
    if there is None:
        writer.index.add_case(case)
        outcome.added += 1
        if not row.patient and writer.index.objects[number].frame_facts is not None:
            outcome.unknown.append(str(row.origin))
    elif there == case:
        outcome.already += 1
    else:
        outcome.problems.append(_problem(row, f"is in already, {_differences(there, case)}"))


def patient_of(row: CaseRow, result: SealedObject | AlreadyStored) -> str | None:
    """Pseudonym of whom an image shows, as the list or the header says it."""
    return row.patient or (result.patient if isinstance(result, SealedObject) else None)


def _differences(there: Case, here: Case) -> str:
    differences = [
        f"{key} {getattr(there, key)!r} and not {getattr(here, key)!r}"
        for key in ("label", "site", "split", "patient")
        if getattr(there, key) != getattr(here, key)
    ]
    return "with " + ", ".join(differences)


def _problem(row: CaseRow, what: str) -> Problem:
    return Problem(str(row.origin), row.number, what.removeprefix(f"{row.origin}: "))


# --- files ----------------------------------------------------------------------------------------------------------


def _from_files(
    writer: DatasetWriter, request: ImportRequest, source: Folder | Manifest, outcome: ImportReport, advance: Advance
) -> Iterator[tuple[CaseRow, IntakeResult]]:
    listing, search = file_list.rows(source, request.base), Found()
    rows = [file_row for row in listing.rows for file_row in _expand_folder(row, search)]
    outcome.problems += listing.problems + search.problems
    outcome.unused += listing.unused + search.unused()
    names = Pseudonyms(writer.store.secrets.pseudonyms)
    desk = Intake(writer.store, request.allow_burned_in)
    lent = LentImages()
    for row, result in import_workers.take_all(desk, lent.read(rows), request.processes, lent.problem):
        yield (
            replace(row, patient=names.patient(row.patient) if row.patient and is_somebody(row.patient) else None),
            result,
        )
        advance(len(rows))


class LentImages:
    """Files that another process opens, brought into memory as they are taken in: the workers cannot ask it."""

    def __init__(self) -> None:
        self._problems: dict[int, ImageError] = {}

    def read(self, rows: Iterable[CaseRow]) -> Iterator[CaseRow]:
        """The rows, one by one, with the content of what is lent."""
        for row in rows:
            if isinstance(row.origin, ImageFile) and isinstance(row.origin.path, LentPath):
                try:
                    with row.origin.open() as stream:
                        content = stream.read(readers.MAX_BYTES + 1)
                    row = replace(row, origin=ImageBytes(row.origin.path, content))
                except (ImageError, OSError) as error:
                    self._problems[id(row)] = error if isinstance(error, ImageError) else ImageError(str(error))
            yield row

    def problem(self, row: CaseRow) -> ImageError | None:
        """Why a row's file cannot be had."""
        return self._problems.pop(id(row), None)


def _expand_folder(row: CaseRow, search: Found) -> list[CaseRow]:
    """A row that names a folder stands for all files in it: a study with its series."""
    path = row.origin.path if isinstance(row.origin, ImageFile) else None
    if path is None or not path.is_dir():
        return [row]
    files = search.walk(path)
    if not files:
        search.problems.append(_problem(row, "an empty folder; expected images"))
    return [replace(row, origin=ImageFile(file)) for file in files]


# --- arrays ---------------------------------------------------------------------------------------------------------


def _from_arrays(
    writer: DatasetWriter, arrays: Npz, outcome: ImportReport, advance: Advance
) -> Iterator[tuple[CaseRow, IntakeResult]]:
    table = npz.read(arrays.model_copy(update={"on_error": "report"}))
    outcome.problems += table.problems
    names, store = Pseudonyms(writer.store.secrets.pseudonyms), writer.store
    for i, picture in enumerate(table.images.pictures(range(len(table)))):
        patient = table.patient[i] if table.patient else None
        row = CaseRow(
            ImageFile(Path(table.images.name(i))), table.classes[int(table.labels[i])], None,
            table.site[i] if table.site else None, names.patient(patient) if patient else None,
            table.split[i] if table.split else None,
        )  # fmt: skip
        # Equal images in an array are cases of their own, so the place counts as well.
        place = table.images.name(i).removeprefix(str(located(arrays.path)))
        source = intake.digest(store, np.ascontiguousarray(picture.pixels).data.cast("B"), place)
        yield row, AlreadyStored(source) if source in writer.index.numbers else intake.pixels(store, [picture], source)
        advance(len(table))

"""A CSV with a row an image: path and label, and where known site, patient, split and frame."""

import csv
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client.readers import Frames
from client.readers.source import ImageFile, ImageSource
from client.sources.case_table import SPLITS, Problem, Split, as_split
from common.config import Folder, Manifest
from common.errors import DataError

COLUMNS = ("path", "label", "site", "patient", "split", "frame")


@dataclass(frozen=True)
class CaseRow:
    """One file, or one frame of it, as the data set lists it."""

    origin: ImageSource
    label: str
    number: int | None = None
    """Row of the CSV; the header is row 1."""
    site: str | None = None
    patient: str | None = None
    split: Split | None = None
    frames: Frames = "middle"


def rows_in_csv(path: Path, base: Path, source: Manifest) -> tuple[list[CaseRow], list[Problem]]:
    """The rows of a CSV, and what is wrong with others.

    Args:
        base: what its paths are relative to.

    Raises:
        DataError: it cannot be read, or is no such CSV.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            records = list(csv.reader(file, delimiter=max(",;\t", key=head.count), strict=True))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); expected a CSV with the columns path, label."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save the CSV as UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV ({error}); check the quotes around cells.") from None
    columns = _header(path, records)
    reading = _CsvRows(path, base, columns, source)
    for number, record in enumerate(records[1:], start=2):
        if record:  # an empty line is no row
            reading.take(number, record)
    return reading.rows, reading.problems


def _header(path: Path, records: Sequence[Sequence[str]]) -> dict[str, int]:
    """Where each column is. A misspelt column is refused: one of patients must not be missed."""
    names = [name.strip().lower() for name in records[0]] if records else []
    for name in names:
        near = difflib.get_close_matches(name, COLUMNS, 1, 0.75)
        if name not in COLUMNS and near and near[0] not in names:
            raise DataError(f"{path}, row 1: unknown column '{name}'; did you mean '{near[0]}'?")
    if missing := [name for name in ("path", "label") if name not in names]:
        raise DataError(
            f"{path}, row 1: no column '{missing[0]}' (found {', '.join(names) or 'nothing'}). Expected path and "
            "label, and where known site, patient, split, frame."
        )
    if twice := [name for name in COLUMNS if names.count(name) > 1]:
        raise DataError(f"{path}, row 1: the column '{twice[0]}' is there twice.")
    return {name: i for i, name in enumerate(names)}


@dataclass
class _CsvRows:
    """The rows of one CSV, and what is wrong with others."""

    path: Path
    base: Path
    columns: Mapping[str, int]
    source: Manifest
    rows: list[CaseRow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    row_of_image: dict[tuple[Path, Frames], int] = field(default_factory=dict)

    def take(self, number: int, record: Sequence[str]) -> None:
        if len(record) != len(self.columns):
            self._bad(number, f"has {len(record)} cells, the header has {len(self.columns)}")
            return
        cells = {name: record[self.columns[name]].strip() for name in COLUMNS if name in self.columns}
        if empty := [name for name, cell in cells.items() if not cell and name != "frame"]:
            self._bad(number, f"the cell '{empty[0]}' is empty")
            return
        frames: Frames = self.source.frames
        if frame := cells.get("frame"):
            if not frame.isdecimal():
                self._bad(number, f"frame '{frame}'; expected a whole number from 0")
                return
            frames = int(frame)
        split = as_split(cells["split"]) if "split" in cells else None
        file = self.base / cells["path"]
        if "split" in cells and not split:
            self._bad(number, f"split '{cells['split']}'; expected {', '.join(SPLITS)}")
        elif wrong := wrong_label(cells["label"], self.source):
            self._bad(number, wrong)
        elif (file, frames) in self.row_of_image:
            self._bad(number, f"the same image as in row {self.row_of_image[file, frames]}: {cells['path']}")
        else:
            self.row_of_image[file, frames] = number
            self.rows.append(
                CaseRow(ImageFile(file), cells["label"], number, cells.get("site"), cells.get("patient"), split, frames)
            )  # fmt: skip

    def _bad(self, number: int, what: str) -> None:
        self.problems.append(Problem(str(self.path), number, what))


def wrong_label(label: str, source: Manifest | Folder) -> str | None:
    """Why a label is none of the configured ones; None if it is one."""
    labels = tuple(source.groups) or source.labels
    if not labels or label in labels:
        return None
    return f"label '{label}' is none of {', '.join(labels)}"

"""A CSV with a row an image: path and label, and where known site, patient, split and frame."""

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client.readers import Frames
from client.readers.source import ImageFile
from client.sources import csv_text, findings
from client.sources.case_row import CaseListing, CaseRow
from client.sources.case_table import SPLITS, Problem, as_split
from client.sources.spelling import is_cut_number, likeness, says_nothing, wrong_label
from common.cli.harmless import legible
from common.config import Column, Manifest
from common.errors import DataError
from common.storage.lent_path import real_path

COLUMNS: tuple[Column, ...] = ("path", "label", "site", "patient", "split", "frame")


def rows_in_csv(path: Path, base: Path, source: Manifest) -> CaseListing:
    """The rows of a CSV, and what is wrong with others.

    Args:
        base: what its paths are relative to.

    Raises:
        DataError: it cannot be read, or is no such CSV.
    """
    cells = csv_text.read(path, source.encoding)
    (first, header), *records = cells.records or [(1, [])]
    finding_columns = findings.columns(f"{path}, row {first}", header, source) if source.findings else {}
    columns = _columns(path, first, header, source, required=("path",) if finding_columns else ("path", "label"))
    if not records:
        raise DataError(f"{path}: an empty list: no row below the header. Expected a row an image.")
    if finding_columns:
        columns.pop("label", None)
    headed = _headed(header, records)
    reading, unused = _CsvRows(path, base, columns, headed, source, finding_columns), list(cells.remarks)
    for number, record in records:
        reading.take(number, record)
    columns_in_use = {*columns.values(), *finding_columns.values()}
    if others := [legible(name.strip()) for i, name in enumerate(header) if name.strip() and i not in columns_in_use]:
        unused.append(f"found and not used: {len(others)} columns of {path.name}: {', '.join(others)}")
    if reading.omissions:
        unused.append(f"found and not used: {reading.omissions} rows of {path.name}, as data.splits says")
    if missing := [legible(name) for name in source.findings if finding_columns and name not in finding_columns]:
        unused.append(f"{path.name} has no column for {', '.join(missing)}: unknown in all its rows")
    if reading.unread:
        unused.append(f"found and not used: {reading.unread} rows of {path.name} in which no finding is known")
    return CaseListing(reading.rows, reading.problems, tuple(unused))


def mapping(path: Path, source: Manifest) -> list[tuple[str, str]]:
    """Which column of a CSV is taken for what, before any of it is used: what it is, and the heading that it has.

    Raises:
        DataError: it cannot be read, or is no such CSV.
    """
    (first, header), *_ = csv_text.read(path, source.encoding).records or [(1, [])]
    columns = _columns(path, first, header, source, required=("path",) if source.findings else ("path", "label"))
    return [(name, legible(header[place].strip())) for name, place in columns.items()]


def _columns(
    path: Path, row: int, header: Sequence[str], source: Manifest, required: Sequence[str]
) -> dict[str, int]:  # fmt: skip
    """Where each column is. A misspelt column is refused: one of patients must not be missed."""
    where, headings = f"{path}, row {row}", [likeness(name) for name in header]
    header_names = ", ".join(legible(name.strip()) for name in header if name.strip()) or "nothing"
    names = {name: source.columns.get(name, name) for name in COLUMNS}
    likenesses: dict[str, str] = {column: likeness(name) for column, name in names.items()}
    for name, heading in zip(header, headings, strict=True):
        near = difflib.get_close_matches(heading, COLUMNS, 1, 0.75)
        if heading not in likenesses.values() and near and likenesses[near[0]] not in headings:
            raise DataError(f"{where}: unknown column '{legible(name.strip())}'; did you mean '{near[0]}'?")
    for name in COLUMNS:
        if (name in required or name in source.columns) and likenesses[name] not in headings:
            raise DataError(
                f"{where}: no column '{legible(names[name])}' (found {header_names}). Expected path and label, and "
                f"where known site, patient, split, frame; data.columns: {{{name}: …}} names another column."
            )
        if headings.count(likenesses[name]) > 1:
            raise DataError(f"{where}: the column '{legible(names[name])}' is there twice.")
    return {name: headings.index(heading) for name, heading in likenesses.items() if heading in headings}


def _headed(header: Sequence[str], records: Sequence[tuple[int, Sequence[str]]]) -> list[bool]:
    """Which columns may hold something: those with a heading, and those filled in every row, as an index is."""
    return [
        bool(name.strip()) or all(i < len(record) and record[i].strip() for _, record in records)
        for i, name in enumerate(header)
    ]


@dataclass
class _CsvRows:
    """The rows of one CSV, and what is wrong with others."""

    path: Path
    base: Path
    columns: Mapping[str, int]
    headed: Sequence[bool]
    source: Manifest
    finding_columns: Mapping[str, int]
    rows: list[CaseRow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    omissions: int = 0
    unread: int = 0
    """Rows in which no finding is known."""
    row_of_image: dict[tuple[str, Frames], int] = field(default_factory=dict)

    def take(self, number: int, record: Sequence[str]) -> None:
        """Read one row."""
        cells = {name: record[i].strip() if i < len(record) else "" for name, i in self.columns.items()}
        split = as_split(cells["split"], self.source.splits) if "split" in cells else None
        if wrong := self._shape(record) or self._wrong(cells, split):
            self.problems.append(Problem(str(self.path), number, wrong))
            return
        if split == "unused":
            self.omissions += 1
            return
        if self.source.findings:
            values = self._findings(cells, record)
            if isinstance(values, str):
                self.problems.append(Problem(str(self.path), number, values))
                return
            if not (label := findings.join(values)):
                self.unread += 1
                return
            cells["label"] = label
        frame = likeness(cells.get("frame", ""))
        frames: Frames = int(frame) if frame.isdecimal() else self.source.frames
        file = _existing(self.base, cells["path"])
        first = self.row_of_image.setdefault((_real(file), frames), number)
        if first != number:
            self.problems.append(
                Problem(str(self.path), number, f"the same image as in row {first}: {legible(cells['path'])}")
            )
            return
        self.rows.append(
            CaseRow(ImageFile(file), cells["label"], number, cells.get("site"), cells.get("patient"), split, frames)
        )  # fmt: skip

    def _findings(self, cells: Mapping[str, str], record: Sequence[str]) -> dict[str, int] | str:
        """What a row says of every finding, or what is wrong with it."""
        if not self.finding_columns:
            return findings.read_list(cells["label"], self.source)
        words = {name: record[i].strip() if i < len(record) else "" for name, i in self.finding_columns.items()}
        values = {name: findings.meaning(word, self.source) for name, word in words.items()}
        wrong = next((name for name, value in values.items() if value is None), None)
        if wrong:
            return findings.wrong_word(wrong, words[wrong], self.source)
        return {name: value for name, value in values.items() if value is not None}

    def _shape(self, record: Sequence[str]) -> str | None:
        last = max(i for i, is_headed in enumerate(self.headed) if is_headed) + 1
        odd = [i for i, cell in enumerate(record) if cell.strip() and (i >= len(self.headed) or not self.headed[i])]
        if len(record) < last or any(i >= len(self.headed) for i in odd):
            return f"has {len(record)} cells, the header has {last}; are cells with a comma in quotes?"
        return f"the cell '{legible(record[odd[0]].strip())}' stands in a column without a heading" if odd else None

    def _wrong(self, cells: Mapping[str, str], split: object) -> str | None:
        """What is wrong with the cells of a row."""
        for name, cell in cells.items():
            may_say_nothing = name in ("frame", "label", "patient")  # a patient who is not known is nobody's
            if self.source.findings and name == "label":
                continue
            if (not cell and name != "frame") or (not may_say_nothing and says_nothing(cell)):
                what = f"says '{legible(cell)}', which is nothing" if cell else "is empty"
                return f"the cell '{name}' {what}"
        if is_cut_number(cells.get("patient", "")):
            return (
                f"patient '{cells['patient']}' is a number that a spreadsheet has cut short; export the column as text"
            )
        frame = cells.get("frame", "")
        if not says_nothing(frame) and not (likeness(frame).isdecimal() and len(likeness(frame)) < 10):
            return f"frame '{legible(frame)}'; expected a whole number from 0"
        if "split" in cells and split is None:
            return f"split '{legible(cells['split'])}'; expected {', '.join(SPLITS)}, or say in data.splits which it is"
        return None if self.source.findings else wrong_label(cells["label"], self.source)


def _existing(base: Path, text: str) -> Path:
    """The file that a cell means; also with the slashes of Windows, or its accents written in the other way."""
    spellings = dict.fromkeys((text, text.replace("\\", "/")))
    forms = [base / unicodedata.normalize(form, t) for t in spellings for form in ("NFC", "NFD")]
    return next((file for file in [base / t for t in spellings] + forms if _is_there(file)), base / text)


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return False


def _real(file: Path) -> str:
    try:
        return real_path(file)
    except ValueError:
        return str(file)

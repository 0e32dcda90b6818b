"""A worklist: a CSV with an accession number a row, and its label; the same words are refused as in a list of files."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from client.sources import csv_text, findings, spelling
from client.sources.case_table import SPLITS, Problem, Split, as_split, located
from client.sources.spelling import is_cut_number, likeness, says_nothing, wrong_label
from common.cli.harmless import legible
from common.config import Manifest
from common.errors import DataError

COLUMNS = ("accession", "label", "split")
HEADINGS = {"accession": ("accession", "accession number", "accessionnumber", "accession_number")}
"""What a column may be called without `--columns`; others by their own name."""
NEVER = re.compile(r"[*?\\\x00-\x1f]")
"""Wildcards of a query, and what ends a value: an accession number with one would find other studies."""
MOST_LETTERS = 16
"""Of an accession number (PS3.5, SH)."""


@dataclass(frozen=True)
class WorkItem:
    """One study that is wanted."""

    accession: str
    label: str
    """Its class, or its findings (`client.sources.findings`)."""
    number: int
    """Row of the CSV; the header is row 1."""
    split: Split | None = None


@dataclass
class Worklist:
    """What is wanted, and what is wrong with other rows."""

    path: Path
    items: list[WorkItem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    remarks: tuple[str, ...] = ()


def read_worklist(source: Manifest, columns: Mapping[str, str], labels: bool = True) -> Worklist:
    """Read and check a worklist.

    Args:
        columns: what the CSV calls a column, e.g. `{"label": "Befund"}`.
        labels: whether it must have labels; counting needs none.

    Raises:
        DataError: no such CSV, or labels that are spelt in several ways.
    """
    path = located(source.path)
    cells = csv_text.read(path, source.encoding)
    (first, header), *records = cells.records or [(1, [])]
    finding_columns = findings.columns(f"{path}, row {first}", header, source) if source.findings else {}
    needed = ("accession", "label") if labels and not finding_columns else ("accession",)
    at = _columns(f"{path}, row {first}", header, columns, needed)
    if not records:
        raise DataError(f"{path}: an empty list: no row below the header. Expected a row a study.")
    worklist = Worklist(path, remarks=cells.remarks)
    for number, record in records:
        cell = {name: record[i].strip() if i < len(record) else "" for name, i in at.items()}
        item = _item(cell, record, number, source, finding_columns, labels)
        if isinstance(item, WorkItem):
            worklist.items.append(item)
        elif item:
            worklist.problems.append(Problem(str(path), number, item))
    _join(worklist)
    if labels and not source.findings:
        words = [item.label for item in worklist.items]
        settled = spelling.settle(
            str(path), "labels", words, source, lambda i: f"row {worklist.items[i].number}"
        )  # fmt: skip
        worklist.items = [replace(item, label=word) for item, word in zip(worklist.items, settled, strict=True)]
    return worklist


def _columns(where: str, header: Sequence[str], names: Mapping[str, str], needed: Sequence[str]) -> dict[str, int]:
    headings = [likeness(name) for name in header]
    at = dict[str, int]()
    for column in COLUMNS:
        names_alike = [
            likeness(word) for word in ((names[column],) if column in names else HEADINGS.get(column, (column,)))
        ]
        places = [i for i, heading in enumerate(headings) if heading in names_alike]
        if len(places) > 1:
            raise DataError(f"{where}: two columns could be the {column}; name one: --columns {column}=NAME.")
        if places:
            at[column] = places[0]
        if column in needed and not places:
            others = ", ".join(legible(name.strip()) for name in header if name.strip()) or "nothing"
            near = difflib.get_close_matches(names_alike[0], headings, 1, 0.7)
            hint = f"; did you mean '{legible(header[headings.index(near[0])].strip())}'?" if near else ""
            raise DataError(
                f"{where}: no column '{legible(names.get(column, column))}' (found {others}){hint} Expected accession "
                f"and label; --columns {column}=NAME names another."
            )
    return at


def wrong_accession(accession: str) -> str | None:
    """Why a word is no accession number that an archive can be asked for; None: it is one."""
    if not accession or says_nothing(accession):
        return "names no accession number"
    if is_cut_number(accession):
        return f"accession '{accession}' is a number that a spreadsheet has cut short; export the column as text"
    if len(accession) > MOST_LETTERS or NEVER.search(accession):
        return f"accession '{legible(accession)}'; expected at most {MOST_LETTERS} letters, and none of * ? \\"
    return None


def _item(
    cell: Mapping[str, str], record: Sequence[str], number: int, source: Manifest, finding_columns: Mapping[str, int],
    labels: bool,
) -> WorkItem | str | None:  # fmt: skip
    """A row, or what is wrong with it; None: as the list says, it is not used."""
    accession, label, split = cell["accession"], cell.get("label", ""), None
    if wrong := wrong_accession(accession):
        return wrong
    if "split" in cell:
        meaning = as_split(cell["split"], source.splits)
        if meaning == "unused":
            return None
        if meaning is None:
            return f"split '{legible(cell['split'])}'; expected {', '.join(SPLITS)}, or say in data.splits which it is"
        split = meaning
    if labels and source.findings:
        return _with_findings(WorkItem(accession, "", number, split), label, record, source, finding_columns)
    if labels and (wrong := wrong_label(label, source) if label else "has no label"):
        return wrong
    return WorkItem(accession, label, number, split)


def _with_findings(
    item: WorkItem, label: str, record: Sequence[str], source: Manifest, columns: Mapping[str, int]
) -> WorkItem | str:  # fmt: skip
    if not columns:
        values = findings.read_list(label, source)
        if isinstance(values, str):
            return values
        return replace(item, label=word) if (word := findings.join(values)) else "no finding is known in it"
    words = {name: record[i].strip() if i < len(record) else "" for name, i in columns.items()}
    meanings = {name: findings.meaning(word, source) for name, word in words.items()}
    if wrong := next((name for name, value in meanings.items() if value is None), None):
        return findings.wrong_word(wrong, words[wrong], source)
    word = findings.join({name: value for name, value in meanings.items() if value is not None})
    return replace(item, label=word) if word else "no finding is known in it"


def _join(worklist: Worklist) -> None:
    """One item for each accession number. Of rows that contradict each other, or may mean one study, none is taken."""
    groups: dict[str, list[WorkItem]] = {}
    for item in worklist.items:
        groups.setdefault(likeness(item.accession), []).append(item)
    worklist.items = []
    for group in groups.values():
        rows = " and ".join(str(item.number) for item in group)
        if len({item.accession for item in group}) > 1:
            names = ", ".join(f"'{legible(item.accession)}'" for item in group)
            what = f"{names} in rows {rows} differ in their spelling alone; correct them, or remove all but one"
        elif len({(item.label, item.split) for item in group}) > 1:
            meanings = ", ".join(f"'{legible(item.label)}'" for item in group)
            what = f"accession {legible(group[0].accession)} stands in rows {rows}, as {meanings}; which is right?"
        else:
            worklist.items.append(group[0])
            if len(group) > 1:
                worklist.remarks += (f"accession {legible(group[0].accession)} stands in rows {rows}, alike",)
            continue
        worklist.problems += [Problem(str(worklist.path), item.number, what) for item in group]

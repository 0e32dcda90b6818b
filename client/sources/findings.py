"""Several findings an image, as data sets write them: a cell or a number a finding, or a list of those present.

Nothing is taken for absent that nobody has said is: an empty cell, NaN, a missing column and a word of `data.unknown`
are UNKNOWN, and what is uncertain counts as `data.uncertain` says.

A case's findings travel as one word, `nodule=1|effusion=0`, in the place of a class; what it does not name is unknown.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.sources.spelling import likeness, says_nothing
from common.cli.harmless import legible
from common.config import Manifest, WithFindings
from common.errors import DataError
from common.types import UNKNOWN, Labels

_MEANINGS = {"1": 1, "true": 1, "yes": 1, "present": 1, "positive": 1}
_MEANINGS |= {"0": 0, "false": 0, "no": 0, "absent": 0, "negative": 0}
_UNCERTAIN = ("-1", "u", "uncertain")
_RULES = {"unknown": UNKNOWN, "present": 1, "absent": 0}


def meaning(word: str, source: WithFindings) -> int | None:
    """1, 0 or UNKNOWN, as the word of a cell says; None if it says none of them."""
    alike = likeness(word)
    if not word.strip() or says_nothing(word) or alike in map(likeness, source.unknown):
        return UNKNOWN
    return _RULES.get(source.uncertain) if alike in _UNCERTAIN else _MEANINGS.get(alike)


def wrong_word(name: str, word: str, source: WithFindings) -> str:
    """Why a word says nothing of a finding."""
    if likeness(word) in _UNCERTAIN:
        return f"'{name}' is uncertain ({legible(word)}); say in data.uncertain what that counts as: unknown, present …"
    return f"'{name}' says '{legible(word)}'; expected 1, 0 or nothing, or name the word in data.unknown"


def join(values: Mapping[str, int]) -> str:
    """A case's findings as one word; empty where none is known."""
    return "|".join(f"{name}={value}" for name, value in values.items() if value != UNKNOWN)


def matrix(words: Iterable[str], names: Sequence[str]) -> Labels:
    """Labels int64[n, findings] of such words; findings that are not among the names are passed over.

    Raises:
        DataError: a word that is a class.
    """
    words = list(words)
    if strange := [word for word in words if word and "=" not in word]:
        raise DataError(f"label '{legible(strange[0])}' is a class, no findings; name it in data.labels instead.")
    parts = [dict(part.rpartition("=")[::2] for part in word.split("|") if part) for word in words]
    return np.array([[int(part.get(name, UNKNOWN)) for name in names] for part in parts], np.int64).reshape(
        -1, len(names)
    )


def columns(where: str, header: Sequence[str], source: Manifest) -> dict[str, int]:
    """Where the column of each finding is; a finding without one is known in no row.

    Raises:
        DataError: a column that is there twice, or spelt nearly as a finding that has none.
    """
    headings = [likeness(name) for name in header]
    for name in source.findings:
        if headings.count(likeness(name)) > 1:
            raise DataError(f"{where}: the column '{legible(name)}' is there twice.")
    at = {name: headings.index(likeness(name)) for name in source.findings if likeness(name) in headings}
    missing = {likeness(name): name for name in source.findings if name not in at}
    for heading, text in zip(headings, header, strict=True):
        near = difflib.get_close_matches(heading, missing, 1, 0.8)
        if near and not any(heading == likeness(name) for name in at):
            raise DataError(
                f"{where}: column '{legible(text.strip())}'; did you mean the finding '{missing[near[0]]}'? Spell it "
                "as in data.findings, or rename the column."
            )
    return at


def read_list(cell: str, source: Manifest) -> dict[str, int] | str:
    """What a list of those present says, `a|b`; or why it says nothing. An empty cell knows nothing."""
    if says_nothing(cell):
        return {}
    words = [part.strip() for part in cell.split("|") if part.strip()]
    by_likeness = {likeness(name): name for name in source.findings}
    others = set(map(likeness, source.other_findings))
    if strange := [w for w in words if likeness(w) not in by_likeness and likeness(w) not in others]:
        return (
            f"'{legible(strange[0])}' is none of data.findings ({', '.join(map(legible, source.findings))}); if it is "
            "to be passed over, name it in data.other_findings"
        )
    present = {by_likeness.get(likeness(w)) for w in words}
    return {name: int(name in present) for name in source.findings}


def of_array(path: Path, target: str, values: NDArray[Any], source: WithFindings) -> Labels:
    """Labels int64[n, findings] of an array with a column a finding.

    Raises:
        DataError: another shape, or a value that says neither.
    """
    k = len(source.findings)
    if values.ndim != 2 or values.shape[1] != k or values.dtype.kind not in "uifbU":
        raise DataError(
            f"{path}: array '{target}' is {values.dtype}{list(values.shape)}; expected a column for each of the {k} "
            f"findings of data.findings ({', '.join(map(legible, source.findings))}), [n, {k}]."
        )
    labels = np.full(values.shape, UNKNOWN, np.int64)
    for value in np.unique(values):
        text = str(int(value)) if values.dtype.kind in "uib" else f"{value:g}" if values.dtype.kind == "f" else value
        here = np.isnan(values) if values.dtype.kind == "f" and np.isnan(value) else values == value
        code = meaning(str(text), source)
        if code is None:
            row, column = map(int, np.argwhere(here)[0])
            what = wrong_word(source.findings[column], str(text), source)
            raise DataError(f"{path}: {target}[{row}]: {what} ({int(here.sum())} such values).")
        labels[here] = code
    return labels

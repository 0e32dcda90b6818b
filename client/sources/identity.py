"""Whom an image shows: by a rule over its name, by its header, or by what surely belongs to one person.

A header may name nobody: anonymisers write ANONYMOUS or 0 for everybody. Then the study says what belongs together,
else the series, else the file: the widest of them that is known, for none of them holds two people.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

_NOBODY = re.compile(
    r"(anon[^\W\d]*|deid[^\W\d]*|unknown|unk|none|null|nil|nan?|no|not|available|known|given|patient|subject|name|id|pid|"
    r"number|removed|redacted|hidden|masked|x+|unbekannt|inconnu|desconocido|sconosciuto)*"
)
"""What stands for nobody, of letters alone: a number makes a pseudonym of it."""

Belonging = Mapping[str, str | None]
"""Of a header: its `patient`, `study` and `series`."""


def is_somebody(patient: str | None) -> bool:
    """Whether a patient's number names one: not where it is empty, `ANONYMOUS`, `unknown`, `n/a` …"""
    return bool(patient) and not _NOBODY.fullmatch("".join(c for c in str(patient).casefold() if c.isalnum()))


def patients(headers: Sequence[str | None]) -> tuple[str | None, ...] | None:
    """The patients whom headers name; None where they name nobody, or all the same.

    Zeros name somebody only where people are numbered: where there is a 1.
    """
    is_numbered = any((who or "").lstrip("0") == "1" for who in headers)
    names = tuple(who if is_somebody(who) and (is_numbered or str(who).strip("0")) else None for who in headers)
    return names if len(set(names)) > 1 else None


def units(belongings: Sequence[Belonging], files: Sequence[str]) -> tuple[str | None, ...]:
    """What holds each case together with others of one person where the patient is not known.

    Args:
        files: in which each case is; it holds together where several are in one.
    """
    counts = Counter(files)
    columns = [[belonging.get(key) for belonging in belongings] for key in ("study", "series")]
    telling = [len(set(column)) > 1 for column in columns]  # one for all tells nothing apart
    return tuple(
        f"study {study}" if study and telling[0]
        else f"series {series}" if series and telling[1]
        else f"file {file}" if counts[file] > 1
        else None
        for study, series, file in zip(*columns, files, strict=True)
    )  # fmt: skip


def through_units(headers: Sequence[str | None] | None, units: Sequence[str | None]) -> tuple[str | None, ...] | None:
    """Patients, also of images that name nobody in a study (series, file) of which others name one."""
    if headers is None:
        return None
    patients: dict[str, set[str]] = {}
    for patient, unit in zip(headers, units, strict=True):
        if patient and unit:
            patients.setdefault(unit, set()).add(patient)
    only = {unit: next(iter(those)) for unit, those in patients.items() if len(those) == 1}
    return tuple(patient or only.get(unit or "") for patient, unit in zip(headers, units, strict=True))


def by_rule(rule: str, text: str) -> str | None:
    """The patient whom a name tells: what the rule's groups match, else all that it matches; None: nothing."""
    if (match := re.search(rule, text)) is None:
        return None
    return "/".join(part for part in match.groups() if part) or match[0] or None


# --- a rule that the names suggest ----------------------------------------------------------------------------------

_WORD = re.compile(
    r"(?:(patient|subject|person|case|study|exam|pat|sub|pid|mrn)|(?:^|[/ _.-])(pt|p|s))[ _-]?(?=\d)", re.I
)
_OTHER_RULES = (
    r"/([^/]+)/[^/]+$",  # ill/012/slice3
    r"([^/]+)[ _-][^/ _-]+$",  # 012_slice3, IM-0001-0003
)
MANY = 50
"""Images of one person, on the average, beyond which what names share is no person."""


def suggestion(names: Sequence[str], classes: int) -> tuple[str, int] | None:
    """A rule by which names (relative paths) seem to tell patients, and how many it makes; None: they do not.

    It fits all names, and makes more groups than there are classes, some of them of several images.
    """
    word = _WORD.search(names[0])
    rules = (rf"{re.escape(word[0])}(\d+)", *_OTHER_RULES) if word else _OTHER_RULES
    for rule in rules:
        people = {by_rule(rule, name) for name in names}
        if None not in people and max(classes + 1, len(names) / MANY) <= len(people) < len(names):
            return rule, len(people)
    return None

"""What is wrong with a file, for the person who wrote it: the key as written, what was expected, the nearest key."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

NEAR = 0.6
"""Likeness (difflib) from which another key is offered."""
SAME_SECTION = 0.15
"""What a key of the same section is preferred by."""


def readable(path: Path, error: ValidationError, section: type[BaseModel]) -> str:
    """One line a fault: the key as the user writes it, what is wrong, and the nearest known key.

    `section` is the class that the file was checked by.
    """
    lines = [f"  {_key(fault, section)}: {_explanation(fault, section)}" for fault in error.errors()]
    return f"{path}: {len(lines)} thing{'s' * (len(lines) > 1)} to mend:\n" + "\n".join(dict.fromkeys(lines))


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong with what a program wrote: its place, and what is expected there."""
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def _key(fault: ErrorDetails, section: type[BaseModel]) -> str:
    return ".".join(_as_written(fault["loc"], section)) or "(whole file)"


def _explanation(fault: ErrorDetails, section: type[BaseModel]) -> str:
    """What is wrong, and what was expected."""
    kind, value = fault["type"], fault.get("input")
    if kind == "extra_forbidden":
        near = _nearest_key(fault["loc"], section)
        return "unknown key" + (f"; did you mean '{near}'?" if near else "; see docs/configuration.md")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        discriminator = fault["ctx"]["discriminator"]
        kinds = fault["ctx"].get("expected_tags", "one of the known kinds")
        return f"{discriminator} is missing or unknown; expected {kinds}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "expected a section: `key: value` lines below it, or {key: value}"
    if kind == "tuple_type":
        return f"expected a list: [{value}]" if isinstance(value, str | int | float) else "expected a list: [a, b]"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"expected text, got {value!r}: put it in quotes (YAML reads yes, no and 3 otherwise)"
    if kind == "missing":
        return "missing; it has no default"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{message} (got {value!r})" if isinstance(value, str | int | float) else message


def _nearest_key(location: tuple[int | str, ...], section: type[BaseModel]) -> str | None:
    """The known key that is most like an unknown one, dotted: of the same section, or of another part of the file."""
    *parents, name = _as_written(location, section)
    neighbours = [(*parents, key) for inner in _sections_at(location, section) for key in inner.model_fields]
    preference = dict.fromkeys(_all_keys(section), 0.0) | dict.fromkeys(neighbours, SAME_SECTION)
    likeness = {key: difflib.SequenceMatcher(None, name, key[-1]).ratio() for key in preference}
    near = [key for key, ratio in likeness.items() if ratio >= NEAR]
    nearest = max(near, key=lambda key: likeness[key] + preference[key], default=())
    return ".".join(nearest) or None


def _as_written(location: tuple[int | str, ...], section: type[BaseModel]) -> list[str]:
    """A fault's place without the kinds of sections, which pydantic puts in and the file does not have as keys."""
    return [
        str(part)
        for i, part in enumerate(location)
        if part not in {_kind(inner) for inner in _sections_at(location[: i + 1], section)}
    ]


def _sections_at(location: tuple[int | str, ...], section: type[BaseModel]) -> set[type[BaseModel]]:
    """The classes that may stand around the last part of a place: several where the kind of a section is unknown."""
    sections = {section}
    for part in location[:-1]:
        inner = {
            nested
            for outer in sections
            if part in outer.model_fields
            for nested in _nested(outer.model_fields[str(part)].annotation)
        }
        # what is no field is an index, a name that the user chose, or the kind of a section
        sections = inner or {candidate for candidate in sections if _kind(candidate) == part} or sections
    return sections


def _all_keys(section: type[BaseModel], parents: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key below a section, but for those in lists."""
    for name, field in section.model_fields.items():
        yield (*parents, name)
        for inner in _nested(field.annotation, in_lists=False):
            yield from _all_keys(inner, (*parents, name))


def _nested(annotation: Any, in_lists: bool = True) -> Iterator[type[BaseModel]]:
    """The sections that a field's type names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif in_lists or getattr(annotation, "__origin__", None) not in (tuple, dict):
        for part in get_args(annotation):
            yield from _nested(part, in_lists)


def _kind(section: type[BaseModel]) -> str | None:
    """By which value of `kind` or `step` a section is chosen among its like; none where it is the only one."""
    tag = section.model_fields.get("kind") or section.model_fields.get("step")
    return get_args(tag.annotation)[0] if tag and get_args(tag.annotation) else None

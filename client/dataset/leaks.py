"""What of a data set may be on both sides of a split: people who are not known, images that are there again."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.dataset.readiness_report import Finding
from client.dataset.splits import Division
from client.sources import identity
from client.sources.case_table import Facts, Table, located
from common.config import Config, Folder, Manifest, Synthetic


@dataclass(frozen=True)
class Examined:
    """A data set that was read and divided."""

    config: Config
    table: Table
    division: Division
    facts: list[Facts]
    people: list[str]


def _patients(data: Examined) -> Iterator[Finding]:
    persons = [data.table.person(i) for i in range(len(data.table))]
    by = Counter((who or "nothing").partition(" ")[0] for who in persons)
    if isinstance(data.config.data, Synthetic):
        yield Finding("ok", "every phantom is a person of its own")
    elif by["patient"] == len(persons):
        yield Finding("ok", f"{len(set(data.people))} patients, none on both sides of a split")
    else:
        groups = [
            f"{by[kind]} by {word}, of which there are {_many(persons, kind)}"
            for kind, word in _UNITS.items()
            if by[kind]
        ]
        alone = f"each of {by['nothing']} images counts as a person" if by["nothing"] else ""
        remark = f" (kept together: {', '.join(groups)}{'; ' if alone else ''}{alone})" if groups else f" ({alone})"
        rule, example = _suggestion(data)
        yield Finding(
            "warning",
            f"no patient is known for {len(persons) - by['patient']} cases: images of one person may be on both sides "
            f"of a split{remark}" + (". The names seem to tell patients:" if rule else ""),
            f"if so, set data.patients: '{rule}'" if rule else "give a patient column, or a rule as data.patients",
            example,
        )


def _many(persons: Sequence[str | None], kind: str) -> int:
    return len({who for who in persons if who and who.startswith(f"{kind} ")})


_UNITS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "file": "file"}


def _suggestion(data: Examined) -> tuple[str, tuple[str, ...]]:
    """A rule to set where the names seem to tell patients, and an example; else nothing."""
    source = data.config.data
    if not isinstance(source, Folder | Manifest) or data.table.patient is not None:
        return "", ()
    root = located(source.path) if isinstance(source, Folder) else located(source.path).parent
    names = [
        data.table.images.name(i).removeprefix(f"{root}/").partition(" (frame ")[0] for i in range(len(data.table))
    ]
    if (suggestion := identity.suggestion(names, len(data.table.classes))) is None:
        return "", ()
    rule, people = suggestion
    return rule, (f"{names[0]} shows '{identity.by_rule(rule, names[0])}', one of {people} in {len(names)} images",)


def _shared_numbers(data: Examined) -> Iterator[Finding]:
    if data.table.patient is None or data.table.site is None:
        return
    sites = defaultdict(set)
    for patient, site in zip(data.table.patient, data.table.site, strict=True):
        sites[patient].add(site)
    if shared_numbers := [patient for patient, at in sites.items() if patient and len(at) > 1]:
        yield Finding(
            "warning",
            f"{len(shared_numbers)} patient numbers are in use at several sites:",
            "if they are the same people, merge their cases at one site",
            tuple(shared_numbers),
        )


def _shared_studies(data: Examined) -> Iterator[Finding]:
    patients = defaultdict(set)
    for patient, unit in zip(data.table.patient or (), data.table.unit or (), strict=False):
        if patient and unit and not unit.startswith("file "):
            patients[unit].add(patient)
    if several := [f"{unit}: {', '.join(sorted(those))}" for unit, those in patients.items() if len(those) > 1]:
        yield Finding(
            "warning",
            f"{len(several)} studies or series have several patients, who are taken for as many people:",
            "if a number was mistyped, correct it: one person may be on both sides of a split",
            tuple(several),
        )


def _duplicates(data: Examined) -> Iterator[Finding]:
    groups = defaultdict(list)
    for i, fact in enumerate(data.facts):
        if data.division.site[i] >= 0:
            groups[fact.digest].append(i)
    again = [group for group in groups.values() if len(group) > 1]
    if not again:
        yield Finding("ok", "no image is there twice")
    kinds: list[tuple[str, str, Callable[[list[int]], bool]]] = [
        ("with different labels", "correct the labels", _differ(data.table.labels)),
        ("across splits", "take them out of one side: what is tested must be new", _differ(data.division.split)),
        ("across sites", "keep each at one site", _differ(data.division.site)),
        ("within one split", "keep one of each", lambda _: True),
    ]
    for where, todo, belongs in kinds:
        if groups_here := [group for group in again if belongs(group)]:
            pairs = [(g[0], next((i for i in g[1:] if belongs([g[0], i])), g[1])) for g in groups_here]
            names = tuple(f"{data.table.images.name(i)} = {data.table.images.name(j)}" for i, j in pairs)
            yield Finding("warning", f"{len(groups_here)} images are there again {where}:", todo, names)
            again = [group for group in again if group not in groups_here]


def _near_duplicates(data: Examined) -> Iterator[Finding]:
    twins, division = data.division.twins, data.division
    pairs = twins.pairs[(division.site[twins.pairs] >= 0).all(axis=1)]
    if not len(pairs):
        return
    kinds: list[tuple[str, str, NDArray[np.int64]]] = [
        (" with different labels", "correct the labels", data.table.labels),
        (" across splits", "take them out of one side: what is tested must be new", division.split),
        (" across sites", "keep each at one site", division.site),
    ]
    images = len(np.unique(pairs))
    least = "at least " if twins.count > len(twins.pairs) else ""
    yield Finding(
        "warning",
        f"{least}{len(pairs)} pairs of images are nearly the same ({images} of {len(data.table)} images, thumbnails "
        f"correlate by {data.config.sites.near_duplicates:g} or more); no split parts them that is made here:",
        "keep one of each; if they only resemble each other, raise sites.near_duplicates",
        tuple(_names(data, pairs)),
    )
    for where, todo, column in kinds:
        apart = pairs[column[pairs[:, 0]] != column[pairs[:, 1]]]
        if len(apart):
            what = f"{least}{len(apart)} pairs of nearly the same images{where}:"
            yield Finding("warning", what, todo, tuple(_names(data, apart)))


def _names(data: Examined, pairs: NDArray[np.int64]) -> Iterator[str]:
    name = data.table.images.name
    return (f"{name(int(i))} ≈ {name(int(j))}" for i, j in pairs)


def _differ(column: NDArray[np.int64]) -> Callable[[list[int]], bool]:
    return lambda group: len(set(column[group])) > 1


LOOKS: tuple[Callable[[Examined], Iterator[Finding]], ...] = (
    _patients, _shared_numbers, _shared_studies, _duplicates, _near_duplicates,
)  # fmt: skip

"""Is a data set ready to train on? Counts, sizes, ranges, duplicates and gaps, each with what to do about it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.dataset import loading, splits
from client.dataset.readiness_report import Finding, Level, Report, SiteSummary
from client.dataset.splits import Division
from client.sources.case_table import SPLITS, Facts, Table
from common.config import Config, Synthetic
from common.errors import ConfigError, DataError
from common.imaging import Pipeline
from common.imaging.steps import Window

FEW = 10
"""Fewer training cases of a class than this, or fewer held-out ones than half of it, are pointed out."""


@dataclass(frozen=True)
class _Data:
    config: Config
    table: Table
    division: Division
    facts: list[Facts]
    people: list[str]


def examine(config: Config) -> Report:
    """Read everything, divide it as the first seed would, and look at it.

    Raises:
        ConfigError: the configuration does not fit the data.
        DataError: the data cannot even be listed.
    """
    table = loading.open_table(config.data.model_copy(update={"on_error": "report"}))
    division = splits.divide(table, config.sites, config.seeds[0], "report")
    facts = [table.images.facts(i) for i in range(len(table))]
    data = _Data(config, table, division, facts, table.people())
    kind = "synthetic phantoms, " if isinstance(config.data, Synthetic) else ""
    return Report(
        origin=f"{kind}{division.text}",
        labels=table.classes,
        sites=tuple(_summary(data, i) for i in range(len(division.names))),
        findings=tuple(finding for look in _LOOKS for finding in look(data)),
    )


def _summary(data: _Data, site: int) -> SiteSummary:
    here = np.flatnonzero(data.division.site == site)
    counts = np.zeros((len(SPLITS), len(data.table.classes)), np.int64)
    np.add.at(counts, (data.division.split[here], data.table.labels[here]), 1)
    facts = [data.facts[i] for i in here]
    darkest, brightest = min((f.darkest for f in facts), default=0), max((f.brightest for f in facts), default=0)
    people = len({data.people[i] for i in here})
    return SiteSummary(data.division.names[site], counts, people, _sizes(facts), f"{darkest:.4g}…{brightest:.4g}")


def _sizes(facts: Sequence[Facts]) -> str:
    """`64×64`, or from the smallest to the largest."""
    shapes = sorted({f.shape for f in facts}, key=lambda shape: shape[0] * shape[1])
    ends = shapes if len(shapes) < 2 else [shapes[0], shapes[-1]]
    return "…".join(f"{h}×{w}" + (f"×{c}" if c > 1 else "") for h, w, c in ends) or "none"


# --- what is looked at ----------------------------------------------------------------------------------------------


def _unusable(data: _Data) -> Iterator[Finding]:
    problems = data.table.problems + data.division.problems
    if not problems:
        yield Finding("ok", f"all {len(data.table)} cases have a label and an image that can be read")
        return
    level: Level = "error" if data.config.data.on_error == "stop" else "warning"
    todo = "mend or remove them" + ("; or data.on_error: report" if level == "error" else "; a run leaves them out")
    yield Finding(level, f"{len(problems)} bad cases:", todo, tuple(map(str, problems)))


def _sizes_after(data: _Data) -> Iterator[Finding]:
    """Run the pipeline on one image of every size."""
    examples = {fact.shape: i for i, fact in enumerate(data.facts)}
    try:
        pipeline = Pipeline(data.config.preprocess)
        shape = pipeline.before(data.table.images.pictures(list(examples.values()))).shape
    except (ConfigError, DataError) as error:
        yield Finding("error", str(error))
        return
    yield Finding("ok", f"images of {len(examples)} size(s) become {shape[1]}×{shape[2]}×{shape[3]} for the model")


def _patients(data: _Data) -> Iterator[Finding]:
    patients = data.table.patient
    if isinstance(data.config.data, Synthetic):
        yield Finding("ok", "every phantom is a person of its own")
    elif patients is None or not all(patients):
        unknown = len(data.table) if patients is None else patients.count(None)
        yield Finding(
            "warning",
            f"no patient is known for {unknown} cases: images of one person may be on both sides of a split",
            "give a patient column; until then identical images and frames of a file count as one person",
        )
    else:
        yield Finding("ok", f"{len(set(data.people))} patients, none on both sides of a split")


def _shared_numbers(data: _Data) -> Iterator[Finding]:
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


def _duplicates(data: _Data) -> Iterator[Finding]:
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


def _differ(column: NDArray[np.int64]) -> Callable[[list[int]], bool]:
    return lambda group: len(set(column[group])) > 1


def _gaps(data: _Data) -> Iterator[Finding]:
    fine = True
    for site, name in enumerate(data.division.names):
        counts = _summary(data, site).counts
        if not counts[0].sum():
            level: Level = "error" if data.config.data.on_error == "stop" else "warning"
            yield Finding(
                level, f"site '{name}' has nothing to train on", "bring it cases, or lower validation and test"
            )
            fine = False
            continue
        scarce = []
        for split, of_split in zip(SPLITS, counts, strict=True):
            few = FEW if split == "train" else FEW // 2
            few_of_class = [f"{n} of '{c}'" for n, c in zip(of_split, data.table.classes, strict=True) if n < few]
            scarce += [f"{split} {', '.join(few_of_class)}"] if few_of_class else []
        if scarce:
            what = f"site '{name}' has few cases: {'; '.join(scarce)}"
            yield Finding("warning", what, "its figures will be coarse, and missing where a class has none; bring more")
            fine = False
    if fine:
        yield Finding("ok", "every site has enough cases of every class in every split")


def _constant(data: _Data) -> Iterator[Finding]:
    flat = [data.table.images.name(i) for i, f in enumerate(data.facts) if f.darkest == f.brightest]
    if flat:
        yield Finding("warning", f"{len(flat)} images have one value everywhere:", "look at them", tuple(flat))


def _few_bits(data: _Data) -> Iterator[Finding]:
    """Images of 16 bits by their file of which few are used come out nearly black unless a window says which."""
    window = Pipeline(data.config.preprocess).steps[0]
    if not (isinstance(window, Window) and window.source == "file" and window.center is None):
        return
    deep = [i for i in range(len(data.facts)) if data.table.images.nominal(i) == (0, _DEEPEST)]
    dark = [i for i in deep if data.facts[i].brightest < _DEEPEST / 8]
    if dark and len(dark) >= len(deep) / 2:
        brightest = max(data.facts[i].brightest for i in dark)
        bits = max(8, int(brightest).bit_length())
        high = 2**bits - 1
        yield Finding(
            "warning",
            f"{len(dark)} images are of 16 bits and use {bits} of them (the brightest value is {brightest:g}): they "
            "come out nearly black",
            f"put {{step: window, center: {high / 2:g}, width: {high}}} first in preprocess",
            tuple(data.table.images.name(i) for i in dark),
        )


_DEEPEST = 65535

_LOOKS: tuple[Callable[[_Data], Iterator[Finding]], ...] = (
    _unusable, _sizes_after, _patients, _shared_numbers, _duplicates, _constant, _few_bits, _gaps,
)  # fmt: skip

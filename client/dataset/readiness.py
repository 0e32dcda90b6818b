"""Is a data set ready to train on? Counts, sizes, ranges, duplicates and gaps, each with what to do about it."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from client.dataset import leaks, splits
from client.dataset.case_source import open_table
from client.dataset.leaks import Examined
from client.dataset.readiness_report import Finding, Level, Report, SiteSummary
from client.dataset.splits import Division
from client.home import Home
from client.sources.case_table import SPLITS, Facts, Table
from common.config import Config, Synthetic
from common.errors import ConfigError, DataError
from common.imaging import Pipeline
from common.imaging.steps import Window
from common.types import UNKNOWN, cases_by_class

FEW = 10
"""Fewer training cases of a class than this, or fewer held-out ones than half of it, are pointed out."""


_NOT_USED = "something of the data was not used, or was read in a way to look at"
"""What a model card says of it, where names have no place."""


def examine(config: Config, home: Home | None = None) -> Report:
    """Read everything, divide it as the first seed would, and look at it.

    Args:
        home: the site that somebody was let in at, for an encrypted data set.

    Raises:
        ConfigError: the configuration does not fit the data.
        DataError: the data cannot even be listed.
    """
    source = config.data.model_copy(update={"on_error": "report"})
    table = open_table(source, natural=config.sites.split == "natural", home=home)
    division = splits.divide(table, config.sites, config.seeds[0], "report")
    table = splits.hide(table, division, config.sites.unlabelled)
    data = _data(config, table, division)
    kind = "synthetic phantoms, " if isinstance(config.data, Synthetic) else ""
    return Report(
        origin=f"{kind}{division.text}",
        labels=table.classes,
        sites=tuple(_summary(data, i) for i in range(len(division.names))),
        findings=tuple(finding for look in _LOOKS for finding in look(data)),
    )


def warnings(config: Config, table: Table, division: Division) -> tuple[Finding, ...]:
    """What is to be doubted of data that a run takes as they are."""
    data = _data(config, table, division)
    return tuple(finding for look in _LOOKS for finding in look(data) if finding.level == "warning")


def _data(config: Config, table: Table, division: Division) -> Examined:
    return Examined(config, table, division, [table.images.facts(i) for i in range(len(table))], table.people())


def _summary(data: Examined, site: int) -> SiteSummary:
    here = np.flatnonzero(data.division.site == site)
    of_parts = [data.table.labels[here[data.division.split[here] == part]] for part in range(len(SPLITS))]
    counts = np.stack([cases_by_class(labels, len(data.table.classes)) for labels in of_parts])
    several = data.table.labels.ndim == 2
    label_counts = np.stack([(labels != UNKNOWN).sum(axis=0) for labels in of_parts]) if several else None
    facts = [data.facts[i] for i in here]
    darkest, brightest = min((f.darkest for f in facts), default=0), max((f.brightest for f in facts), default=0)
    people = len({data.people[i] for i in here})
    return SiteSummary(
        data.division.names[site], counts, label_counts, people, _sizes(facts), f"{darkest:.4g}…{brightest:.4g}"
    )


def _sizes(facts: Sequence[Facts]) -> str:
    """`64×64`, or from the smallest to the largest."""
    shapes = sorted({f.shape for f in facts}, key=lambda shape: shape[0] * shape[1])
    ends = shapes if len(shapes) < 2 else [shapes[0], shapes[-1]]
    return "…".join(f"{h}×{w}" + (f"×{c}" if c > 1 else "") for h, w, c in ends) or "none"


# --- what is looked at ----------------------------------------------------------------------------------------------


def _unusable(data: Examined) -> Iterator[Finding]:
    problems = data.table.problems + data.division.problems
    if not problems:
        yield Finding("ok", f"all {len(data.table)} cases have a label and an image that can be read")
        return
    level: Level = "error" if data.config.data.on_error == "stop" else "warning"
    todo = "mend or remove them" + ("; or data.on_error: report" if level == "error" else "; a run leaves them out")
    yield Finding(level, f"{len(problems)} bad cases:", todo, tuple(map(str, problems)))


def _unused(data: Examined) -> Iterator[Finding]:
    yield from (Finding("warning", what, nameless=_NOT_USED) for what in data.table.unused)


def _classes(data: Examined) -> Iterator[Finding]:
    if data.table.labels.ndim == 2:
        yield from _findings(data)
    elif len(present := set(data.table.labels.tolist())) < 2:
        what = f"all cases are '{data.table.classes[present.pop()]}': one site of several may be so, a simulation not"
        yield Finding("warning", what, "alone it has no figures; bring cases of another class if there are any")


def _findings(data: Examined) -> Iterator[Finding]:
    """Which findings are known where."""
    names, sites, is_known = data.table.classes, data.division.names, data.table.labels != UNKNOWN
    for j, name in enumerate(names):
        here = data.table.labels[is_known[:, j], j]
        if len(set(here.tolist())) < 2:
            what = f"no case {'without' if here.any() else 'with'} '{name}'" if len(here) else f"'{name}' is unknown"
            yield Finding("warning", f"{what}: one site of several may be so, a simulation not", "bring such cases")
        sites_without = [site for i, site in enumerate(sites) if not is_known[data.division.site == i, j].any()]
        if 0 < len(sites_without) < len(sites):
            what = f"nobody has looked for '{name}' at {', '.join(sites_without)}"
            yield Finding("warning", what, f"it is learned and judged at {len(sites) - len(sites_without)} sites alone")


def _sizes_after(data: Examined) -> Iterator[Finding]:
    """Run the pipeline on one image of every size."""
    examples = {fact.shape: i for i, fact in enumerate(data.facts)}
    try:
        pipeline = Pipeline(data.config.preprocess)
        shape = pipeline.before(data.table.images.pictures(list(examples.values()))).shape
    except (ConfigError, DataError) as error:
        yield Finding("error", str(error))
        return
    yield Finding("ok", f"images of {len(examples)} size(s) become {shape[1]}×{shape[2]}×{shape[3]} for the model")


def _gaps(data: Examined) -> Iterator[Finding]:
    fine = True
    for site, name in enumerate(data.division.names):
        summary = _summary(data, site)
        counts, names = summary.counts, data.table.classes
        if summary.label_counts is not None:  # of both answers; a finding that is unknown is another matter
            names = (*names, *(f"without {name}" for name in names))
            counts = np.concatenate([counts, summary.label_counts - counts], axis=1)
            here = np.tile(summary.label_counts.any(axis=0), 2)
            counts, names = counts[:, here], tuple(name for name, is_here in zip(names, here, strict=True) if is_here)
        if not ((data.division.site == site) & (data.division.split == 0)).any():
            level: Level = "error" if data.config.data.on_error == "stop" else "warning"
            yield Finding(
                level, f"site '{name}' has nothing to train on", "bring it cases, or lower validation and test"
            )
            fine = False
            continue
        scarce = []
        for split, of_split in zip(SPLITS, counts, strict=True):
            few = FEW if split == "train" else FEW // 2
            few_of_class = [f"{n} of '{c}'" for n, c in zip(of_split, names, strict=True) if n < few]
            scarce += [f"{split} {', '.join(few_of_class)}"] if few_of_class else []
        if scarce:
            what = f"site '{name}' has few cases: {'; '.join(scarce)}"
            yield Finding("warning", what, "its figures will be coarse, and missing where a class has none; bring more")
            fine = False
    if fine:
        yield Finding("ok", "every site has enough cases of every class in every split")


def _constant(data: Examined) -> Iterator[Finding]:
    flat = [data.table.images.name(i) for i, f in enumerate(data.facts) if f.darkest == f.brightest]
    if flat:
        yield Finding("warning", f"{len(flat)} images have one value everywhere:", "look at them", tuple(flat))


def _few_bits(data: Examined) -> Iterator[Finding]:
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
            f"{len(dark)} images are of 16 bits and use {bits} of them, a sliver of the range (the brightest value is "
            f"{brightest:g}): they come out dark",
            f"put {{step: window, center: {high / 2:g}, width: {high}}} first in preprocess",
            tuple(data.table.images.name(i) for i in dark),
        )


_DEEPEST = 65535

_LOOKS: tuple[Callable[[Examined], Iterator[Finding]], ...] = (
    _unusable, *leaks.LOOKS, _unused, _classes, _sizes_after, _constant, _few_bits, _gaps,
)  # fmt: skip

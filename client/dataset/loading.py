"""From a configuration to each site's cases: find them, read them, divide them, prepare them. *Read this first.*"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from client.dataset import readiness, splits
from client.dataset.case_source import open_table
from client.dataset.readiness_report import Finding
from client.dataset.splits import Division
from client.home import Home
from client.sources import cache_trim, prepared_cache
from client.sources.case_table import SPLITS, ImagesAsRead, Problem, Table, located
from client.sources.scanner_shift import ShiftedImages
from common.config import Config, Folder, Manifest, Sites, Synthetic
from common.errors import ConfigError, DataError
from common.image_stack import StoredImages, part
from common.imaging.pipeline import Pipeline
from common.types import Cases, Images, Places, SiteCases


@dataclass(frozen=True)
class SplitRow:
    """What the split says of one case; for people and for whoever computes the figures again."""

    case: str
    """What the data set calls its image."""
    site: str
    part: str
    """train, validation or test."""
    patient: str
    """Empty where the data name none."""
    label: str


@dataclass(frozen=True)
class PreparedData:
    """Everything that a simulation trains and tests on. All images are parts of one array, which nobody may change, or
    of one file of the cache."""

    sites: tuple[SiteCases, ...]
    test: Cases
    """The common test set: the data's own, else the sites' test cases together."""
    labels: tuple[str, ...]
    """Class names by index."""
    kind: Literal["natural", "simulated", "synthetic"]
    """What the sites are."""
    origin: str
    """The same for people, in a sentence."""
    problems: tuple[Problem, ...]
    """Cases that were left out (`on_error: report`)."""
    warnings: tuple[Finding, ...]
    """What `check` warns of."""
    pipeline: Pipeline
    rows: tuple[SplitRow, ...] = ()
    """Of all cases; those of the test in the order of `test`."""

    def without(self, site: str) -> "PreparedData":
        """The same with one site less: its cases train and choose nothing."""
        return replace(self, sites=tuple(s for s in self.sites if s.name != site))


def load(config: Config, seed: int, owner: str = "", home: Home | None = None, fold: int | None = None) -> PreparedData:
    """Read and divide the data of one run; the same configuration, data and seed give the same bits.

    Args:
        owner: the hospital whose all cases are, where its data name no site; none in a simulation.
        home: the site that somebody was let in at, for an encrypted data set.
        fold: which of `sites.folds` is tested on.

    Raises:
        ConfigError: the configuration does not fit the data.
        DataError: the data cannot be used; the message names file, row or site, and what to do.
    """
    start_s = time.time()
    table = open_table(config.data, natural=config.sites.split == "natural" and not owner, home=home)
    table = table.of(owner) if owner else table
    if not owner:
        _refuse_one_answer(table)
    division = splits.divide(table, config.sites, seed, config.data.on_error, fold)
    table = splits.hide(table, division, config.sites.unlabelled)
    division, empty = _without_empty_sites(table, division, config)
    # Ordered by split, then site: each site's part and the common test set are slices of one array, without a copy.
    order = np.lexsort((np.arange(len(table)), division.site, division.split))
    order = order[division.site[order] >= 0]
    pipeline = Pipeline(config.preprocess)
    images = _prepare(table, order, division, config, seed, pipeline)
    if isinstance(config.data, Folder | Manifest) or pipeline.embed or isinstance(images, StoredImages):
        # Nothing else has put anything there, and to look through a large cache takes longer than a small data set.
        cache_trim.trim(config.data.cache or Path("cache"), config.data.cache_gb, start_s)
    people = np.unique(table.people(), return_inverse=True)[1].astype(np.int64)[order]
    cases = _Slices(
        images,
        table.labels[order],
        division.split[order],
        division.site[order],
        people,
        _counts_patients(table, config),
    )
    common = cases.of(SPLITS.index("test"))
    sites = tuple(_site(cases, i, name, common, config.sites) for i, name in enumerate(division.names))
    return PreparedData(
        sites=tuple(site for site in sites if len(site.train)),
        test=common,
        labels=table.classes,
        kind="synthetic" if isinstance(config.data, Synthetic) else division.kind,
        origin=_origin(config, division),
        problems=table.problems + division.problems + empty,
        warnings=readiness.warnings(config, table, division),
        pipeline=pipeline,
        rows=tuple(_row(table, division, i) for i in order.tolist()),
    )


def _row(table: Table, division: Division, i: int) -> SplitRow:
    site, part = division.names[division.site[i]], SPLITS[division.split[i]]
    return SplitRow(table.images.name(i), site, part, table.person(i) or "", table.word(i))


def _refuse_one_answer(table: Table) -> None:
    """A simulation needs something to tell apart: two classes, or of every finding both answers."""
    if table.labels.ndim == 1 and len(np.unique(table.labels)) < 2:
        name = table.classes[table.labels[0]]
        raise DataError(f"All cases are '{name}'; a simulation needs at least two classes to tell apart.")
    for name, column in zip(table.classes, table.labels.T, strict=True) if table.labels.ndim == 2 else ():
        if not ((column == 0).any() and (column == 1).any()):
            raise DataError(
                f"No case {'without' if (column == 1).any() else 'with'} '{name}'; a simulation needs both answers of "
                "every finding. Leave it out of data.findings, or bring such cases."
            )


def _counts_patients(table: Table, config: Config) -> bool:
    """Whether a budget of privacy is for patients; no: it is for images, or there is none.

    Raises:
        ConfigError: the budget is for patients, and the data name none.
    """
    if config.budget is None or config.budget.of == "image":
        return False
    nameless = [i for i in range(len(table)) if table.person(i) is None]
    if nameless:
        raise ConfigError(
            f"privacy.of is patient, and {len(nameless)} of {len(table)} cases name no patient and no study. Name them "
            "(data.patients, or a column patient), or write privacy.of: image: the budget is then for each image, and "
            "a patient with several has more told of them."
        )
    return True


def _prepare(table: Table, order: Places, division: Division, config: Config, seed: int, pipeline: Pipeline) -> Images:
    """The images in this order: in memory, or on the disk where they are larger than `data.in_memory_mb`."""
    source, indices, most_bytes = config.data, order.tolist(), config.data.in_memory_mb << 20
    images: ImagesAsRead = table.images
    if config.sites.split == "scanner":
        images = ShiftedImages(table.images, division.site.tolist(), config.sites.shift, seed)
    if pipeline.embed or _bytes(len(indices), pipeline.before(images.pictures(indices[:1])).shape) > most_bytes:
        disk_images = prepared_cache.prepare(source.cache or Path("cache"), pipeline, images, indices)
        if _bytes(len(disk_images), disk_images.shape) > most_bytes:
            return disk_images
        stack = disk_images[:]
    else:
        stack = pipeline.before(images.pictures(indices))
    stack.flags.writeable = False
    return stack


def _bytes(count: int, shape: tuple[int, ...]) -> int:
    """Of so many images of a shape in memory."""
    return 4 * count * math.prod(shape[-3:])


@dataclass(frozen=True)
class _Slices:
    """Cases sorted by split, then site."""

    images: Images
    labels: NDArray[np.int64]
    split: NDArray[np.int64]
    site: NDArray[np.int64]
    people: NDArray[np.int64]
    counts_patients: bool
    """Whether training and validation are to know whom each case shows: the test cases always do, for intervals."""

    def of(self, split: int, site: int | None = None) -> Cases:
        here = np.flatnonzero((self.split == split) & (True if site is None else self.site == site))
        which = slice(here[0], here[-1] + 1) if len(here) else slice(0, 0)
        people = self.people[which] if self.counts_patients or split == SPLITS.index("test") else None
        return Cases(part(self.images, which), self.labels[which], people)


def _site(cases: _Slices, index: int, name: str, common: Cases, sites: Sites) -> SiteCases:
    train, validation, test = (cases.of(split, index) for split in range(len(SPLITS)))
    return SiteCases(name, train, validation, common if sites.test_on == "common" else test)


def _without_empty_sites(table: Table, division: Division, config: Config) -> tuple[Division, tuple[Problem, ...]]:
    """Refuse sites with nothing to train on, or leave them out."""
    counts = np.bincount(division.site[(division.split == 0) & (division.site >= 0)], minlength=len(division.names))
    empty = [i for i, count in enumerate(counts) if not count]
    if len(empty) == len(division.names):
        raise DataError("No site has a case to train on. Lower sites.validation and sites.test, or bring more cases.")
    if empty and config.data.on_error == "stop":
        raise DataError(
            f"Site '{division.names[empty[0]]}' has no case to train on. Bring it more cases, lower sites.validation "
            "and sites.test, or set data.on_error: report to leave such sites out."
        )
    problems = tuple(Problem(f"site {division.names[i]}", None, "left out: no case to train on") for i in empty)
    site = np.where(np.isin(division.site, empty), -1, division.site)
    return replace(division, site=site), problems


def _origin(config: Config, division: Division) -> str:
    if not isinstance(config.data, Synthetic):
        return f"{division.text}, {config.data.kind} data {located(config.data.path).name}"
    if division.kind == "natural":
        return f"{len(division.names)} synthetic hospitals, phantoms that the program draws (no patients)"
    return f"{division.text} of synthetic phantoms that the program draws (no patients)"

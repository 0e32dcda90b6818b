"""A table of cases: what a data set says of each image, before any image is looked at. One column an attribute.

Every source (CSV, folders, NPZ, phantoms) becomes such a table, and everything after it (splits, report, loading)
knows nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from client.readers.source import Sealer
from common.cli.harmless import legible
from common.errors import ConfigError, DataError, LabelError
from common.imaging import Picture
from common.types import Labels

Split = Literal["train", "validation", "test"]
Unused = Literal["unused"]
"""What a data set sets aside."""
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Problem:
    """A case that was left out, or something to look at."""

    file: str
    row: int | None
    """Row of the CSV (the header is row 1), or index of the case in an array (from 0)."""
    what: str

    def __str__(self) -> str:
        return f"{legible(self.file)}{'' if self.row is None else f', row {self.row}'}: {self.what}"


@dataclass(frozen=True)
class Facts:
    """What is known of one image as read, before preprocessing."""

    shape: tuple[int, int, int]
    """Height, width, channels."""
    darkest: float
    brightest: float
    digest: bytes
    """Of shape and pixels: two images with one digest are the same image."""


class ImagesAsRead(Protocol):
    """Images by number, before the preprocessing."""

    def name(self, index: int) -> str:
        """What a message calls this image: its path, or array and index."""
        ...

    def pictures(self, indices: Sequence[int]) -> Iterable[Picture]:
        """The images as read, one by one."""
        ...

    def view(self, index: int) -> bytes:
        """What decides how an image looks: the digest of its pixels, black and white."""
        ...

    def sealer(self, index: int) -> Sealer | None:
        """Through what numbers made of an image have to go before they may lie on a disk; None: as they are."""
        ...


class TableImages(ImagesAsRead, Protocol):
    """The images of a table, in its order."""

    def __len__(self) -> int: ...

    def facts(self, index: int) -> Facts:
        """Size, range and digest."""
        ...

    def nominal(self, index: int) -> tuple[float, float]:
        """What is shown as black and white."""
        ...

    def content(self, index: int) -> str:
        """A digest of what the image was taken from: cases with the same one show one person."""
        ...

    def thumbnail(self, index: int) -> bytes:
        """How it looks (`client.sources.thumbnail`); empty: it is compared with none."""
        ...


@dataclass(frozen=True)
class Table:
    """Cases in the order of the data set; columns that the data set lacks are None."""

    classes: tuple[str, ...]
    """Or findings, where labels have two axes."""
    labels: Labels
    images: TableImages
    site: tuple[str, ...] | None = None
    patient: tuple[str | None, ...] | None = None
    unit: tuple[str | None, ...] | None = None
    """What surely shows one person where no patient is known: `study …`, `series …`, or `file …` of several frames."""
    split: tuple[Split, ...] | None = None
    problems: tuple[Problem, ...] = ()
    """Cases that were left out (`on_error: report`)."""
    unused: tuple[str, ...] = ()
    """What was found and not used, counted and named; and what else to look at."""

    def __len__(self) -> int:
        return len(self.labels)

    def strata(self) -> tuple[Labels, int]:
        """By what cases are divided, int64[n] from 0 on, and how many such there are: their class; of several findings
        the rarest that is present, the rarer the higher, and 0 where none is."""
        if self.labels.ndim == 1:
            return self.labels, len(self.classes)
        present = self.labels == 1
        rank = np.empty(len(self.classes), np.int64)
        rank[np.argsort(-present.sum(axis=0), kind="stable")] = np.arange(1, len(self.classes) + 1)
        return np.max(present * rank, axis=1, initial=0), len(self.classes) + 1

    def word(self, index: int) -> str:
        """The class of a case, or its findings, as a word."""
        if self.labels.ndim == 1:
            return self.classes[int(self.labels[index])]
        return "|".join(f"{name}={label}" for name, label in zip(self.classes, self.labels[index], strict=True))

    def of(self, site: str) -> "Table":
        """The same cases, all of this site where the data name none."""
        return self if self.site is not None else replace(self, site=(site,) * len(self))

    def people(self) -> list[str]:
        """Whom each case shows, site by site: by patient, else by unit, else by content.

        Hospitals number their patients alike, so the same number at two sites is taken for two people.
        """
        sites = self.site or ("",) * len(self)
        return [f"{site}\n{self.person(i) or f'content {self.images.content(i)}'}" for i, site in enumerate(sites)]

    def person(self, index: int) -> str | None:
        """By what a case is known to show one person with others: `patient P-17`, `study 1.2.3`; None: nothing."""
        if self.patient and (patient := self.patient[index]):
            return f"patient {patient}"
        return self.unit[index] if self.unit else None


def refuse(problems: Sequence[Problem], what: str) -> DataError:
    """One error that lists up to 20 problems and counts the rest."""
    lines = [f"  {p}" for p in problems[:20]] + ([f"  … and {len(problems) - 20} more"] if len(problems) > 20 else [])
    advice = "Mend or remove them, or set data.on_error: report to leave them out and list them."
    return DataError("\n".join([f"{what}: {len(problems)} bad case{'s' * (len(problems) > 1)}.", *lines, advice]))


def no_sites() -> ConfigError:
    """The error where sites are to be natural, and the data names none."""
    return ConfigError(
        "sites.split is natural, but the data names no site. Give a site column (data.site for an .npz, "
        "data.site_folders for folders), or simulate sites: iid, dirichlet, size or scanner."
    )


def located(path: Path | tuple[Path, ...]) -> Path:
    """The path of a source; of several, which a loaded configuration has no more, the last."""
    return path if isinstance(path, Path) else path[-1]


def as_split(word: str, meanings: Mapping[str, Split | Unused] | None = None) -> Split | Unused | None:
    """The split that a word in a data set means; None if it means none.

    Args:
        meanings: of the words of this data set, as `data.splits` has them.
    """
    return (meanings or {}).get(word.strip()) or _SPLIT_WORDS.get(word.strip().lower())


_SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def encode(names: Sequence[str], order: Sequence[str]) -> Labels:
    """Class indices of class names."""
    index = {name: i for i, name in enumerate(order)}
    return np.array([index[name] for name in names], np.int64)


def merge(
    where: str, names: Sequence[str], own_order: Sequence[str], groups: Mapping[str, str], asked_order: Sequence[str]
) -> tuple[list[str], tuple[str, ...]]:
    """Merge classes by `groups`; order them by `wanted`, else as `groups` or the data name them.

    Raises:
        DataError: a class that no group takes.
        LabelError: one that is not among the wanted.
    """
    if groups:
        if missing := sorted(set(names) - set(groups)):
            raise DataError(
                f"{where}: data.groups says nothing of the class '{missing[0]}'; add it, or correct the label."
            )
        names = [groups[name] for name in names]
        own_order = tuple(dict.fromkeys(groups.values()))
    order = tuple(asked_order or own_order)
    if strange := sorted(set(names) - set(order)):
        expectation = f"expected {', '.join(order)}: '{strange[0]}' is none of these"
        raise LabelError(where, sorted(set(names)), expectation)
    if len(order) < 2:
        raise DataError(f"{where}: all cases are '{names[0]}'; expected at least two classes to tell apart.")
    return list(names), order

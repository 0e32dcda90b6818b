"""Tables of image files: a CSV with a row an image, or a folder a class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.readers.source import Sealer
from client.sources import findings, identity, image_cache, spelling
from client.sources.case_row import CaseListing, CaseRow
from client.sources.case_table import Facts, Problem, Table, encode, located, merge, no_sites, refuse
from client.sources.csv_list import rows_in_csv
from client.sources.folder_list import rows_in_folder
from client.sources.image_cache import CachedImage
from common.config import DataSource, Encrypted, Folder, Manifest
from common.errors import DataError, ImageError
from common.imaging import Picture


@dataclass(frozen=True)
class FileImages:
    """Frames of files, decoded and cached."""

    cases: tuple[tuple[CachedImage, int], ...]
    """The file, and which of its chosen frames."""

    def __len__(self) -> int:
        return len(self.cases)

    def name(self, index: int) -> str:
        """Path, and frame where several were chosen."""
        image, frame = self.cases[index]
        return str(image.origin) + (f" (frame {frame})" if len(image.facts) > 1 else "")

    def facts(self, index: int) -> Facts:
        """Size, range and digest."""
        image, frame = self.cases[index]
        return image.facts[frame]

    def nominal(self, index: int) -> tuple[float, float]:
        """Black and white of the file."""
        image, frame = self.cases[index]
        return image.ranges[frame]

    def content(self, index: int) -> str:
        """All frames of a file show one person."""
        return self.cases[index][0].content()

    def thumbnail(self, index: int) -> bytes:
        """How it looks."""
        return image_cache.look(*self.cases[index])

    def pictures(self, indices: Sequence[int]) -> Iterator[Picture]:
        """The images as read."""
        return (image_cache.picture(*self.cases[index]) for index in indices)

    def view(self, index: int) -> bytes:
        """The frame's digest, black and white."""
        image, frame = self.cases[index]
        return image.facts[frame].digest + repr(image.ranges[frame]).encode()

    def sealer(self, index: int) -> Sealer | None:
        """The file's."""
        return self.cases[index][0].origin.sealer


def read(source: Manifest | Folder, natural: bool = False) -> Table:
    """The table of a CSV (path and label, and where known site, patient, split and frame), or of a folder a class:
    `<label>/…`, `<split>/<label>/…`, or with site_folders `<site>/…` around either.

    Args:
        natural: whether sites have to be named; decoding all images to find that they are not would take hours.

    Raises:
        ConfigError: they are not.
        DataError: neither, or bad rows and images, all listed (`on_error: stop`).
    """
    listing = rows(source)
    if natural and listing.rows and not all(row.site for row in listing.rows):
        raise no_sites()
    return table(located(source.path), listing, source)


def rows(source: Folder | Manifest, base: Path | None = None) -> CaseListing:
    """The images that a CSV or a folder lists, none of them opened yet, and what is wrong with the list.

    Args:
        base: what the paths of a CSV are relative to; None: where it lies.

    Raises:
        DataError: neither, or words that are spelt in several ways.
    """
    path = located(source.path)
    base = path if isinstance(source, Folder) else base or path.parent
    listing = rows_in_folder(source) if isinstance(source, Folder) else rows_in_csv(path, base, source)
    listing.name_patients(source.patients, base)
    listing.settle(str(path), source)
    return listing


def table(path: Path, listing: CaseListing, source: Manifest | Folder | Encrypted) -> Table:
    """Read all images; a table of those that can be read.

    Raises:
        DataError: bad rows and images, all listed (`on_error: stop`), or no good one.
    """
    stop, rows, problems = source.on_error == "stop", listing.rows, listing.problems
    if problems and stop:
        raise refuse(problems, str(path))
    cases: list[tuple[CaseRow, CachedImage, int]] = []
    images = image_cache.gather(source.cache or Path("cache"), [(row.origin, row.frames) for row in rows])
    for row, image in zip(rows, images, strict=True):
        if isinstance(image, ImageError):
            problems.append(_unreadable(path, row, image))
        else:
            cases += [(row, image, i) for i in range(len(image.facts))]
    if problems and stop:
        raise refuse(problems, str(path))
    if not cases:
        raise refuse(problems, f"{path}: no image that can be read")
    names = [row.label for row, _, _ in cases]
    if source.findings:
        classes, labels = source.findings, findings.matrix(names, source.findings)
    else:
        try:
            names, classes = merge(str(path), names, sorted(set(names)), source.groups, source.labels)
        except DataError as error:  # what was left out may be why
            raise (refuse(problems, str(error)) if problems else error) from None
        labels = encode(names, classes)
    sites = [row.site for row, _, _ in cases if row.site]
    splits = [row.split for row, _, _ in cases if row.split]
    units = identity.units([image.belonging for _, image, _ in cases], [str(row.origin) for row, _, _ in cases])
    return Table(
        classes,
        labels,
        FileImages(tuple((image, i) for _, image, i in cases)),
        site=tuple(sites) if len(sites) == len(cases) else None,
        patient=identity.through_units(_patients(str(path), cases, source), units),
        unit=units,
        split=tuple(splits) if len(splits) == len(cases) else None,
        problems=tuple(problems),
        unused=listing.unused,
    )


def _unreadable(path: Path, row: CaseRow, error: ImageError) -> Problem:
    what = str(error)
    if row.number is None:
        return Problem(str(row.origin), None, what.removeprefix(f"{row.origin}: "))
    return Problem(str(path), row.number, what)


def _patients(
    where: str, cases: Sequence[tuple[CaseRow, CachedImage, int]], source: DataSource
) -> tuple[str | None, ...] | None:
    """The list's patients; else the DICOM headers', in one spelling."""
    if any(row.patient for row, _, _ in cases):
        return tuple(row.patient if identity.is_somebody(row.patient) else None for row, _, _ in cases)
    headers = [image.belonging["patient"] for _, image, _ in cases]
    numbers = [i for i, who in enumerate(headers) if identity.is_somebody(who)]
    words, around = [str(headers[i]) for i in numbers], [cases[i][0].site or "" for i in numbers]
    place = [str(row.origin) for row, _, _ in cases]
    for i, word in zip(
        numbers, spelling.settle(where, "patients", words, source, lambda k: place[numbers[k]], around), strict=True
    ):
        headers[i] = word
    return identity.patients(headers)

"""Tables of image files: a CSV with a row an image, or a folder a class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from client.readers.source import ImageFile
from client.sources import identity, image_cache
from client.sources.case_table import Facts, Problem, Table, as_split, encode, located, merge, refuse
from client.sources.csv_list import CaseRow, rows_in_csv, wrong_label
from client.sources.image_cache import CachedImage
from common.config import Encrypted, Folder, Manifest
from common.errors import DataError, ImageError
from common.imaging import Picture

_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
"""What operating systems leave in folders, beside names that begin with a dot."""


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


def read(source: Manifest | Folder) -> Table:
    """The table of a CSV (path and label, and where known site, patient, split and frame), or of a folder a class:
    `<label>/…`, `<split>/<label>/…`, or with site_folders `<site>/…` around either.

    Raises:
        DataError: neither, or bad rows and images, all listed (`on_error: stop`).
    """
    return table(located(source.path), *rows(source), source)


def rows(source: Folder | Manifest, base: Path | None = None) -> tuple[list[CaseRow], list[Problem]]:
    """The images that a CSV or a folder lists, none of them opened yet, and what is wrong with the list.

    Args:
        base: what the paths of a CSV are relative to; None: where it lies.

    Raises:
        DataError: neither.
    """
    path = located(source.path)
    if isinstance(source, Folder):
        return _by_rule(*_in_folder(source), source.patients, path)
    base = base or path.parent
    return _by_rule(*rows_in_csv(path, base, source), source.patients, base)


def _by_rule(
    rows: list[CaseRow], problems: list[Problem], rule: str | None, base: Path
) -> tuple[list[CaseRow], list[Problem]]:
    """With the patients that a rule reads out of the column patient, else of the paths below `base`."""
    if rule is None:
        return rows, problems
    texts = [row.patient or str(row.origin).removeprefix(f"{base}/") for row in rows]
    read = [replace(row, patient=identity.by_rule(rule, text)) for row, text in zip(rows, texts, strict=True)]
    what = "data.patients, {!r}, matches nothing in '{}'; mend the rule so that it fits all, or the name"
    wrong = [Problem(str(row.origin), row.number, what.format(rule, text))
             for row, text in zip(read, texts, strict=True) if row.patient is None]  # fmt: skip
    return [row for row in read if row.patient], problems + wrong


def _in_folder(source: Folder) -> tuple[list[CaseRow], list[Problem]]:
    path = located(source.path)
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder with one folder a class.")
    rows_here: list[CaseRow] = []
    problems: list[Problem] = []
    for place in _folders(path) if source.site_folders else [path]:
        site = place.name if source.site_folders else None
        inside = _folders(place)
        if inside and all(as_split(folder.name) for folder in inside):
            labelled = [(folder, as_split(part.name)) for part in inside for folder in _folders(part)]
        else:
            labelled = [(folder, None) for folder in inside]
        if not labelled:
            problems.append(Problem(str(place), None, "holds no folder; expected one folder a class"))
        for folder, split in labelled:
            files = files_in(folder)
            if wrong := wrong_label(folder.name, source):
                problems.append(Problem(str(folder), None, wrong))
            elif not files:
                problems.append(Problem(str(folder), None, "an empty folder; expected the images of this class"))
            else:
                rows_here += [
                    CaseRow(ImageFile(f), folder.name, site=site, split=split, frames=source.frames) for f in files
                ]
    return rows_here, problems


def _folders(path: Path) -> list[Path]:
    return [p for p in sorted(path.iterdir()) if p.is_dir() and not _is_litter(p.relative_to(path))]


def files_in(folder: Path) -> list[Path]:
    """All files below a folder but litter, in order."""
    return [file for file in sorted(folder.rglob("*")) if file.is_file() and not _is_litter(file.relative_to(folder))]


def _is_litter(path: Path) -> bool:
    return any(part.startswith(".") or part.lower() in _LITTER for part in path.parts)


def table(path: Path, rows: Sequence[CaseRow], problems: list[Problem], source: Manifest | Folder | Encrypted) -> Table:
    """Read all images; a table of those that can be read.

    Raises:
        DataError: bad rows and images, all listed (`on_error: stop`), or no good one.
    """
    stop = source.on_error == "stop"
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
    labels = [row.label for row, _, _ in cases]
    names, classes = merge(str(path), labels, sorted(set(labels)), source.groups, source.labels)
    sites = [row.site for row, _, _ in cases if row.site]
    splits = [row.split for row, _, _ in cases if row.split]
    return Table(
        classes,
        encode(names, classes),
        FileImages(tuple((image, i) for _, image, i in cases)),
        site=tuple(sites) if len(sites) == len(cases) else None,
        patient=_patients(cases),
        unit=identity.units([image.belonging for _, image, _ in cases], [str(row.origin) for row, _, _ in cases]),
        split=tuple(splits) if len(splits) == len(cases) else None,
        problems=tuple(problems),
    )


def _unreadable(path: Path, row: CaseRow, error: ImageError) -> Problem:
    what = str(error)
    if row.number is None:
        return Problem(str(row.origin), None, what.removeprefix(f"{row.origin}: "))
    return Problem(str(path), row.number, what)


def _patients(cases: Sequence[tuple[CaseRow, CachedImage, int]]) -> tuple[str | None, ...] | None:
    """The list's patients; else the DICOM headers'."""
    if any(row.patient for row, _, _ in cases):
        return tuple(row.patient if identity.is_somebody(row.patient) else None for row, _, _ in cases)
    return identity.patients([image.belonging["patient"] for _, image, _ in cases])

"""A folder a class as a list of cases: `<label>/…`, `<split>/<label>/…`, `<label>/<split>/…`, each in a site's folder.

A folder is taken for what its name says only where that is sure. `train`, `test` and a third folder beside them are
neither three classes nor two splits: it is an error that says how to tell.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from client.readers.source import ImageFile
from client.sources.case_row import CaseListing, CaseRow
from client.sources.case_table import Problem, Split, Unused, as_split, located
from client.sources.folder_walk import Found
from client.sources.spelling import configured_names, not_text, wrong_label
from common.cli.harmless import legible
from common.config import Folder
from common.errors import DataError

Labelled = tuple[Path, str, Split | None]
"""A folder of images, their label, and their split where folders say it."""

_SPLIT_WORD = re.compile(
    r"(train|trn|test|tst|val|valid|dev|eval|hold|held|out|fold|cv)(ings?|s|ation|idation|ate|idate|uation|out|val)?"
    r"(set|data|daten|images?|bilder)?|validierung|lernen|treino|teste|valida(ção|cao|ción|cion|zione|tie)|entrenamiento|"
    r"pruebas?|apprentissage|entra[iî]nement|addestramento",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"sets?|data(set)?|images?|imgs?|samples|cases|split|part|only|new|old|final|internal|external|tr|ts", re.IGNORECASE
)


MANY = 20
"""Folders of one name in each class, beyond which they are no classes."""
SHOWN = 3


def rows_in_folder(source: Folder) -> CaseListing:
    """The images below a folder.

    Raises:
        DataError: it is no folder.
    """
    path = located(source.path)
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder with one folder a class.")
    search, listing = Found(), CaseListing()
    places = search.folders(path) if source.site_folders else [path]
    if source.site_folders and (likely := [place.name for place in places if as_split(place.name)]):
        what = f"'{likely[0]}' is no site: with site_folders, the folders of splits lie in those of the sites"
        listing.problems.append(Problem(str(path), None, what))
        places = []
    inside: dict[str, set[str]] = {}
    for place in places:
        if source.site_folders and (wrong := not_text(place.name)):
            listing.problems.append(Problem(str(place), None, f"site {wrong}"))
            continue
        for folder, label, split in _labelled(place, source, search, listing.problems):
            files = search.walk(folder)
            below = (file.relative_to(folder).parts for file in files)
            inside.setdefault(label, set()).update(parts[0] if len(parts) > 1 else "" for parts in below)
            if wrong := wrong_label(label, source):
                listing.problems.append(Problem(str(folder), None, wrong))
            elif not files:
                listing.problems.append(
                    Problem(str(folder), None, "an empty folder; expected the images of this class")
                )
            site = place.name if source.site_folders else None
            listing.rows += (
                []
                if wrong
                else [CaseRow(ImageFile(file), label, site=site, split=split, frames=source.frames) for file in files]
            )
    listing.problems += search.problems
    listing.unused += search.unused() + _classes_inside(path, inside)
    return listing


def _classes_inside(path: Path, inside: Mapping[str, set[str]]) -> tuple[str, ...]:
    """A doubt where the folders of all classes hold the same folders: hospitals or patients may be around classes."""
    first, *others = inside.values() or [set[str]()]
    is_doubtful = others and all(names == first for names in others) and "" not in first and 1 < len(first) <= MANY
    if not is_doubtful or all(name.isdecimal() for name in first):
        return ()
    outer, inner = (", ".join(map(legible, sorted(names)[:SHOWN])) for names in (inside, first))
    return (
        f"{outer} … in {legible(path.name)} are taken for classes, and each of them holds the same folders, {inner} …: "
        "if these are the classes, set data.site_folders",
    )


def _labelled(place: Path, source: Folder, search: Found, problems: list[Problem]) -> list[Labelled]:
    """The folders of images of one place."""
    inside = search.folders(place)
    if not inside:
        problems.append(Problem(str(place), None, "holds no folder; expected one folder a class"))
    labelled: list[Labelled] = []
    if (parts := _splits(place, inside, source, problems)) is not None:
        search.beside += [part for part, split in parts.items() if split == "unused"]
        for part, part_split in parts.items():
            if part_split != "unused":
                labelled += [(folder, folder.name, part_split) for folder in search.folders(part)]
        return labelled
    for folder in inside:
        labelled += _of_class(folder, source, search, problems)
    return labelled


def _of_class(folder: Path, source: Folder, search: Found, problems: list[Problem]) -> list[Labelled]:
    """A class's folder, or the folders of splits inside of it."""
    inner = Found()
    halves = inner.folders(folder)
    splits = {half: split for half in halves if (split := as_split(half.name, source.splits))}
    if not splits:
        return [(folder, folder.name, None)]
    if strange := [path.name for path in (*halves, *inner.beside) if path not in splits]:
        names = ", ".join(half.name for half in splits)
        what = f"'{strange[0]}' lies beside folders of splits ({names}); move it into one, or name it in data.splits"
        problems.append(Problem(str(folder), None, what))
        return []
    search.litter += inner.litter
    search.beside += [half for half, split in splits.items() if split == "unused"]
    return [(half, folder.name, split) for half, split in splits.items() if split != "unused"]


def _splits(
    place: Path, folders: Sequence[Path], source: Folder, problems: list[Problem]
) -> dict[Path, Split | Unused] | None:
    """The splits that folders are; None where they are classes. Some of either is a problem."""
    classes = configured_names(source)
    if not any(f.name not in classes and (f.name in source.splits or is_like_a_split(f.name)) for f in folders):
        return None
    splits: dict[Path, Split | Unused] = {}
    for folder in folders:
        if split := as_split(folder.name, source.splits):
            splits[folder] = split
    if strange := [folder.name for folder in folders if folder not in splits]:
        names = ", ".join(folder.name for folder in folders)
        what = (
            f"{names}: names of splits, and '{strange[0]}' is not known as one. Say what it is, data.splits: "
            f"{{{strange[0]}: test}} or unused; or name all of them in data.labels if they are classes"
        )
        problems.append(Problem(str(place), None, what))
        return {}
    return splits


def is_like_a_split(name: str) -> bool:
    """Whether a folder is called as parts of a data set are: train2, Test images, fold_3, holdout."""
    words = [word for word in re.split(r"[\W_\d]+|(?<=[a-z])(?=[A-Z])", name) if word]
    return any(map(_SPLIT_WORD.fullmatch, words)) and all(
        _SPLIT_WORD.fullmatch(w) or _FILLER.fullmatch(w) for w in words
    )

"""What the arrays of an .npz call their cases: class names, sites, patients; never by the names of another array."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.sources import identity
from client.sources.case_table import merge
from client.sources.spelling import configured_names, likeness, says_nothing, settle, wrong_label
from common.cli.harmless import legible
from common.config import Npz
from common.errors import ConfigError, DataError

Array = NDArray[Any]

_PLAIN_TARGETS = ("labels", "label", "classes", "class", "targets", "target", "y")
"""Arrays of labels whose names `class_names` has, unless the configuration says otherwise."""


def get(path: Path, arrays: Mapping[str, Array], name: str) -> Array:
    """An array by its name.

    Raises:
        ConfigError: it is not there.
    """
    if name not in arrays:
        raise ConfigError(
            f"{path}: no array '{name}'; there are {', '.join(map(legible, sorted(arrays))) or 'none'}. "
            "Name them in the configuration: data.images, data.targets, data.site …"
        )
    return arrays[name]


def flat(labels: Array) -> Array:
    """MedMNIST keeps labels as (n, 1)."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def classes(
    path: Path, target: str, labels: Array, arrays: Mapping[str, Array], source: Npz
) -> tuple[list[str], tuple[str, ...]]:
    """The name of each case's class after merging, and all names in the order of their index.

    Raises:
        ConfigError, DataError: labels without a name, of the wrong one, or in several spellings.
    """
    if labels.dtype.kind == "U":
        names = [str(label).strip() for label in labels]
        for i, name in enumerate(names):
            if wrong := wrong_label(name, source):
                raise DataError(f"{path}: {target}[{i}]: {wrong}.")
        names = settle(str(path), "labels", names, source, lambda i: f"{target}[{i}]")
        class_names = tuple(sorted(set(names)))
    else:
        class_names = _class_names(path, target, labels, arrays, source)
        strange = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
        if len(strange):
            raise DataError(
                f"{path}: label {labels[strange[0]]} of case {strange[0]} ({len(strange)} such cases): expected 0 to "
                f"{len(class_names) - 1} ({', '.join(map(legible, class_names))})."
            )
        names = [class_names[int(label)] for label in labels]
    return merge(str(path), names, class_names, source.groups, source.labels)


def _class_names(path: Path, target: str, labels: Array, arrays: Mapping[str, Array], source: Npz) -> tuple[str, ...]:
    """What the indices of an array of labels are called."""
    table = source.names or next((n for n in (f"{target}_names", f"{target}_name") if n in arrays), None)
    if table is None and "class_names" in arrays and not (source.labels and not source.groups):
        if target not in (*_PLAIN_TARGETS, "train_labels"):
            raise ConfigError(
                f"{path}: whose names are in the array 'class_names', those of '{target}'? Say so with "
                f"data.names: class_names, name another array, or name the classes in data.labels."
            )
        table = "class_names"
    if table is not None:
        names = _words(path, table, get(path, arrays, table))
        if nothing := [name for name in names if says_nothing(name) and name not in configured_names(source)]:
            raise DataError(f"{path}: array '{table}' calls a class '{legible(nothing[0])}', which is nothing.")
        alike = [likeness(name) if source.spelling == "refuse" else name for name in names]
        if twice := [name for name, like in zip(names, alike, strict=True) if alike.count(like) > 1]:
            spelt = ", ".join(map(legible, dict.fromkeys(twice)))
            raise DataError(f"{path}: array '{table}' has the name '{legible(twice[0])}' twice ({spelt}).")
        return names
    if source.labels and not source.groups:
        return source.labels
    present = np.unique(labels)
    if len(present) and present[0] >= 0 and len(present) <= int(present[-1]):
        gap = int(np.setdiff1d(np.arange(len(present) + 1), present)[0])
        raise DataError(
            f"{path}: the labels in '{target}' are {', '.join(map(str, present[:10]))}, and no case has {gap}. Do they "
            "count from 1, or is one of them no label? Name all classes from 0 on in data.labels."
        )
    return tuple(str(i) for i in range(int(labels.max()) + 1))


def _words(path: Path, name: str, array: Array) -> tuple[str, ...]:
    """The words of an array, also of one of bytes as C programs write them."""
    if array.dtype.kind != "S":
        return tuple(str(word).strip() for word in array.ravel())
    try:
        return tuple(word.decode().strip() for word in array.ravel().tolist())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: array '{name}' holds bytes that are no UTF-8 ({error.reason}).") from None


def sites_and_patients(
    path: Path, arrays: Mapping[str, Array], source: Npz, cases: int, keep: Array
) -> tuple[tuple[str, ...] | None, tuple[str | None, ...] | None]:
    """The columns that the configuration names; None where it names none."""
    sites: tuple[str, ...] | None = None
    patients: tuple[str | None, ...] | None = None
    if name := source.site:
        sites = column(path, arrays, name, cases, keep)
        table = arrays.get(f"{name}_names")
        if table is not None and arrays[name].dtype.kind in "ui":
            site_names = _words(path, f"{name}_names", table)
            sites = tuple(_name_of(path, name, int(i), site_names) for i in sites)
        sites = tuple(settle(str(path), "sites", sites, source, lambda i: f"{name}[{keep[i]}]"))
    if name := source.patient:
        patients = _patients(path, name, column(path, arrays, name, cases, keep, is_told=False), source)
        numbers = [i for i, who in enumerate(patients) if who]
        words, around = [str(patients[i]) for i in numbers], [sites[i] for i in numbers] if sites else ()
        settled = settle(str(path), "patients", words, source, lambda i: f"{name}[{keep[numbers[i]]}]", around)
        spelt = dict(zip(numbers, settled, strict=True))
        patients = tuple(spelt.get(i) for i in range(len(patients)))
    return sites, patients


def _patients(path: Path, name: str, words: tuple[str, ...], source: Npz) -> tuple[str | None, ...]:
    if source.patients is None:
        return tuple(word if identity.is_somebody(word) else None for word in words)
    read = tuple(identity.by_rule(source.patients, word) for word in words)
    if None in read:
        raise DataError(
            f"{path}: data.patients, {source.patients!r}, matches nothing in '{legible(words[read.index(None)])}' of "
            f"array '{name}'; mend the rule so that it fits all."
        )
    return read


def _name_of(path: Path, name: str, index: int, names: Sequence[str]) -> str:
    if not 0 <= index < len(names):
        raise DataError(f"{path}: array '{name}' says {index}, and '{name}_names' has {len(names)} names, from 0 on.")
    return names[index]


def column(
    path: Path, arrays: Mapping[str, Array], name: str, cases: int, keep: Array, *, is_told: bool = True
) -> tuple[str, ...]:
    """An array of a word a case.

    Args:
        is_told: whether every word has to say something.

    Raises:
        ConfigError, DataError: it is not there, has another length, or says nothing of a case.
    """
    words = flat(get(path, arrays, name))
    if words.shape != (cases,) or words.dtype.kind not in "uiU":
        raise DataError(
            f"{path}: array '{name}' is {words.dtype}{list(words.shape)}; expected {cases} names or numbers."
        )
    if words.dtype.kind == "U" and is_told and (nothing := [int(i) for i in keep if says_nothing(str(words[i]))]):
        raise DataError(
            f"{path}: {name}[{nothing[0]}] says '{legible(str(words[nothing[0]]))}', which is nothing "
            f"({len(nothing)} such cases)."
        )
    return tuple(str(value).strip() for value in words[keep])


def unused(arrays: Mapping[str, Array], parts: Sequence[tuple[str, str]], source: Npz) -> tuple[str, ...]:
    """Arrays that nothing was read from, counted and named: patients may be among them.

    Args:
        parts: names of the arrays of images and of labels.
    """
    columns = {name for name in (source.site, source.patient, source.split, source.names) if name}
    columns |= {name for part in parts for name in part}
    others = [name for name in arrays if name not in columns and not name.endswith(("_names", "_name"))]
    if not others:
        return ()
    return (f"found and not used: {len(others)} arrays of the .npz: {', '.join(map(legible, others))}",)

"""Cases in one .npz: MedMNIST's layout (train_images, train_labels …) by itself, any other by its arrays' names."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.sources import identity, safe_npz
from client.sources.case_table import SPLITS, Facts, Problem, Split, Table, as_split, encode, located, merge, refuse
from client.sources.thumbnail import thumbnail
from common.config import Npz
from common.errors import ConfigError, DataError
from common.imaging import Picture

Array = NDArray[Any]


@dataclass(frozen=True)
class ArrayImages:
    """Images held as parts of arrays, each [n, h, w] or [n, h, w, c]."""

    path: str
    parts: tuple[tuple[str, Array], ...]
    """Name of the array and the array, in the order of the table."""
    index: NDArray[np.int64]
    """Position of each case in the concatenated parts."""
    low: float
    high: float

    def __len__(self) -> int:
        return len(self.index)

    def _find(self, index: int) -> tuple[str, int, Array]:
        at = int(self.index[index])
        for name, part in self.parts:
            if at < len(part):
                return name, at, part[at]
            at -= len(part)
        raise IndexError(index)

    def name(self, index: int) -> str:
        """Path, array and index."""
        name, at, _ = self._find(index)
        return f"{self.path}: {name}[{at}]"

    def facts(self, index: int) -> Facts:
        """Size, range and digest."""
        image = self._find(index)[2]
        height, width = image.shape[:2]
        shape = (height, width, image.shape[2] if image.ndim == 3 else 1)
        digest = hashlib.blake2b(repr(shape).encode() + image.tobytes(), digest_size=16).digest()
        return Facts(shape, float(image.min()), float(image.max()), digest)

    def nominal(self, index: int) -> tuple[float, float]:
        """Black and white of the arrays' type."""
        return self.low, self.high

    def content(self, index: int) -> str:
        """The digest of the image."""
        return self.facts(index).digest.hex()

    def thumbnail(self, index: int) -> bytes:
        """How it looks."""
        image = self._find(index)[2].astype(np.float32)
        return thumbnail(image if image.ndim == 3 else image[:, :, None])

    def pictures(self, indices: Sequence[int]) -> Iterator[Picture]:
        """The images as float32[h, w, c]."""
        for index in indices:
            image = self._find(index)[2].astype(np.float32)
            yield Picture(image if image.ndim == 3 else image[:, :, None], self.low, self.high, self.name(index))


def read(source: Npz) -> Table:
    """The table of an .npz.

    Raises:
        ConfigError: an array that the configuration names is not there.
        DataError: not an .npz, hostile, or images and labels that do not belong together.
    """
    path = located(source.path)
    if source.download and not path.exists():
        from client.sources.download import fetch

        fetch(source.download, path)
    arrays = safe_npz.load(path)
    parts = _find_parts(path, arrays, source)
    for part in parts:
        _check_part(path, part)
    images = [(part.images_name, part.images) for part in parts]
    labels = np.concatenate([part.labels for part in parts])
    names, classes = _classes(path, labels, arrays, source)
    problems = _not_finite(path, parts)
    if problems and source.on_error == "stop":
        raise refuse(problems, str(path))
    keep = np.setdiff1d(np.arange(len(labels)), [p.row for p in problems]).astype(np.int64)
    columns = {key: _column(path, arrays, getattr(source, key), len(labels), keep) for key in ("site", "patient")}
    low, high = value_range([part.images for part in parts] if not problems else _only(parts, keep))
    return Table(
        classes,
        encode(names, classes)[keep],
        ArrayImages(str(path), tuple(images), keep, low, high),
        site=columns["site"],
        patient=_patients(path, columns["patient"], source),
        split=_splits(path, arrays, source, parts, keep),
        problems=tuple(problems),
    )


@dataclass(frozen=True)
class _NpzPart:
    images_name: str
    images: Array
    labels_name: str
    labels: Array
    split: Split | None


def _find_parts(path: Path, arrays: Mapping[str, Array], source: Npz) -> list[_NpzPart]:
    """MedMNIST's three parts, or the one that the configuration names."""
    if source.images is None and source.targets is None and "train_images" in arrays:
        keys = {
            key: split for key in ("train", "val", "test") if (split := as_split(key)) and f"{key}_images" in arrays
        }
        return [
            _NpzPart(
                f"{key}_images", arrays[f"{key}_images"], f"{key}_labels", _flat(_get(path, arrays, f"{key}_labels")), s
            )
            for key, s in keys.items()
        ]
    images, targets = source.images or "images", source.targets or "labels"
    return [_NpzPart(images, _get(path, arrays, images), targets, _flat(_get(path, arrays, targets)), None)]


def _get(path: Path, arrays: Mapping[str, Array], name: str) -> Array:
    if name not in arrays:
        raise ConfigError(
            f"{path}: no array '{name}'; there are {', '.join(sorted(arrays)) or 'none'}. "
            "Name them in the configuration: data.images, data.targets, data.site …"
        )
    return arrays[name]


def _flat(labels: Array) -> Array:
    """MedMNIST keeps labels as (n, 1)."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _check_part(path: Path, part: _NpzPart) -> None:
    images, labels = part.images, part.labels
    if (
        images.ndim not in (3, 4)
        or (images.ndim == 4 and images.shape[3] not in (1, 3))
        or images.dtype.kind not in "uif"
    ):
        raise DataError(
            f"{path}: array '{part.images_name}' is {images.dtype}{list(images.shape)}; expected numbers of shape "
            "[n, height, width] or [n, height, width, 1 or 3]."
        )
    if labels.ndim != 1 or labels.dtype.kind not in "uibU":
        raise DataError(
            f"{path}: array '{part.labels_name}' is {labels.dtype}{list(labels.shape)}; expected one whole number or "
            "one class name for each image, [n] or [n, 1]."
        )
    if len(images) != len(labels) or not len(labels):
        raise DataError(
            f"{path}: '{part.images_name}' has {len(images)} images and '{part.labels_name}' {len(labels)} labels; "
            "expected as many, and at least one."
        )
    if min(images.shape[1:3]) < 1:
        raise DataError(f"{path}: the images in '{part.images_name}' have no pixels: {list(images.shape)}.")


def _classes(path: Path, labels: Array, arrays: Mapping[str, Array], source: Npz) -> tuple[list[str], tuple[str, ...]]:
    """The name of each case's class after merging, and all names in the order of their index."""
    if labels.dtype.kind == "U":
        names, class_names = [str(label) for label in labels], tuple(sorted({str(label) for label in labels}))
    else:
        table = arrays.get("class_names") if source.names is None else _get(path, arrays, source.names)
        if table is not None:
            class_names = tuple(str(name) for name in table.ravel())
        elif source.labels and not source.groups:
            class_names = source.labels
        else:
            class_names = tuple(str(i) for i in range(int(labels.max()) + 1))
        wrong = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
        if len(wrong):
            raise DataError(
                f"{path}: label {labels[wrong[0]]} of case {wrong[0]} ({len(wrong)} such cases): expected 0 to "
                f"{len(class_names) - 1} ({', '.join(class_names)})."
            )
        names = [class_names[int(label)] for label in labels]
    return merge(str(path), names, class_names, source.groups, source.labels)


def _not_finite(path: Path, parts: Sequence[_NpzPart]) -> list[Problem]:
    problems, offset = [], 0
    for part in parts:
        if part.images.dtype.kind == "f":
            axes = tuple(range(1, part.images.ndim))
            # Sums are finite only where all pixels are, and cost no array of flags as large as the images.
            bad = np.flatnonzero(~np.isfinite(part.images.sum(axis=axes, dtype=np.float64)))
            what = f"{part.images_name} has pixels that are not finite (NaN or infinite)"
            problems += [Problem(str(path), offset + int(i), what) for i in bad]
        offset += len(part.images)
    return problems


def _only(parts: Sequence[_NpzPart], keep: NDArray[np.int64]) -> list[Array]:
    ends = np.cumsum([0, *(len(part.images) for part in parts)])
    return [p.images[keep[(keep >= ends[i]) & (keep < ends[i + 1])] - ends[i]] for i, p in enumerate(parts)]


def value_range(parts: Sequence[Array]) -> tuple[float, float]:
    """What is shown as black and white: 0..255 for bytes, 0..1 or the data's own range otherwise."""
    if all(part.dtype == np.uint8 for part in parts):
        return 0.0, 255.0
    low = min(float(part.min()) for part in parts if part.size)
    high = max(float(part.max()) for part in parts if part.size)
    if all(part.dtype.kind == "f" for part in parts) and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1


def _column(
    path: Path, arrays: Mapping[str, Array], name: str | None, cases: int, keep: Array
) -> tuple[str, ...] | None:
    if name is None:
        return None
    column = _flat(_get(path, arrays, name))
    if column.shape != (cases,) or column.dtype.kind not in "uiU":
        raise DataError(
            f"{path}: array '{name}' is {column.dtype}{list(column.shape)}; expected {cases} names or numbers."
        )
    return tuple(str(value) for value in column[keep])


def _patients(path: Path, column: tuple[str, ...] | None, source: Npz) -> tuple[str | None, ...] | None:
    if column is None:
        return None
    if source.patients is None:
        return tuple(word if identity.is_somebody(word) else None for word in column)
    read = tuple(identity.by_rule(source.patients, word) for word in column)
    if None in read:
        raise DataError(
            f"{path}: data.patients, {source.patients!r}, matches nothing in '{column[read.index(None)]}' of array "
            f"'{source.patient}'; mend the rule so that it fits all."
        )
    return read


def _splits(
    path: Path, arrays: Mapping[str, Array], source: Npz, parts: Sequence[_NpzPart], keep: Array
) -> tuple[Split, ...] | None:
    cases = sum(len(part.labels) for part in parts)
    if source.split is not None:
        words = _column(path, arrays, source.split, cases, keep) or ()
        splits = [as_split(word) for word in words]
        if None in splits:
            raise DataError(
                f"{path}: array '{source.split}' says '{words[splits.index(None)]}'; expected {', '.join(SPLITS)}."
            )
        return tuple(split for split in splits if split)
    own_split = [part.split for part in parts for _ in range(len(part.labels)) if part.split]
    return tuple(own_split[i] for i in keep) if own_split else None

"""Cases in one .npz: MedMNIST's layout (train_images, train_labels …) by itself, any other by its arrays' names."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.sources import findings, npz_names, safe_npz
from client.sources.case_table import SPLITS, Facts, Problem, Split, Table, as_split, encode, located, refuse
from client.sources.thumbnail import thumbnail
from common.cli.harmless import legible
from common.config import Npz
from common.errors import DataError
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

    def view(self, index: int) -> bytes:
        """The image's digest, black and white."""
        return self.facts(index).digest + repr((self.low, self.high)).encode()

    def sealer(self, index: int) -> None:
        """None: the file itself lies in the clear."""


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
        _check_part(path, part, source)
    _refuse_other_units(path, parts)
    images = [(part.images_name, part.images) for part in parts]
    labels = np.concatenate([part.labels for part in parts])
    if source.findings:
        classes, labels = source.findings, findings.of_array(path, parts[0].labels_name, labels, source)
    else:
        names, classes = npz_names.classes(path, parts[0].labels_name, labels, arrays, source)
        labels = encode(names, classes)
    problems = _not_finite(path, parts)
    if problems and source.on_error == "stop":
        raise refuse(problems, str(path))
    keep = np.setdiff1d(np.arange(len(labels)), [p.row for p in problems]).astype(np.int64)
    site, patient = npz_names.sites_and_patients(path, arrays, source, len(labels), keep)
    low, high = value_range([part.images for part in parts] if not problems else _only(parts, keep))
    return Table(
        classes,
        labels[keep],
        ArrayImages(str(path), tuple(images), keep, low, high),
        site=site,
        patient=patient,
        split=_splits(path, arrays, source, parts, keep),
        problems=tuple(problems),
        unused=npz_names.unused(arrays, [(part.images_name, part.labels_name) for part in parts], source),
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
        words = [name.removesuffix("_images") for name in arrays if name.endswith("_images")]
        keys = {word: split for word in words if (split := as_split(word, source.splits)) and split != "unused"}
        return [
            _NpzPart(
                f"{key}_images",
                arrays[f"{key}_images"],
                f"{key}_labels",
                npz_names.flat(npz_names.get(path, arrays, f"{key}_labels")),
                s,
            )
            for key, s in sorted(keys.items(), key=lambda item: SPLITS.index(item[1]))
        ]
    images, targets = source.images or "images", source.targets or "labels"
    return [
        _NpzPart(
            images,
            npz_names.get(path, arrays, images),
            targets,
            npz_names.flat(npz_names.get(path, arrays, targets)),
            None,
        )
    ]


def _check_part(path: Path, part: _NpzPart, source: Npz) -> None:
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
    if not source.findings and (labels.ndim != 1 or labels.dtype.kind not in "uibU"):
        raise DataError(
            f"{path}: array '{part.labels_name}' is {labels.dtype}{list(labels.shape)}; expected one whole number or "
            "one class name for each image, [n] or [n, 1]; of several findings an image, name them in data.findings."
        )
    if len(images) != len(labels) or not len(labels):
        raise DataError(
            f"{path}: '{part.images_name}' has {len(images)} images and '{part.labels_name}' {len(labels)} labels; "
            "expected as many, and at least one."
        )
    if min(images.shape[1:3]) < 1:
        raise DataError(f"{path}: the images in '{part.images_name}' have no pixels: {list(images.shape)}.")


def _refuse_other_units(path: Path, parts: Sequence[_NpzPart]) -> None:
    """Bytes beside floats of 0..1 would come out black: one black and white holds for all parts."""
    first, *others = parts
    for part in others:
        if (part.images.dtype.kind, part.images.itemsize) != (first.images.dtype.kind, first.images.itemsize):
            raise DataError(
                f"{path}: '{first.images_name}' is {first.images.dtype} and '{part.images_name}' {part.images.dtype}; "
                "expected one type, in which a value means the same everywhere. Save them alike."
            )


def _not_finite(path: Path, parts: Sequence[_NpzPart]) -> list[Problem]:
    problems, offset = [], 0
    for part in parts:
        if part.images.dtype.kind == "f":
            axes = tuple(range(1, part.images.ndim))
            # Sums are finite only where all pixels are, and cost no array of flags as large as the images.
            sums, most = part.images.sum(axis=axes, dtype=np.float64), np.finfo(np.float32).max
            ends = np.maximum(part.images.max(axis=axes), -part.images.min(axis=axes))
            bad = np.flatnonzero(~np.isfinite(sums) | (ends > most))
            what = f"{part.images_name} has pixels that are not finite (NaN or infinite), or above {most:.1e}"
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


def _splits(
    path: Path, arrays: Mapping[str, Array], source: Npz, parts: Sequence[_NpzPart], keep: Array
) -> tuple[Split, ...] | None:
    cases = sum(len(part.labels) for part in parts)
    if source.split is not None:
        words = npz_names.column(path, arrays, source.split, cases, keep)
        splits = [as_split(word, source.splits) for word in words]
        if strange := [word for word, split in zip(words, splits, strict=True) if split in (None, "unused")]:
            raise DataError(
                f"{path}: array '{source.split}' says '{legible(strange[0])}'; expected {', '.join(SPLITS)}, or say in "
                "data.splits which of them it is."
            )
        return tuple(split for split in splits if split and split != "unused")
    own_split = [part.split for part in parts for _ in range(len(part.labels)) if part.split]
    return tuple(own_split[i] for i in keep) if own_split else None

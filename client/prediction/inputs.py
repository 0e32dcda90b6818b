"""What the command line names as images: files, folders, arrays in an .npz, encrypted data sets."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from client import archive, readers
from client.arrays import ArrayImages, value_range
from client.manifest import files_in
from client.origin import File, Origin
from client.readers import Frames
from common.config import Encrypted
from common.errors import DataError
from common.imaging import Picture

_SEALED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)/(?P<number>\d+)")


@dataclass(frozen=True)
class Image:
    """One image, not read yet."""

    name: str
    read: Callable[[], list[Picture]]
    """Its chosen frames.

    Raises:
        ImageError: it cannot be read.
    """


def images(names: Sequence[str], home: Path, frames: Frames) -> list[Image]:
    """All images that are named, in the order given; nothing is read yet but the lists of arrays and data sets.

    Raises:
        DataError: a folder without files, or an .npz without images.
        ConfigError, CustodyError: an encrypted data set that cannot be opened.
    """
    return [image for name in names for image in _named(name, home, frames)]


def _named(name: str, home: Path, frames: Frames) -> Iterator[Image]:
    path, sealed = Path(name), _SEALED.fullmatch(name)
    if sealed and not path.exists() and (home / "sets" / sealed["name"]).is_dir():
        yield from _sealed(home / "sets" / sealed["name"], home, frames, int(sealed["number"]))
    elif (path / "index").is_file() and (path / "packs").is_dir():
        yield from _sealed(path, home, frames, None)
    elif path.is_dir():
        files = files_in(path)
        if not files:
            raise DataError(f"{path}: a folder without files; expected images.")
        for file in files:
            yield from _file(file, frames)
    else:
        yield from _file(path, frames)


def _file(path: Path, frames: Frames) -> Iterator[Image]:
    if path.suffix.lower() == ".npz":
        return _arrays(path)
    return iter([_of(File(path), frames)])


def _of(origin: Origin, frames: Frames) -> Image:
    return Image(str(origin), partial(readers.read, origin, frames))


def _sealed(folder: Path, home: Path, frames: Frames, number: int | None) -> Iterator[Image]:
    from client.custody import table  # opens keys: only where there is something to open

    store = table.open_store(Encrypted(kind="encrypted", path=folder, home=home))
    many = len(store.index.objects)
    if number is not None and number >= many:
        raise DataError(f"{store.name}/{number}: no such image; expected {store.name}/0 to {store.name}/{many - 1}.")
    for each in range(many) if number is None else [number]:
        yield _of(table.Sealed(store, each), frames)


def _arrays(path: Path) -> Iterator[Image]:
    """Every image of the arrays that are called images, or something_images as MedMNIST's are."""
    parts = tuple((k, a) for k, a in archive.load(path).items() if k == "images" or k.endswith("_images"))
    for key, array in parts:
        if array.ndim not in (3, 4) or array.dtype.kind not in "uif" or not array.size:
            raise DataError(f"{path}: array '{key}' is {array.dtype}{list(array.shape)}; expected images [n, h, w].")
    if not parts:
        raise DataError(f"{path}: no array of images; expected `images`, or `test_images` and the like.")
    many = sum(len(array) for _, array in parts)
    found = ArrayImages(str(path), parts, np.arange(many), *value_range([array for _, array in parts]))
    for i in range(many):
        yield Image(found.name(i), partial(lambda i: list(found.pictures([i])), i))

"""What the command line names as images: files, folders, arrays in an .npz, encrypted data sets."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client import readers
from client.home import Home
from client.readers import Frames
from client.readers.source import ImageFile, ImageSource
from client.sources import safe_npz
from client.sources.folder_walk import Found
from client.sources.npz import ArrayImages, value_range
from common.cli.harmless import legible
from common.config import Encrypted
from common.errors import DataError
from common.imaging import Picture

_ENCRYPTED_NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(/(?P<number>\d+))?")


@dataclass(frozen=True)
class Image:
    """One image, not read yet."""

    name: str
    """For people to read: as `legible` writes it."""
    read: Callable[[], list[Picture]]
    """Its chosen frames.

    Raises:
        DataError: it cannot be read.
    """
    origin: ImageSource | None = None
    """Where its bytes are; None: in an array of several."""


def images(names: Sequence[str | Path], home: Home | None, frames: Frames) -> list[Image]:
    """All images that are named, in the order given; nothing is read yet but the lists of arrays and data sets.

    What holds no image, or cannot be opened, stands for one that cannot be read: the others can.

    Raises:
        ConfigError, CustodyError: an encrypted data set that cannot be opened.
    """
    all_images = list[Image]()
    for name in names:
        try:
            all_images += _images_of(name, home, frames)
        except OSError as error:  # also of a name that is too long, or of a folder that is not for this user
            all_images.append(_unusable(name, DataError(f"{name}: cannot be opened ({error.strerror}).")))
    return all_images


def _images_of(name: str | Path, home: Home | None, frames: Frames) -> Iterator[Image]:
    path, match = (name if isinstance(name, Path) else Path(name)), _ENCRYPTED_NAME.fullmatch(str(name))
    if match and not path.exists() and home and (home.folder / "sets" / match["name"]).is_dir():
        number = int(match["number"]) if match["number"] else None
        yield from _encrypted_images(home.folder / "sets" / match["name"], home, frames, number)
    elif (path / "index").is_file() and (path / "packs").is_dir():
        yield from _encrypted_images(path, home, frames, None)
    elif path.is_dir():
        search = Found()
        for file in search.walk(path):
            yield from _file(file, frames)
        for problem in search.problems:
            yield _unusable(problem.file, DataError(str(problem)))
        if not search.files and not search.problems:
            yield _unusable(path, DataError(f"{path}: a folder without files; expected images."))
    else:
        yield from _file(path, frames)


def _file(path: Path, frames: Frames) -> Iterator[Image]:
    if path.suffix.lower() == ".npz":
        try:
            return iter(list(_arrays(path)))
        except DataError as error:
            return iter([_unusable(path, error)])
    return iter([_of(ImageFile(path), frames)])


def _unusable(path: Path | str, error: DataError) -> Image:
    def read() -> list[Picture]:
        raise error

    return Image(legible(str(path)), read)


def _of(origin: ImageSource, frames: Frames) -> Image:
    return Image(legible(str(origin)), partial(readers.read, origin, frames), origin)


def _encrypted_images(folder: Path, home: Home | None, frames: Frames, number: int | None) -> Iterator[Image]:
    from client.custody import encrypted_cases  # opens keys: only where there is something to open

    store = encrypted_cases.open_store(Encrypted(kind="encrypted", path=folder, home=home and home.folder), home)
    many = len(store.index.objects)
    if number is not None and number >= many:
        raise DataError(f"{store.name}/{number}: no such image; expected {store.name}/0 to {store.name}/{many - 1}.")
    for each in range(many) if number is None else [number]:
        yield _of(encrypted_cases.EncryptedImage(store, each), frames)


def _arrays(path: Path) -> Iterator[Image]:
    """Every image of the arrays that are called images, or something_images as MedMNIST's are."""
    parts = tuple((k, a) for k, a in safe_npz.load(path).items() if k == "images" or k.endswith("_images"))
    for key, array in parts:
        if array.ndim not in (3, 4) or array.dtype.kind not in "uif" or not array.size:
            raise DataError(f"{path}: array '{key}' is {array.dtype}{list(array.shape)}; expected images [n, h, w].")
    if not parts:
        raise DataError(f"{path}: no array of images; expected `images`, or `test_images` and the like.")
    sound = [_finite(array) for _, array in parts]
    usable_parts = [array if fine.all() else array[fine] for (_, array), fine in zip(parts, sound, strict=True)]
    usable = np.concatenate(sound)
    black, white = value_range(usable_parts) if usable.any() else (0.0, 1.0)
    array_images = ArrayImages(str(path), parts, np.arange(len(usable)), black, white)
    for i, fine in enumerate(usable):
        name = array_images.name(i)
        if fine:
            yield Image(legible(name), partial(lambda i: list(array_images.pictures([i])), i))
        else:
            yield _unusable(name, DataError(f"{name}: has pixels that are no finite numbers of single precision."))


def _finite(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Which images of float[n, …] can be used: one that cannot would decide what is black and white in the others."""
    if array.dtype.kind != "f":
        return np.ones(len(array), bool)
    with np.errstate(over="ignore"):
        return np.array([np.isfinite(image.astype(np.float32)).all() for image in array], bool)

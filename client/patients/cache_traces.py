"""What the caches of decoded and prepared images hold of a data set, sealed under its key, and how it goes.

Writing a set again makes all of it unreadable, in every folder that any configuration ever named. Here the files go as
well, where this site's settings, its own folder, the working folder or the caller say that a cache is.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from client.custody.encrypted_cases import EncryptedImage
from client.custody.encrypted_dataset import EncryptedDataset
from client.home import Home
from client.readers import Frames
from client.sources import image_cache, prepared_cache
from client.sources.cache_trim import OURS


@dataclass(frozen=True)
class CacheTraces:
    """What one cache has of some images."""

    folder: Path
    decoded: int
    records: int
    """Records of images after a preprocessing or an encoder."""


def folders(home: Home, others: Collection[Path] = ()) -> list[Path]:
    """Where a cache of this site's data may be, and is."""
    paths = [*others, Path("cache"), home.folder / "cache"]
    for dataset in home.settings.datasets.values():
        if (cache := dataset.data.cache) is not None:
            paths += [cache, home.folder / cache]
    return sorted({path.resolve() for path in paths if path.is_dir()})


def look(folder: Path, store: EncryptedDataset, numbers: Collection[int]) -> CacheTraces:
    """What a cache has of these objects; only what opens under the data set's key counts."""
    images = [EncryptedImage(store, number) for number in numbers]
    decoded = sum(path.exists() for image in images for path in _entries(folder, image))
    records = 0
    for path in _prepared_files(folder):
        for part, ciphertext in prepared_cache.parts(path):
            records += any(_opens(image, ciphertext, part) for image in images)
    return CacheTraces(folder, decoded, records)


def clear(folder: Path, store: EncryptedDataset) -> int:
    """Remove the decoded images of a data set, and every file of prepared ones; how many files went.

    A file of prepared images does not say whose they are. Those of other data sets are made again when they are needed.
    """
    images = [EncryptedImage(store, number) for number in range(len(store.index.objects))]
    paths = [path for image in images for path in _entries(folder, image) if path.exists()] + [*_prepared_files(folder)]
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths)


def _entries(folder: Path, image: EncryptedImage) -> Iterator[Path]:
    frames = {case.frame for case in image.store.index.cases if case.object == image.number and case.frame is not None}
    choices: tuple[Frames, ...] = ("first", "middle", "all", *frames)
    return (image_cache.entry_path(folder, image, choice) for choice in choices)


def _prepared_files(folder: Path) -> Iterator[Path]:
    place = folder / prepared_cache.FOLDER
    return (path for path in sorted(place.glob("*")) if OURS.fullmatch(path.relative_to(folder).as_posix()))


def _opens(image: EncryptedImage, ciphertext: bytes, part: str) -> bool:
    try:
        image.unseal(ciphertext, part)
    except ValueError:
        return False
    return True

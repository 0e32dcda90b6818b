"""What a site, its caches and the newest snapshot of its backup hold, in the clear as far as keys open it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from client.backup import unlock
from client.backup.create import run as back_up
from client.custody import lifecycle, sealing, wrapped_keys
from client.custody.dataset_index import Index
from client.custody.encrypted_cases import EncryptedImage
from client.custody.encrypted_dataset import INDEX, EncryptedDataset, unseal_index
from client.custody.key_ring import Custody
from client.sources import prepared_cache


def everything(custody: Custody, caches: Path, disk: Path | None = None) -> Iterator[bytes]:
    """Every file as it lies there, and whatever the keys that are there make of it."""
    for path in [*custody.home.folder.rglob("*"), *caches.rglob("*")]:
        if path.is_file():
            yield path.read_bytes()
    for folder in lifecycle.data_sets(custody):
        store = EncryptedDataset.open(custody, folder)
        yield store.index.encode()
        for number in range(len(store.index.objects)):
            yield bytes(store.read(number))
        yield from _of_caches(store, caches)
    if disk is not None:
        yield from _of_snapshot(custody, disk)


def _of_caches(store: EncryptedDataset, caches: Path) -> Iterator[bytes]:
    images = [EncryptedImage(store, number) for number in range(len(store.index.objects))]
    for path in caches.rglob("*.npz"):
        for image in images:
            yield from _opened(image, path.read_bytes()[8:], f"{path.stem}/0")
    for path in (caches / "prepared").glob("*"):
        for part, sealed in prepared_cache.parts(path):
            for image in images:
                yield from _opened(image, sealed, part)


def _opened(image: EncryptedImage, sealed: bytes, part: str) -> Iterator[bytes]:
    try:
        yield bytes(image.unseal(sealed, part))
    except ValueError:
        return


def _of_snapshot(custody: Custody, disk: Path) -> Iterator[bytes]:
    repository = unlock.open_backup(custody, disk / custody.site)
    snapshot = repository.snapshot(repository.numbers()[-1])
    files = {
        file.path: b"".join(repository.piece(digest, name, file.sealed) for digest, name in file.pieces)
        for file in snapshot.files
    }
    yield from files.values()
    for path, content in files.items():
        if path.endswith("/keys") and path.startswith("sets/"):
            folder = custody.sets / path.split("/")[1]
            wraps = wrapped_keys.decode(content, path)
            keys = wrapped_keys.unwrap(wraps, custody, folder)
            _, index = unseal_index(folder, wraps, keys, files[f"sets/{folder.name}/{INDEX}"])
            yield index.encode()
            yield from _objects(files, folder.name, wraps, keys, index)


def _objects(
    files: dict[str, bytes], name: str, wraps: wrapped_keys.WrappedKeys, keys: wrapped_keys.DatasetKeys, index: Index
) -> Iterator[bytes]:
    for entry in index.objects:
        pack = files[f"sets/{name}/packs/{entry.pack:05d}"]
        sealed = pack[entry.offset : entry.offset + entry.length]
        yield sealing.unseal(keys.data, sealed, wraps.place("object", entry.id), "a snapshot's object")


def count(contents: Iterator[bytes], needles: list[bytes]) -> int:
    """How many of these are in any of the contents."""
    everyone = set(needles)
    left = set(everyone)
    for content in contents:
        left -= {needle for needle in left if needle in content}
    return len(everyone) - len(left)


def snapshot(custody: Custody, disk: Path) -> int:
    """Back up; the number of the snapshot."""
    disk.mkdir(exist_ok=True)
    return back_up(custody, unlock.open_or_begin(custody, disk, False)).number


def of_pixels(content: bytes) -> str:
    """The digest by which an image is looked for."""
    return hashlib.sha256(content).hexdigest()

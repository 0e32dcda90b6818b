"""What a site, its caches and the newest snapshot of its backup hold, in the clear as far as keys open it."""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from client.backup import unlock
from client.backup.create import run as back_up
from client.custody import lifecycle, sealing, wrapped_keys
from client.custody.dataset_index import Index
from client.custody.encrypted_cases import EncryptedImage
from client.custody.encrypted_dataset import INDEX, EncryptedDataset, unseal_index
from client.custody.key_ring import Custody
from client.patients.search import Match
from client.sources import cache_entry, prepared_cache


def everything(
    custody: Custody, caches: Path, disk: Path | None = None, suspects: Sequence[EncryptedImage] = ()
) -> Iterator[bytes]:
    """Every file as it lies there, and whatever the keys that are there make of it.

    Args:
        suspects: images as they were once called, which a cache may still hold.
    """
    for path in [*custody.home.folder.rglob("*"), *caches.rglob("*")]:
        if path.is_file():
            yield path.read_bytes()
    for folder in lifecycle.data_sets(custody):
        store = EncryptedDataset.open(custody, folder)
        yield store.index.encode()
        for number in range(len(store.index.objects)):
            yield bytes(store.read(number))
        yield from _of_caches(store, caches, suspects)
    if disk is not None:
        yield from _of_snapshot(custody, disk)


def suspects_of(matches: Iterable[Match]) -> list[EncryptedImage]:
    """The images that were found, as they are called now."""
    return [EncryptedImage(match.store, number) for match in matches for number in match.numbers]


def _of_caches(store: EncryptedDataset, caches: Path, suspects: Sequence[EncryptedImage]) -> Iterator[bytes]:
    """What of a cache opens as one of the suspects under the key that the data set has now."""
    images = [
        EncryptedImage(replace(suspect.store, secrets=store.secrets), suspect.number)
        for suspect in suspects
        if suspect.store.wraps.set == store.wraps.set
    ]
    for path in caches.rglob("*.npz"):
        for image in images:
            yield from _opened(image, path)
    for path in (caches / "prepared").glob("*"):
        for part, ciphertext in prepared_cache.parts(path):
            for image in images:
                with suppress(ValueError):
                    yield bytes(image.unseal(ciphertext, part))


def _opened(image: EncryptedImage, path: Path) -> Iterator[bytes]:
    seal = cache_entry.EntrySeal(image.sealer, path.stem)
    for part in range(2):
        with path.open("rb") as file, suppress(ValueError, OSError, struct.error):
            yield bytes(seal.open_part(file, part))


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

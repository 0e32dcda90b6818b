"""Decoded images, kept on disk: a JPEG 2000 radiograph takes half a second to decode, and a hundredth from here.

One entry a file and choice of frames, named by path, size, time of change and version of the readers; pixels in the
smallest type that holds them exactly. An entry is written whole or not at all, and a damaged one is made again, so the
folder may be deleted at any time. It holds images and patient numbers: it belongs where the images belong. What comes
from an encrypted data set is sealed under that set's key.
"""

import base64
import hashlib
import multiprocessing
import os
import signal
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client import readers
from client.readers import Frames
from client.readers.source import ImageSource
from client.sources import cache_entry
from client.sources.cache_trim import touch
from client.sources.case_table import Facts
from client.sources.thumbnail import thumbnail
from common.cli import terminal
from common.cli.progress import Watch
from common.errors import DataError, ImageError
from common.imaging import Picture

ALONE_S = 2.0
"""So long one process decodes by itself; starting others takes about as long."""
DAMAGED = (OSError, ValueError, KeyError, TypeError, struct.error)
"""What reading an entry raises that was changed or cut."""


@dataclass(frozen=True)
class CachedImage:
    """What an entry says of the chosen frames of one file."""

    origin: ImageSource
    frames: Frames
    entry: Path | None
    """None: it is decoded each time, because that is as fast."""
    facts: tuple[Facts, ...]
    ranges: tuple[tuple[float, float], ...]
    """Nominal black and white of each frame."""
    is_shown: bool
    """Whether the pixels are what a curve of the file shows (`Picture.is_shown`)."""
    belonging: Mapping[str, str | None]
    """Patient, study and series of a DICOM header."""
    thumbnails: tuple[str | None, ...]
    """Of each frame, in base64; None: not known, by an older release."""

    def content(self) -> str:
        """A digest of all chosen frames: files with one digest hold the same images."""
        return hashlib.blake2b(b"".join(f.digest for f in self.facts), digest_size=16).hexdigest()


def gather(folder: Path, files: Sequence[tuple[ImageSource, Frames]]) -> list[CachedImage | ImageError]:
    """What is known of every file, decoding those that the cache lacks: with all processors where that takes long.

    Raises:
        DataError: the folder cannot be written.
    """
    images: list[CachedImage | ImageError | None] = [look_up(folder, origin, frames) for origin, frames in files]
    missing = [i for i, image in enumerate(images) if image is None]
    started = time.monotonic()
    for count, i in enumerate(missing):
        elapsed_s = time.monotonic() - started
        if elapsed_s > ALONE_S and elapsed_s / max(count, 1) * (len(missing) - count) > 2 * ALONE_S:
            for j, result in zip(
                missing[count:], _in_processes(folder, [files[k] for k in missing[count:]]), strict=True
            ):
                images[j] = result
            break
        images[i] = _attempt(folder, *files[i])
    return [image for image in images if image is not None]


def look(image: CachedImage, index: int) -> bytes:
    """The thumbnail of one of the frames, from what is known of it, or else from its pixels."""
    thumbnail64 = image.thumbnails[index]
    return thumbnail(picture(image, index).pixels) if thumbnail64 is None else base64.b64decode(thumbnail64)


def picture(image: CachedImage, index: int) -> Picture:
    """One of the frames, from the cache, or decoded again if the entry is gone or damaged."""
    if image.entry is None:
        return replace(readers.read(image.origin, image.frames)[index], name=str(image.origin))
    try:
        pixels = _frame(image.entry, image, index)
    except DAMAGED:
        build(image.entry.parent.parent, image.origin, image.frames)
        pixels = _frame(image.entry, image, index)
    return Picture(pixels.astype(np.float32), *image.ranges[index], str(image.origin), image.is_shown)


def _frame(entry: Path, image: CachedImage, index: int) -> NDArray[Any]:
    with entry.open("rb") as file:
        return cache_entry.read_frame(file, index, image.facts[index].shape, _seal(entry, image.origin))


def _seal(entry: Path, origin: ImageSource) -> cache_entry.EntrySeal:
    return cache_entry.EntrySeal(origin.sealer or cache_entry.Checksums(), entry.stem)


def look_up(folder: Path, origin: ImageSource, frames: Frames) -> CachedImage | None:
    """The entry of a file as it is now; None if there is none, or a damaged one."""
    if frame_facts := origin.frame_facts():
        return _cached_image(origin, frames, None, frame_facts)
    try:
        entry = entry_path(folder, origin, frames)
        with entry.open("rb") as file:
            entry_facts = cache_entry.read_facts(file, _seal(entry, origin))
    except DAMAGED:
        return None
    touch(entry)
    return _cached_image(origin, frames, entry, entry_facts)


def build(folder: Path, origin: ImageSource, frames: Frames) -> CachedImage:
    """Decode a file and write its entry.

    Raises:
        ImageError: the file cannot be read.
        DataError: the folder cannot be written.
    """
    pictures = readers.read(origin, frames)
    content = {"frames": [facts(p) for p in pictures], **readers.belonging(origin)}
    entry = entry_path(folder, origin, frames)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=entry.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:  # not flushed to the disk: a damaged entry is merely made again
                cache_entry.write(file, content, [smallest(p.pixels) for p in pictures], _seal(entry, origin))
            Path(temporary).replace(entry)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(
            f"{folder}: decoded images cannot be kept here ({error.strerror}). Free some space, or give another "
            "folder as data.cache."
        ) from None
    return _cached_image(origin, frames, entry, content)


def _attempt(folder: Path, origin: ImageSource, frames: Frames) -> CachedImage | ImageError:
    try:
        return build(folder, origin, frames)
    except ImageError as error:
        return error


def _in_processes(folder: Path, files: Sequence[tuple[ImageSource, Frames]]) -> Iterator[CachedImage | ImageError]:
    """Decode in processes, not threads: decoders hold Python's lock. Progress goes to the standard error stream."""
    pool = ProcessPoolExecutor(
        min(os.cpu_count() or 1, 16),
        multiprocessing.get_context("spawn"),
        signal.signal,
        (signal.SIGINT, signal.SIG_IGN),
    )
    try:
        with Watch(len(files), terminal.console(errors=True)) as watch:
            for image in pool.map(_attempt, [folder] * len(files), *zip(*files, strict=True), chunksize=2):
                watch.advance(1, "decoding images")
                yield image
    except BrokenProcessPool:
        raise DataError(
            f"A process that was decoding images ended abruptly (memory full, or a file that breaks its decoder). What "
            f"was decoded is kept in {folder}: start again, and if it repeats, split the data set to find the file."
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def entry_path(folder: Path, origin: ImageSource, frames: Frames) -> Path:
    """Where the entry of a choice of frames is, if there is one; the suffix is release 0.1's, whose own it replaces."""
    key = repr((origin.state(), frames, readers.VERSION))
    name = hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=16).hexdigest()
    return folder / name[:2] / f"{name}.npz"


def _cached_image(origin: ImageSource, frames: Frames, entry: Path | None, content: dict[str, Any]) -> CachedImage:
    frame_facts = tuple(
        Facts((f["shape"][0], f["shape"][1], f["shape"][2]), f["darkest"], f["brightest"], bytes.fromhex(f["digest"]))
        for f in content["frames"]
    )
    ranges = tuple((float(f["low"]), float(f["high"])) for f in content["frames"])
    is_shown = any(f.get("is_shown") for f in content["frames"])
    belonging = {key: content.get(key) for key in ("patient", "study", "series")}
    thumbnails = tuple(f.get("thumbnail") for f in content["frames"])
    return CachedImage(origin, frames, entry, frame_facts, ranges, is_shown, belonging, thumbnails)


def facts(picture: Picture) -> dict[str, Any]:
    """What an entry tells of one frame."""
    pixels = picture.pixels
    digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()
    ends = {"darkest": float(pixels.min()), "brightest": float(pixels.max())}
    content = {"shape": pixels.shape, **ends, "digest": digest, "low": picture.low, "high": picture.high}
    content |= {"thumbnail": base64.b64encode(thumbnail(pixels)).decode()}
    return content | ({"is_shown": True} if picture.is_shown else {})


def smallest(pixels: NDArray[np.float32]) -> NDArray[Any]:
    """The same values in the smallest type that holds them exactly."""
    low, high = pixels.min(), pixels.max()
    for kind in (np.uint8, np.uint16, np.int16):
        limits = np.iinfo(kind)
        if low >= limits.min and high <= limits.max and np.array_equal(small := pixels.astype(kind), pixels):
            return small
    return pixels

"""Decoded images, kept on disk: a JPEG 2000 radiograph takes half a second to decode, and a hundredth from here.

One .npz a file and choice of frames, named by path, size, time of change and version of the readers; pixels in the
smallest type that holds them exactly. An entry is written whole or not at all, and a damaged one is made again, so the
folder may be deleted at any time. It holds images and patient numbers: it belongs where the images belong. What comes
from an encrypted data set is sealed under that set's key.
"""

import hashlib
import multiprocessing
import os
import signal
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client import readers
from client.readers import Frames
from client.readers.source import Origin
from client.sources import cache_entry
from client.sources.case_table import Facts
from common.cli import terminal
from common.cli.progress import Watch
from common.errors import DataError, ImageError
from common.imaging import Picture

ALONE_S = 2.0
"""So long one process decodes by itself; starting others takes about as long."""
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, struct.error, zipfile.BadZipFile, zlib.error)
"""What reading an entry raises that was changed or cut."""


@dataclass(frozen=True)
class Known:
    """What an entry says of the chosen frames of one file."""

    origin: Origin
    frames: Frames
    entry: Path | None
    """None: it is decoded each time, because that is as fast."""
    facts: tuple[Facts, ...]
    ranges: tuple[tuple[float, float], ...]
    """Nominal black and white of each frame."""
    patient: str | None
    """The PatientID of a DICOM header."""

    def content(self) -> str:
        """A digest of all chosen frames: files with one digest hold the same images."""
        return hashlib.blake2b(b"".join(f.digest for f in self.facts), digest_size=16).hexdigest()


def gather(folder: Path, wanted: Sequence[tuple[Origin, Frames]]) -> list[Known | ImageError]:
    """What is known of every file, decoding those that the cache lacks: with all processors where that takes long.

    Raises:
        DataError: the folder cannot be written.
    """
    found: list[Known | ImageError | None] = [look_up(folder, origin, frames) for origin, frames in wanted]
    missing = [i for i, known in enumerate(found) if known is None]
    started = time.monotonic()
    for done, i in enumerate(missing):
        spent = time.monotonic() - started
        if spent > ALONE_S and spent / max(done, 1) * (len(missing) - done) > 2 * ALONE_S:
            for j, result in zip(
                missing[done:], _in_processes(folder, [wanted[k] for k in missing[done:]]), strict=True
            ):
                found[j] = result
            break
        found[i] = _attempt(folder, *wanted[i])
    return [known for known in found if known is not None]


def picture(known: Known, index: int) -> Picture:
    """One of the frames, from the cache, or decoded again if the entry is gone or damaged."""
    if known.entry is None:
        return replace(readers.read(known.origin, known.frames)[index], name=str(known.origin))
    try:
        pixels = _frame(known.entry, known, index)
    except DAMAGED:
        build(known.entry.parent.parent, known.origin, known.frames)
        pixels = _frame(known.entry, known, index)
    return Picture(pixels.astype(np.float32), *known.ranges[index], name=str(known.origin))


def _frame(entry: Path, known: Known, index: int) -> NDArray[Any]:
    with entry.open("rb") as file:
        return cache_entry.read_frame(file, index, known.facts[index].shape, _seal(entry, known.origin))


def _seal(entry: Path, origin: Origin) -> cache_entry.Seal | None:
    return cache_entry.Seal(origin.sealer, entry.stem) if origin.sealer else None


def look_up(folder: Path, origin: Origin, frames: Frames) -> Known | None:
    """The entry of a file as it is now; None if there is none, or a damaged one."""
    if told := origin.told():
        return _known(origin, frames, None, told)
    try:
        entry = _entry(folder, origin, frames)
        with entry.open("rb") as file:
            return _known(origin, frames, entry, cache_entry.read_told(file, _seal(entry, origin)))
    except DAMAGED:
        return None


def build(folder: Path, origin: Origin, frames: Frames) -> Known:
    """Decode a file and write its entry.

    Raises:
        ImageError: the file cannot be read.
        DataError: the folder cannot be written.
    """
    pictures = readers.read(origin, frames)
    told = {"frames": [facts(p) for p in pictures], "patient": readers.patient(origin)}
    entry = _entry(folder, origin, frames)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=entry.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:  # not flushed to the disk: a damaged entry is merely made again
                cache_entry.write(file, told, [smallest(p.pixels) for p in pictures], _seal(entry, origin))
            Path(temporary).replace(entry)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(
            f"{folder}: decoded images cannot be kept here ({error.strerror}). Free some space, or give another "
            "folder as data.cache."
        ) from None
    return _known(origin, frames, entry, told)


def _attempt(folder: Path, origin: Origin, frames: Frames) -> Known | ImageError:
    try:
        return build(folder, origin, frames)
    except ImageError as error:
        return error


def _in_processes(folder: Path, wanted: Sequence[tuple[Origin, Frames]]) -> Iterator[Known | ImageError]:
    """Decode in processes, not threads: decoders hold Python's lock. Progress goes to the standard error stream."""
    pool = ProcessPoolExecutor(
        min(os.cpu_count() or 1, 16),
        multiprocessing.get_context("spawn"),
        signal.signal,
        (signal.SIGINT, signal.SIG_IGN),
    )
    try:
        with Watch(len(wanted), terminal.console(errors=True)) as watch:
            for known in pool.map(_attempt, [folder] * len(wanted), *zip(*wanted, strict=True), chunksize=2):
                watch.advance(1, "decoding images")
                yield known
    except BrokenProcessPool:
        raise DataError(
            f"A process that was decoding images ended abruptly (memory full, or a file that breaks its decoder). What "
            f"was decoded is kept in {folder}: start again, and if it repeats, split the data set to find the file."
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _entry(folder: Path, origin: Origin, frames: Frames) -> Path:
    key = repr((origin.state(), frames, readers.VERSION))
    name = hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=16).hexdigest()
    return folder / name[:2] / f"{name}.npz"


def _known(origin: Origin, frames: Frames, entry: Path | None, told: dict[str, Any]) -> Known:
    found = tuple(
        Facts((f["shape"][0], f["shape"][1], f["shape"][2]), f["darkest"], f["brightest"], bytes.fromhex(f["digest"]))
        for f in told["frames"]
    )
    ranges = tuple((float(f["low"]), float(f["high"])) for f in told["frames"])
    return Known(origin, frames, entry, found, ranges, told["patient"])


def facts(picture: Picture) -> dict[str, Any]:
    """What an entry tells of one frame."""
    pixels = picture.pixels
    digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()
    ends = {"darkest": float(pixels.min()), "brightest": float(pixels.max())}
    return {"shape": pixels.shape, **ends, "digest": digest, "low": picture.low, "high": picture.high}


def smallest(pixels: NDArray[np.float32]) -> NDArray[Any]:
    """The same values in the smallest type that holds them exactly."""
    low, high = pixels.min(), pixels.max()
    for kind in (np.uint8, np.uint16, np.int16):
        limits = np.iinfo(kind)
        if low >= limits.min and high <= limits.max and np.array_equal(small := pixels.astype(kind), pixels):
            return small
    return pixels

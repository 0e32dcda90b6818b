"""Images after the preprocessing, kept on disk: an encoder looks at each once, and what is too much for the memory is
read from here.

One file a recipe, to which records are added: the image's key, its shape, and its values in the smallest type that
holds them exactly. What comes from an encrypted data set is sealed under that set's key. A record that is cut or
damaged is made again, so the folder may be deleted at any time, and a computation that was interrupted goes on where it
was.
"""

import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from client.readers.source import Sealer
from client.sources import cache_trim
from client.sources.case_table import ImagesAsRead
from common.cli import terminal
from common.cli.progress import Watch
from common.errors import DataError, EncoderError
from common.image_stack import StoredImages, batches, slices
from common.imaging.picture_checks import refuse_different_shapes
from common.imaging.pipeline import Pipeline
from common.storage import file_lock
from common.types import Places, Stack

FOLDER = "prepared"
TOGETHER = 8
"""Images that are prepared before they are written down: as many as an encoder takes at once."""
HEAD = struct.Struct("<16s3IHI")
"""Of a record: the image's key, height, width, channels, by what whole numbers are divided, how many bytes follow."""
MOST_BYTES = 1 << 30
TYPES = {255: "<u1", 65535: "<u2", 1: "<f4"}
"""Of the values, by what they are divided."""

Shape = tuple[int, int, int]


class Checksum:
    """What may lie on the disk in the clear, after a sum that tells damage."""

    def state(self) -> str:
        """No key."""
        return ""

    def seal(self, content: bytes, part: str) -> bytes:
        """Four bytes, and the content."""
        return zlib.crc32(content).to_bytes(4, "little") + content

    def unseal(self, sealed_bytes: bytes, part: str) -> memoryview:
        """The content of `seal`; ValueError: it was changed."""
        content = memoryview(sealed_bytes)[4:]
        if zlib.crc32(content).to_bytes(4, "little") != sealed_bytes[:4]:
            raise ValueError("a part that is not what was stored")
        return content


@dataclass(frozen=True)
class Record:
    """Where an image's values lie."""

    offset: int
    length: int
    shape: Shape
    divisor: int


def prepare(folder: Path, pipeline: Pipeline, images: ImagesAsRead, indices: Sequence[int]) -> StoredImages:
    """Images after all steps before the federated normalisation, those that are not there yet made now.

    Progress goes to the standard error stream.

    Raises:
        DataError: naming an image that cannot be used, sizes that differ, or the folder that cannot be written.
        EncoderError: the encoder is not here, or makes of an image, which is named, numbers that are not finite.
    """
    cache = PreparedImages(folder, pipeline, images, indices)
    cache.complete()
    return StoredImages(cache.read, np.arange(len(indices)), cache.shape())


class PreparedImages:
    """The images of a data set in the file of a recipe. Threads may read beside each other."""

    def __init__(self, folder: Path, pipeline: Pipeline, images: ImagesAsRead, indices: Sequence[int]) -> None:
        self._pipeline, self._images, self._indices = pipeline, images, indices
        recipe = pipeline.early_fingerprint()
        self._keys = [self._key(recipe, index) for index in indices]
        self._path, self._lock = folder / FOLDER / recipe[:32], threading.Lock()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b", buffering=0)  # the same file to the end, also where somebody deletes it
            cache_trim.touch(self._path)
        except OSError as error:
            raise self._unwritable(error) from None
        self._records, self._end = dict[bytes, Record](), 0
        self._look(set(self._keys))

    def __del__(self) -> None:
        if file := getattr(self, "_file", None):
            file.close()

    def shape(self) -> Shape:
        """Of all images.

        Raises:
            DataError: they differ.
        """
        examples = dict[Shape, str]()
        for index, key in zip(self._indices, self._keys, strict=True):
            examples.setdefault(self._records[key].shape, self._images.name(index))
        refuse_different_shapes(examples)
        return next(iter(examples))

    def complete(self) -> None:
        """Make what is missing, on all processors."""
        first = {key: place for place, key in reversed(list(enumerate(self._keys)))}  # of equal images one
        missing = np.array(sorted(place for key, place in first.items() if key not in self._records), np.int64)
        to_make = StoredImages(self._make, missing, (0, 0, 0))
        parts = slices(len(missing), TOGETHER)
        with Watch(len(missing), terminal.console(errors=True)) as watch:
            for part, stack in zip(parts, batches(to_make, parts, os.cpu_count() or 1), strict=True):
                self._append(missing[part], stack)
                watch.advance(len(stack), "preparing images")

    def read(self, places: Places) -> Stack:
        """float32[k, h, w, c]."""
        return np.stack([self._one(int(place)) for place in places])

    def _one(self, place: int) -> Stack:
        """float32[h, w, c]; what turns out to be damaged is made again."""
        record = self._records[self._keys[place]]
        try:
            ciphertext = os.pread(self._file.fileno(), record.length, record.offset)
            values = np.frombuffer(self._sealer(place).unseal(ciphertext, self._part(place)), TYPES[record.divisor])
            stack = values.reshape(record.shape)
        except (ValueError, KeyError):
            self._append([place], images := self._make(np.array([place])))
            stack, record = images[0], replace(record, divisor=1)
        image: Stack = np.array(stack, np.float32)
        if record.divisor > 1:
            image /= np.float32(record.divisor)
        return image

    def _make(self, places: Places) -> Stack:
        try:
            return self._pipeline.before(self._images.pictures([self._indices[place] for place in places]))
        except EncoderError as error:
            if len(places) == 1:
                raise EncoderError(f"{self._images.name(self._indices[places[0]])}: {error}") from None
            return np.concatenate([self._make(places[i : i + 1]) for i in range(len(places))])

    def _key(self, recipe: str, index: int) -> bytes:
        """Of what decides the record: recipe, image, and the key that it is sealed under."""
        sealer = self._images.sealer(index)
        text = recipe.encode() + self._images.view(index) + (sealer.state().encode() if sealer else b"")
        return hashlib.blake2b(text, digest_size=16).digest()

    def _sealer(self, place: int) -> Sealer:
        return self._images.sealer(self._indices[place]) or Checksum()

    def _part(self, place: int) -> str:
        return part_of(self._keys[place])

    def _look(self, keys: set[bytes]) -> None:
        """Look at the records that were added since it was looked at last; `_end` is behind the last whole one."""
        size = os.fstat(self._file.fileno()).st_size
        while self._end + HEAD.size <= size:
            key, height, width, channels, divisor, length = HEAD.unpack(
                os.pread(self._file.fileno(), HEAD.size, self._end)
            )
            start = self._end + HEAD.size
            if length > MOST_BYTES or start + length > size:
                return
            if key in keys:
                self._records[key] = Record(start, length, (height, width, channels), divisor)
            self._end = start + length

    def _append(self, places: Sequence[int] | Places, stack: Stack) -> None:
        """Write records behind the whole ones, also behind those that others wrote meanwhile."""
        contents = list(self._entries(places, stack))
        try:
            with self._lock, file_lock.locked(self._file):
                self._look(set())
                self._file.truncate(self._end)  # what a process left half written
                for key, record, content in contents:
                    self._file.write(content)
                    offset = self._end + HEAD.size
                    self._records[key] = Record(offset, record.length, record.shape, record.divisor)
                    self._end += len(content)
        except OSError as error:
            raise self._unwritable(error) from None

    def _entries(self, places: Sequence[int] | Places, stack: Stack) -> Iterator[tuple[bytes, Record, bytes]]:
        for place, image in zip(map(int, places), stack, strict=True):
            divisor, values = smallest(image)
            ciphertext = self._sealer(place).seal(values, self._part(place))
            height, width, channels = image.shape
            head = HEAD.pack(self._keys[place], height, width, channels, divisor, len(ciphertext))
            yield self._keys[place], Record(0, len(ciphertext), (height, width, channels), divisor), head + ciphertext

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(
            f"{self._path}: prepared images cannot be kept here ({error.strerror}). Free some space, or give another "
            "folder as data.cache."
        )


def part_of(key: bytes) -> str:
    """As what a record is sealed, by its image's key."""
    return f"{FOLDER}/{key.hex()}"


def parts(path: Path) -> Iterator[tuple[str, bytes]]:
    """As what each record of a file is sealed, and its sealed bytes, up to one that was cut short."""
    with path.open("rb") as file:
        while len(head := file.read(HEAD.size)) == HEAD.size:
            key, *_, length = HEAD.unpack(head)
            if length > MOST_BYTES or len(content := file.read(length)) < length:
                return
            yield part_of(key), content


def smallest(image: Stack) -> tuple[int, bytes]:
    """By what to divide, and the values in whole numbers, where these give the very same bits again; else (1, values).

    Most images are of 8 or 16 bits, and a step that only moves pixels leaves them so: a quarter or half of the bytes.
    """
    for divisor in (255, 65535):
        whole = np.rint(image * np.float32(divisor))
        if whole.min() >= 0 and whole.max() <= divisor and np.array_equal(whole / np.float32(divisor), image):
            return divisor, whole.astype(TYPES[divisor]).tobytes()
    return 1, image.astype("<f4").tobytes()

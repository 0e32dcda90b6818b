"""What an encoder makes of images, kept on disk, so that it looks at each image once for a recipe.

One file a recipe, to which records are added: the image's key, and its numbers. What comes from an encrypted data set
is sealed under that set's key. A record that is cut or damaged is made again, so the folder may be deleted at any time,
and a computation that was interrupted goes on where it was.
"""

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.readers.source import Sealer
from client.sources.case_table import Images
from common.cli import terminal
from common.cli.progress import Watch
from common.errors import DataError
from common.imaging.pipeline import Pipeline
from common.storage import file_lock
from common.types import Stack

TOGETHER = 128
"""Images that are embedded before they are written down."""
HEAD = struct.Struct("<16sI")
"""Of a record: the image's key, and how many bytes follow."""
MOST_BYTES = 1 << 24

Vector = NDArray[np.float32]


def embed(folder: Path, pipeline: Pipeline, images: Images, indices: Sequence[int]) -> Stack:
    """Images after all steps before the federated normalisation, of which one is `embed`: float32[n, 1, 1, d].

    Progress goes to the standard error stream.

    Raises:
        DataError: naming an image that cannot be used, or the folder that cannot be written.
        EncoderError: the encoder is not here.
    """
    recipe = pipeline.early_fingerprint()
    path = folder / "embeddings" / recipe[:32]
    keys = [_key(recipe, images, i) for i in indices]
    vectors, end = _read(path, {key: images.sealer(i) for key, i in zip(keys, indices, strict=True)})
    missing = [(key, i) for key, i in dict(zip(keys, indices, strict=True)).items() if key not in vectors]
    with Watch(len(missing), terminal.console(errors=True)) as watch:
        for start in range(0, len(missing), TOGETHER):
            part = missing[start : start + TOGETHER]
            stack = pipeline.before(images.pictures([i for _, i in part]))
            records = [(key, stack[j, 0, 0], images.sealer(i)) for j, (key, i) in enumerate(part)]
            end = _append(path, records, end)
            vectors |= {key: vector for key, vector, _ in records}
            watch.advance(len(part), "embedding images")
    return np.stack([vectors[key] for key in keys])[:, None, None, :]


def _key(recipe: str, images: Images, index: int) -> bytes:
    return hashlib.blake2b(recipe.encode() + images.view(index), digest_size=16).digest()


def _read(path: Path, wanted: dict[bytes, Sealer | None]) -> tuple[dict[bytes, Vector], int]:
    """What is known of the images that are wanted, and where the whole records end."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Give another folder as data.cache.") from None
    vectors, end = {}, 0
    for key, record in _records(content):
        end += HEAD.size + len(record)
        if key in wanted:
            sealer = wanted[key]
            try:
                numbers = sealer.unseal(record, f"embedding/{key.hex()}") if sealer else record
            except ValueError:
                continue  # of other keys, or damaged: it is made again
            if len(numbers) % 4 == 0 and np.isfinite(vector := np.frombuffer(numbers, "<f4")).all():
                vectors[key] = vector
    lengths = [len(vector) for vector in vectors.values()]
    usual = max(lengths, key=lengths.count, default=0)
    return {key: vector for key, vector in vectors.items() if len(vector) == usual}, end


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + HEAD.size <= len(content):
        key, length = HEAD.unpack_from(content, at)
        record = content[at + HEAD.size : at + HEAD.size + length]
        if length > MOST_BYTES or len(record) < length:
            return
        yield key, record
        at += HEAD.size + length


def _append(path: Path, records: Sequence[tuple[bytes, Vector, Sealer | None]], end: int) -> int:
    """Write records behind the whole ones; where they end then.

    Args:
        end: where whole records ended when it was looked at last; what others have written since then is read alone.
    """
    contents = []
    for key, vector, sealer in records:
        numbers = vector.astype("<f4").tobytes()
        record = sealer.seal(numbers, f"embedding/{key.hex()}") if sealer else numbers
        contents.append(HEAD.pack(key, len(record)) + record)
    try:
        with file_lock.held(path.with_suffix(".lock")), path.open("a+b") as file:
            end = end if file.seek(0, os.SEEK_END) >= end else 0  # somebody deleted the folder meanwhile
            file.seek(end)
            end += sum(HEAD.size + len(record) for _, record in _records(file.read()))
            file.truncate(end)  # what a process left half written
            file.writelines(contents)
            return end + sum(map(len, contents))
    except OSError as error:
        raise DataError(
            f"{path}: what the encoder made of images cannot be kept here ({error.strerror}). Free some space, or give "
            "another folder as data.cache."
        ) from None

"""Image files to pictures: DICOM, PNG, JPEG and TIFF, told apart by their first bytes, whatever they are called.

A file comes from outside and may be damaged or made to harm: sizes that it claims are checked before memory is taken,
and whatever a decoder raises becomes one `ImageError` that begins with the path.
"""

import importlib
import warnings
from pathlib import Path
from typing import Literal

import numpy as np

from client.readers.source import ImageFile, ImageSource, size_bytes
from common.errors import ImageError
from common.imaging import Picture

VERSION = 4
"""Of the readers: raise it when a reader gives other pixels for the same file, so that caches are rebuilt."""

MAX_PIXELS = 1 << 27
"""Of one picture: 134 million, five times a mammogram. Beyond it an image is refused before memory is taken."""
MAX_BYTES = 4 << 30
"""Of one file."""

Frames = Literal["first", "middle", "all"] | int
"""Which frames of a file with several; a number counts from 0."""

FORMATS = {
    "DICOM": "client.readers.dicom",
    "PNG": "client.readers.raster",
    "JPEG": "client.readers.raster",
    "TIFF": "client.readers.tiff",
    "stored pixels": "client.readers.custody_pixels",
}
"""Module of each format's reader, each with `decode(origin, frames) -> list[Picture]`; imported when first needed."""


def read(image: Path | ImageSource, frames: Frames = "middle") -> list[Picture]:
    """Read the frames of one image.

    Raises:
        ImageError: not an image of a known format, damaged, truncated, hostile, or without that frame.
    """
    path = ImageFile(image) if isinstance(image, Path) else image
    kind = detect(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pictures: list[Picture] = importlib.import_module(FORMATS[kind]).decode(path, frames)
    except ImageError:
        raise
    except Exception as error:  # hostile bytes make decoders raise anything, MemoryError and RecursionError among it
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ImageError(f"{path}: damaged or unusual {kind} ({reason}). Export it again, or leave it out.") from None
    for picture in pictures:
        if not np.isfinite(picture.pixels).all():
            raise ImageError(
                f"{path}: has pixels that are not finite (NaN or infinite). Export it again, or leave it out."
            )
    return pictures


def belonging(path: ImageSource) -> dict[str, str | None]:
    """What an image belongs to, as its header says: `patient`, `study`, `series`; DICOM alone says it."""
    if detect(path) != "DICOM":
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        identity: dict[str, str | None] = importlib.import_module(FORMATS["DICOM"]).belonging(path)
    return identity


def detect(path: ImageSource) -> str:
    """The format of an image by its first bytes: a key of FORMATS.

    Raises:
        ImageError: there is no such file, it cannot be opened, is empty, or is of no known format.
    """
    try:
        with path.open() as stream:
            size = size_bytes(stream)
            head = stream.read(132)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}).") from None
    if not size:
        raise ImageError(f"{path}: an empty file. Copy or export it again.")
    if size > MAX_BYTES:
        raise ImageError(f"{path}: {size:,} bytes; files above {MAX_BYTES:,} are refused. Split it into frames.")
    for kind, beginnings in _MAGIC.items():
        if any(head[at : at + len(magic)] == magic for at, magic in beginnings):
            return kind
    raise ImageError(f"{path}: not an image of a known format; expected {', '.join(FORMATS)} (it begins {head[:8]!r}).")


_MAGIC = {
    # First, for a DICOM may begin like a TIFF (PS3.10 7.1). Some old devices leave out the 132 bytes of the preamble:
    # then an element of group 0002 or 0008 begins the file.
    "DICOM": ((128, b"DICM"), (0, b"\x02\x00\x00\x00"), (0, b"\x08\x00"), (0, b"\x00\x08\x00")),
    "PNG": ((0, b"\x89PNG\r\n\x1a\n"),),
    "JPEG": ((0, b"\xff\xd8\xff"),),
    "TIFF": ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
    "stored pixels": ((8, b'{"__metadata__":{"consilium":'),),
}


def choose(path: ImageSource, frames: Frames, count: int) -> list[int]:
    """Indices of the frames wanted of `count`."""
    if count < 1:
        raise ImageError(f"{path}: holds no frame.")
    if isinstance(frames, int):
        if not 0 <= frames < count:
            raise ImageError(f"{path}: has no frame {frames}; expected 0 to {count - 1}.")
        return [frames]
    return {"first": [0], "middle": [count // 2], "all": list(range(count))}[frames]


def check_size(path: ImageSource, width: int, height: int, frames: int = 1) -> None:
    """Refuse what claims to be larger than any image here, before memory is taken."""
    if width < 1 or height < 1:
        raise ImageError(f"{path}: claims to be {width}×{height} pixels; an image has at least one.")
    if width * height * frames > MAX_PIXELS:
        raise ImageError(
            f"{path}: claims {frames} × {width}×{height} pixels, more than {MAX_PIXELS:,}; refused. "
            "If it is genuine, export it smaller, or take one frame (data.frames)."
        )

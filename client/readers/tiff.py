"""TIFF by tifffile: 1 to 32 bits, float, grey, palette and RGB, one page a frame; LZW and JPEG of 8 bits by Pillow."""

import logging
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from client.readers import Frames, check_size, choose, lzw
from client.readers.raster import nominal_range, to_picture
from client.readers.source import ImageSource
from common.errors import ImageError
from common.imaging import Picture

logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_OWN = (tifffile.COMPRESSION.NONE, tifffile.COMPRESSION.DEFLATE, tifffile.COMPRESSION.ADOBE_DEFLATE)
"""What tifffile unpacks without further libraries."""


def decode(path: ImageSource, frames: Frames) -> list[Picture]:
    """The chosen pages of a TIFF."""
    with path.open() as stream, tifffile.TiffFile(stream) as file:
        indices = choose(path, frames, len(file.pages))
        pictures = []
        for index in indices:
            page = file.pages[index]
            if not isinstance(page, tifffile.TiffPage):
                page = page.aspage()
            check_size(path, page.imagewidth, page.imagelength, len(indices) * max(1, page.imagedepth))
            pictures.append(_page(path, page, index))
    return pictures


def _page(path: ImageSource, page: Any, index: int) -> Picture:
    if page.imagedepth != 1 or page.samplesperpixel > 4:
        raise ImageError(
            f"{path}: page {index} has {page.samplesperpixel} channels and depth {page.imagedepth}; "
            "expected grey or RGB. Export it so."
        )
    # Strips that claim more than they can hold would be padded with zeros in silence.
    if len(page.databytecounts) == 0 or sum(page.databytecounts) > page.parent.filehandle.size:
        raise ImageError(f"{path}: page {index} is truncated. Copy or export it again.")
    if page.compression == tifffile.COMPRESSION.LZW and page.bitspersample == 16 and page.samplesperpixel > 1:
        return Picture(_deep_colour(path, page)[:, :, :3].astype(np.float32), 0.0, 65535.0)
    if page.compression not in _OWN or page.predictor not in (1, 2, 3):
        return _by_pillow(path, page, index)
    if page.compression == tifffile.COMPRESSION.NONE and sum(
        page.databytecounts
    ) < page.nbytes * page.bitspersample // (8 * page.dtype.itemsize):
        raise ImageError(f"{path}: page {index} is truncated. Copy or export it again.")
    if page.compression != tifffile.COMPRESSION.NONE:
        _refuse_bomb(path, page)
    pixels = page.asarray()
    if pixels.size != page.imagewidth * page.imagelength * page.samplesperpixel:
        raise ImageError(f"{path}: page {index} is not one flat image. Export it as a plain TIFF.")
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        pixels = np.moveaxis(pixels.reshape(page.samplesperpixel, page.imagelength, page.imagewidth), 0, -1)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    low, high = nominal_range(pixels, page.bitspersample)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        return Picture(page.colormap.T[pixels[:, :, 0]].astype(np.float32), 0.0, 65535.0)
    pixels = pixels[:, :, : 3 if page.samplesperpixel >= 3 else 1].astype(np.float32)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = np.float32(low + high) - pixels
    return Picture(pixels, low, high)


def _refuse_bomb(path: ImageSource, page: Any) -> None:
    """Deflated strips must not hold more than the image: tifffile would unpack all of it first."""
    file, remaining = page.parent.filehandle, page.nbytes + (1 << 24)  # a tile may reach beyond the image
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        unpack, chunk = zlib.decompressobj(), file.read(count)
        while chunk and remaining >= 0:
            remaining -= len(unpack.decompress(chunk, 1 << 22))
            chunk = unpack.unconsumed_tail
    if remaining < 0:
        raise ImageError(f"{path}: unpacks to more than the image it claims to hold; refused. Export it again.")


def _deep_colour(path: ImageSource, page: Any) -> NDArray[np.uint16]:
    """Strips of 16-bit colour packed by LZW: uint16[h, w, samples]. OpenCV writes such files."""
    if page.is_tiled or page.planarconfig != tifffile.PLANARCONFIG.CONTIG or page.predictor not in (1, 2):
        raise ImageError(f"{path}: an unusual arrangement of 16-bit colour; export it uncompressed or with deflate.")
    rows, file = [], page.parent.filehandle
    for number, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        height = min(page.rowsperstrip, page.imagelength - number * page.rowsperstrip)
        file.seek(offset)
        content = lzw.unpack(file.read(count), height * page.imagewidth * page.samplesperpixel * 2)
        strip = np.frombuffer(content, page.parent.byteorder + "u2").reshape(height, page.imagewidth, -1)
        rows.append(np.cumsum(strip, axis=1, dtype=np.uint16) if page.predictor == 2 else strip)
    return np.concatenate(rows)


def _by_pillow(path: ImageSource, page: Any, index: int) -> Picture:
    if page.bitspersample > 8 and page.samplesperpixel > 1:
        raise ImageError(
            f"{path}: {page.bitspersample}-bit colour packed by {tifffile.COMPRESSION(page.compression).name} cannot "
            "be read in full depth; export it uncompressed or with deflate."
        )
    with _silence(), path.open() as stream, Image.open(stream, formats=["TIFF"]) as image:
        image.seek(index)
        return to_picture(path, image)


@contextmanager
def _silence() -> Iterator[None]:
    """libtiff complains past Python, straight to the error stream; what is wrong becomes an error anyway."""
    sys.stderr.flush()
    stderr_copy, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr_copy, 2)
        os.close(stderr_copy)
        os.close(nowhere)

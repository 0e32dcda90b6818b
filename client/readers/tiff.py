"""TIFF by tifffile and imagecodecs: 1 to 32 bits, float, grey, palette, RGB and CMYK, one page a frame."""

import logging
import math
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tifffile import COMPRESSION, PHOTOMETRIC

from client.readers import Frames, check_size, choose, codestream
from client.readers.raster import nominal_range, oriented
from client.readers.source import ImageSource
from common.errors import ImageError
from common.imaging import Picture

logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_UNPACK = {
    COMPRESSION.LZW: imagecodecs.lzw_decode,
    COMPRESSION.PACKBITS: imagecodecs.packbits_decode,
    COMPRESSION.DEFLATE: imagecodecs.zlib_decode,
    COMPRESSION.ADOBE_DEFLATE: imagecodecs.zlib_decode,
    COMPRESSION.ZSTD: imagecodecs.zstd_decode,
}
"""What a strip or tile may be packed by, apart from JPEG."""
_SAMPLES = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.YCBCR: 3,
    PHOTOMETRIC.SEPARATED: 4,
}
"""Samples that make a colour; what comes behind them must be transparency."""
_OF_ANOTHER = 0b101
"""Bits of NewSubfileType (TIFF 6.0, page 36): a smaller version of another page, or its mask."""
_SLIDES = ("svs", "ndpi", "scn", "bif")
_STACKS = ("imagej", "shaped", "stk")
"""Kinds of TIFF that may hold many images behind one page."""
_INK_SET, _COEFFICIENTS, _REFERENCE = 332, 529, 532
_BT_601 = (299, 1000, 587, 1000, 114, 1000)


def decode(path: ImageSource, frames: Frames) -> list[Picture]:
    """The chosen images of a TIFF, turned as their orientation says."""
    with path.open() as stream, tifffile.TiffFile(stream) as file:
        pages = _pages_of_images(path, file)
        indices = choose(path, frames, len(pages))
        pictures = []
        for index, page in ((pages[i].index, pages[i]) for i in indices):
            check_size(path, page.imagewidth, page.imagelength, len(indices) * max(1, page.imagedepth))
            picture = _page(path, page, index)
            orientation = page.tags.valueof("Orientation", 1)
            pictures.append(Picture(oriented(picture.pixels, orientation), picture.low, picture.high))
    return pictures


def _pages_of_images(path: ImageSource, file: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Pages that are images of their own: none that NewSubfileType calls another's thumbnail or mask."""
    if any(getattr(file, f"is_{kind}") for kind in _SLIDES):
        raise ImageError(f"{path}: a slide in several sizes; export the part that is meant as a plain TIFF.")
    pages = [page if isinstance(page, tifffile.TiffPage) else page.aspage() for page in file.pages]
    is_stack = any(getattr(file, f"is_{kind}") for kind in _STACKS)
    if is_stack and sum(series.size for series in file.series) > sum(page.size for page in pages):
        raise ImageError(f"{path}: holds several images in one page, of which a reader sees one; export a page each.")
    return [page for page in pages if not page.subfiletype & _OF_ANOTHER] or pages


def _page(path: ImageSource, page: Any, index: int) -> Picture:
    samples = _SAMPLES.get(page.photometric)
    if page.dtype is not None and page.dtype.kind == "c":
        raise ImageError(f"{path}: page {index} has complex numbers; export their magnitude.")
    if "PhotometricInterpretation" not in page.tags:
        raise ImageError(f"{path}: page {index} does not say whether its zero is black or white. Export it again.")
    if samples is None or page.samplesperpixel < samples or page.imagedepth != 1 or page.dtype is None:
        raise ImageError(
            f"{path}: page {index} has {page.samplesperpixel} channels of photometric interpretation "
            f"{page.photometric!r} and depth {page.imagedepth}; expected grey or RGB. Export it so."
        )
    extra = page.extrasamples[-(page.samplesperpixel - samples) :] if page.samplesperpixel > samples else ()
    if len(extra) > 1 or (samples == 1 and extra == (tifffile.EXTRASAMPLE.UNSPECIFIED,)):
        raise ImageError(f"{path}: page {index} has channels that are no colours. Export it as grey or RGB.")
    _refuse_cut_or_bomb(path, page, index)
    pixels = page.asarray(maxworkers=1)
    if pixels.size != page.imagewidth * page.imagelength * page.samplesperpixel:
        raise ImageError(f"{path}: page {index} is not one flat image. Export it as a plain TIFF.")
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        pixels = np.moveaxis(pixels.reshape(page.samplesperpixel, page.imagelength, page.imagewidth), 0, -1)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    colours = pixels[:, :, :samples]
    if extra == (tifffile.EXTRASAMPLE.ASSOCALPHA,):
        colours = _unmultiplied(colours, pixels[:, :, samples:])
    return _picture(path, page, index, colours)


def _picture(path: ImageSource, page: Any, index: int, pixels: NDArray[Any]) -> Picture:
    """Samples as grey or RGB, brighter always higher."""
    low, high = nominal_range(pixels, page.bitspersample)
    if page.photometric == PHOTOMETRIC.PALETTE:
        colours = page.colormap.T[pixels[:, :, 0]]  # of 16 bits; some programs write 8
        return Picture(colours.astype(np.float32), 0.0, 65535.0 if page.colormap.max() > 255 else 255.0)
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression != COMPRESSION.JPEG:
        pixels = _rgb_of_ycbcr(path, page, index, pixels)
    pixels = pixels.astype(np.float32)
    if page.photometric == PHOTOMETRIC.SEPARATED:
        if page.tags.valueof(_INK_SET, 1) != 1 or low != 0:
            raise ImageError(f"{path}: page {index} has inks other than CMYK. Export it as grey or RGB.")
        pixels = (high - pixels[:, :, :3]) * (high - pixels[:, :, 3:]) / high
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        pixels = np.float32(low + high) - pixels
    return Picture(pixels.astype(np.float32), low, high)


def _rgb_of_ycbcr(path: ImageSource, page: Any, index: int, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    reference = tuple(page.tags.valueof(_REFERENCE, ()))[::2]
    coefficients = tuple(page.tags.valueof(_COEFFICIENTS, _BT_601))
    if page.bitspersample != 8 or coefficients != _BT_601 or (reference and reference != (0, 255, 128, 255, 128, 255)):
        raise ImageError(f"{path}: page {index} is an unusual kind of YCbCr. Export it as RGB.")
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels), "YCbCr").convert("RGB"))


def _unmultiplied(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Colours as they are before transparency darkens them."""
    if alpha.dtype.kind not in "iu":
        raise ValueError("transparency that is not whole numbers")
    full = np.iinfo(alpha.dtype).max
    whole = colours.astype(np.float64) * full / np.maximum(alpha, 1)
    original: NDArray[Any] = np.minimum(np.rint(whole), full).astype(colours.dtype)
    return original


def _refuse_cut_or_bomb(path: ImageSource, page: Any, index: int) -> None:
    """Strips and tiles that are missing would be filled with zeros in silence; none may hold more than it should."""
    file, (height, width) = page.parent.filehandle, page.chunks[:2] if page.chunks else (0, 0)
    check_size(path, width, height)
    row = math.ceil(width * page.bitspersample * (math.prod(page.chunks[2:]) or 1) / 8)
    places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not places or len(places) < math.prod(page.chunked) or any(c < 1 or o + c > file.size for o, c in places):
        raise ImageError(f"{path}: page {index} is truncated. Copy or export it again.")
    if page.compression == COMPRESSION.NONE:
        rows = page.imagelength * page.samplesperpixel // max(1, math.prod(page.chunks[2:]))
        if sum(count for _, count in places) < row * (0 if page.is_tiled else rows):
            raise ImageError(f"{path}: page {index} is truncated. Copy or export it again.")
        return
    for offset, count in places:
        file.seek(offset)
        _refuse_segment(path, page, index, file.read(count), row * height + (1 << 16))


def _refuse_segment(path: ImageSource, page: Any, index: int, segment: bytes, most: int) -> None:
    if page.compression == COMPRESSION.JPEG:
        claim = codestream.claim(segment)
        if claim is None or not codestream.is_whole(segment):
            raise ImageError(f"{path}: page {index} is truncated. Copy or export it again.")
        if claim.width > page.chunks[1] or claim.height > page.chunks[0]:
            raise ImageError(f"{path}: unpacks to more than the image it claims to hold; refused. Export it again.")
        return
    if page.compression not in _UNPACK:
        raise ImageError(
            f"{path}: page {index} is packed by {page.compression!r}, which is not read here; export it uncompressed, "
            "or with LZW, deflate or JPEG."
        )
    try:
        length = len(_UNPACK[page.compression](segment, out=most))
    except RuntimeError as error:  # imagecodecs: damaged, or more than `most`
        raise ImageError(
            f"{path}: page {index} is damaged, or unpacks to more than the image it claims to hold ({error}); refused. "
            "Export it again."
        ) from None
    if length >= most:
        raise ImageError(f"{path}: unpacks to more than the image it claims to hold; refused. Export it again.")

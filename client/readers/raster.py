"""PNG and JPEG by Pillow, and in full depth by imagecodecs where Pillow stops at 8 bits; transparency is ignored."""

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from client.readers import Frames, check_size, choose, codestream
from client.readers.source import ImageSource
from common.errors import ImageError
from common.imaging import Picture
from common.types import Stack

_ORIENTATION = 0x0112
_APP1 = 0xE1


def decode(path: ImageSource, frames: Frames) -> list[Picture]:
    """The picture of a PNG or JPEG file, turned as its EXIF orientation says."""
    choose(path, frames, 1)
    with path.open() as stream:
        content = stream.read()
    claim = codestream.claim(content)
    if claim and claim.precision != 8:
        return [_deep_jpeg(path, content, claim)]
    with path.open() as stream, Image.open(stream, formats=["PNG", "JPEG"]) as image:
        check_size(path, *image.size)
        picture = _deep_png(content) if _is_deep_png(content) else to_picture(path, image)
        return [Picture(oriented(picture.pixels, image.getexif().get(_ORIENTATION, 1)), picture.low, picture.high)]


def _is_deep_png(content: bytes) -> bool:
    """16 bits of more than one channel, which Pillow would cut to 8 (W3C PNG, 11.2.1: depth and colour type)."""
    return content.startswith(b"\x89PNG") and content[24] == 16 and content[25] in (2, 4, 6)


def _deep_png(content: bytes) -> Picture:
    pixels = imagecodecs.png_decode(content)
    return Picture(pixels[:, :, : 3 if pixels.shape[2] > 2 else 1].astype(np.float32), 0.0, 65535.0)


def _deep_jpeg(path: ImageSource, content: bytes, claim: codestream.Claim) -> Picture:
    """A JPEG of other than 8 bits: 12, or up to 16 lossless."""
    check_size(path, claim.width, claim.height)
    if claim.components not in (1, 3) or not codestream.is_whole(content):
        raise ImageError(f"{path}: a JPEG that is cut off, or not grey or RGB. Copy or export it again.")
    pixels = imagecodecs.jpeg8_decode(content).reshape(claim.height, claim.width, claim.components)
    exif = Image.Exif()
    for marker, body in codestream.jpeg_segments(content):
        if marker == _APP1 and body.startswith(b"Exif\0\0"):
            exif.load(body)
    turned = oriented(pixels.astype(np.float32), exif.get(_ORIENTATION, 1))
    return Picture(turned, 0.0, 2.0**claim.precision - 1)


def oriented(pixels: Stack, orientation: Any) -> Stack:
    """[h, w, c] with its first row on top, by the tag of TIFF 6.0, page 36 (EXIF has the same); 1: as it is."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def to_picture(path: ImageSource, image: Image.Image) -> Picture:
    """A decoded image as a picture, with the range that its type can hold."""
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        return Picture(pixels[:, :, None].astype(np.float32), *nominal_range(pixels, 16))
    if image.mode in ("1", "L", "LA", "La"):
        return Picture(np.asarray(image.convert("L"), np.float32)[:, :, None], 0.0, 255.0)
    if image.mode.startswith("P") and image.palette:
        _check_palette(path, image.getchannel(0), len(image.palette.palette) // len(image.palette.mode))
    if image.mode in ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"):
        return Picture(np.asarray(image.convert("RGB"), np.float32), 0.0, 255.0)
    raise ImageError(f"{path}: pixels of Pillow's mode {image.mode} are not known here; export it as grey or RGB.")


def _check_palette(path: ImageSource, indices: Image.Image, entries: int) -> None:
    """Pillow paints black what lies beyond a palette; W3C PNG, 11.2.2, calls it an error."""
    if (largest := int(np.asarray(indices).max())) >= entries:
        raise ImageError(f"{path}: a pixel is colour {largest} of a palette of {entries}. Copy or export it again.")


def nominal_range(pixels: NDArray[Any], bits: int) -> tuple[float, float]:
    """Black and white of a type: all that its bits can hold, 0..1 for such floats, else the image's own range."""
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind in "iub" and low >= 0 and high < 2**bits and bits <= 16:
        return 0.0, float(2**bits - 1)
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1

"""PNG and JPEG by Pillow: grey and colour, 8 and 16 bits; transparency is ignored."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from client.readers import Frames, check_size, choose, deep_png
from client.readers.source import ImageSource
from common.errors import ImageError
from common.imaging import Picture


def decode(path: ImageSource, frames: Frames) -> list[Picture]:
    """The picture of a PNG or JPEG file, turned as its EXIF orientation says."""
    choose(path, frames, 1)
    with path.open() as stream, Image.open(stream, formats=["PNG", "JPEG"]) as image:
        check_size(path, *image.size)
        if image.format == "PNG" and (deep := deep_png.decode(_whole(path))) is not None:
            return [Picture(deep[:, :, : 3 if deep.shape[2] > 2 else 1].astype(np.float32), 0.0, 65535.0)]
        return [to_picture(path, ImageOps.exif_transpose(image))]


def _whole(path: ImageSource) -> bytes:
    with path.open() as stream:
        return stream.read()


def to_picture(path: ImageSource, image: Image.Image) -> Picture:
    """A decoded image as a picture, with the range that its type can hold."""
    if image.mode.startswith(("I", "F")):
        pixels = np.asarray(image)
        return Picture(pixels[:, :, None].astype(np.float32), *nominal_range(pixels, 16))
    if image.mode in ("1", "L", "LA", "La"):
        return Picture(np.asarray(image.convert("L"), np.float32)[:, :, None], 0.0, 255.0)
    if image.mode in ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"):
        return Picture(np.asarray(image.convert("RGB"), np.float32), 0.0, 255.0)
    raise ImageError(f"{path}: pixels of Pillow's mode {image.mode} are not known here; export it as grey or RGB.")


def nominal_range(pixels: NDArray[Any], bits: int) -> tuple[float, float]:
    """Black and white of a type: all that its bits can hold, 0..1 for such floats, else the image's own range."""
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind in "iub" and low >= 0 and high < 2**bits and bits <= 16:
        return 0.0, float(2**bits - 1)
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1

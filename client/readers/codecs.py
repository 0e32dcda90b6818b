"""Compressed frames of DICOM by imagecodecs, as a plugin of pydicom: every process that it has, at 1 to 16 bits."""

from typing import Any

import imagecodecs
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from client.readers import codestream
from client.readers.source import ImageSource
from common.errors import ImageError

PLUGIN = "consilium"
_JPEG = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
_JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)
_JPEG_2000 = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
PRECISE = (*_JPEG_LS, *_JPEG_2000)
"""Syntaxes whose frames say their own precision and sign, which outrank the header's."""
_ADOBE, _JFIF = 0xEE, 0xE0


def is_available(uid: str) -> bool:
    """pydicom asks; what it needs is a dependency."""
    return True


def refuse_false(path: ImageSource, source: bytes, header: Dataset) -> None:
    """Look at a compressed frame before any decoder does, which would take memory for the size that it claims.

    Raises:
        ImageError: it is cut off, or of another size than the header says.
    """
    syntax = header.file_meta.TransferSyntaxUID
    if syntax == RLELossless:
        return
    claim = codestream.claim(source)
    if claim is None or (syntax not in _JPEG_2000 and not codestream.is_whole(source)):
        raise ImageError(f"{path}: the compressed image is cut off or of another kind than {syntax.name}.")
    if (claim.width, claim.height) != (header.Columns, header.Rows):
        raise ImageError(
            f"{path}: the header says {header.Columns}×{header.Rows} pixels, the compressed image "
            f"{claim.width}×{claim.height}. Export it again."
        )
    if claim.components != header.SamplesPerPixel or claim.precision > 16:
        raise ImageError(
            f"{path}: the header says {header.SamplesPerPixel} samples a pixel, the compressed image has "
            f"{claim.components} of {claim.precision} bits. Export it again."
        )
    if claim.is_signed and header.get("PixelRepresentation") == 0:
        raise ImageError(
            f"{path}: PixelRepresentation (0028,0103) says that no value is negative, the compressed image that some "
            "may be. Export it again."
        )


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """What pydicom calls: one frame's samples, little endian.

    Raises:
        ValueError: it holds more or fewer samples than the header says.
        RuntimeError: damaged (what imagecodecs raises).
    """
    if runner.transfer_syntax == RLELossless:
        return _rle(source, runner)
    if runner.transfer_syntax in _JPEG:
        pixels = _jpeg(source, runner)
    elif runner.transfer_syntax in _JPEG_LS:
        pixels = imagecodecs.jpegls_decode(source)
    else:
        pixels = imagecodecs.jpeg2k_decode(source, planar=False)
        if runner.samples_per_pixel == 3:
            _name_colour_of_2000(source, runner)
    if pixels.size != runner.rows * runner.columns * runner.samples_per_pixel:
        raise ValueError(f"{pixels.shape} samples where the header says {runner.rows}×{runner.columns}")
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    samples: bytes = pixels.tobytes()
    return samples


def _rle(source: bytes, runner: DecodeRunner) -> bytes:
    size = runner.rows * runner.columns * runner.samples_per_pixel * (runner.bits_allocated // 8)
    pixels = bytes(imagecodecs.dicomrle_decode(source, f"<u{runner.bits_allocated // 8}", out=size))
    if len(pixels) != size:
        raise ValueError(f"{len(pixels):,} bytes, expected {size:,}")
    runner.set_option("planar_configuration", 1)
    return pixels


def _jpeg(source: bytes, runner: DecodeRunner) -> NDArray[Any]:
    """Grey, or what the codestream says its colours are (pydicom makes RGB of YBR): an APP14 outranks the header."""
    if runner.samples_per_pixel == 1:
        return imagecodecs.jpeg8_decode(source, colorspace="GRAYSCALE", outcolorspace="GRAYSCALE")
    segments = dict(codestream.jpeg_segments(source))
    if (
        _ADOBE in segments
        and segments[_ADOBE].startswith(b"Adobe")
        and not segments.get(_JFIF, b"").startswith(b"JFIF")
    ):
        colours = "YCBCR" if segments[_ADOBE][11:12] == b"\1" else "RGB"
        runner.set_option("photometric_interpretation", "RGB")
        return imagecodecs.jpeg8_decode(source, colorspace=colours, outcolorspace="RGB")
    return imagecodecs.jpeg8_decode(source, colorspace="RGB", outcolorspace="RGB")  # as they are


def _name_colour_of_2000(source: bytes, runner: DecodeRunner) -> None:
    """The decoder gives RGB where the codestream was made from RGB, whatever the header calls it."""
    if codestream.has_colour_transform(source):
        runner.set_option("photometric_interpretation", "RGB")


for _uid in (*_JPEG, *_JPEG_LS, *_JPEG_2000, RLELossless):
    get_decoder(UID(_uid)).add_plugin(PLUGIN, ("client.readers.codecs", "decode_frame"))

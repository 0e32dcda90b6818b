"""Pixels decoded and encoded anew, without loss: comments, EXIF and boxes in a codestream, bytes behind the last frame,
unused fragments and unused bits have no way through.

Native stays native. What was compressed becomes JPEG-LS, which takes as much room as other compression without loss; of
what was compressed with loss, the pixels that were seen are what stays.
"""

from collections import Counter
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGLSLossless

from client.readers import dicom
from client.readers.source import ImageSource
from common.errors import ImageError

FLOATS = {32: "FloatPixelData", 64: "DoubleFloatPixelData"}
SAMPLED = 1 << 12
"""Pixels of a frame by which it is seen whether it means the same afterwards."""


def put_pixels(image: ImageSource, header: FileDataset, clean: Dataset, counts: Counter[str]) -> UID:
    """Put all frames of `header` into `clean`; its transfer syntax.

    Raises:
        ImageError: a frame cannot be decoded or is not finite, or would mean something else afterwards.
    """
    was_packed = header.file_meta.TransferSyntaxUID.is_encapsulated
    frames: list[bytes] = []
    for index in range(dicom.frame_count(header)):
        frame = dicom.stored_frame(image, header, index)
        if not frames:
            _describe(header, clean, frame)
        _compare(image, header, clean, frame, index)
        frame = frame.astype(frame.dtype.newbyteorder("<").str[:2] + str(clean.BitsAllocated // 8), copy=False)
        is_packed = was_packed and clean.BitsAllocated <= 16
        frames.append(_pack(frame) if is_packed else frame.tobytes())
    if was_packed:
        counts["compressed images, encoded anew"] += 1
    elif len(header.get("PixelData", b"")) > get_expected_length(header) + 1:
        counts["images with bytes behind their pixels"] += 1
    return _write(clean, frames, frame.dtype.kind, is_packed)


def _pack(frame: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(frame).view(f"u{frame.itemsize}")))


def _write(clean: Dataset, frames: list[bytes], kind: str, is_packed: bool) -> UID:
    if is_packed:
        clean.PixelData = encapsulate(frames)
        clean["PixelData"].VR, clean["PixelData"].is_undefined_length = "OB", True
        return JPEGLSLossless
    content = b"".join(frames)
    content += b"\0" * (len(content) % 2)
    if kind == "f":
        setattr(clean, FLOATS[clean.BitsAllocated], content)
    else:
        clean.PixelData = content
        clean["PixelData"].VR = "OB" if clean.BitsAllocated == 8 else "OW"
    return ExplicitVRLittleEndian


def _describe(header: Dataset, clean: Dataset, frame: NDArray[Any]) -> None:
    """How the new pixels lie: [h, w, c] of whole bytes, in the low bits, colour as RGB."""
    clean.Rows, clean.Columns, clean.SamplesPerPixel = frame.shape
    bits = dicom.stored_bits(header)
    clean.BitsStored = bits
    clean.BitsAllocated = max(8 * frame.itemsize, next(size for size in (8, 16, 32, 64) if size >= bits))
    clean.file_meta = FileMetaDataset()  # readers ask how values lie, and of what kind pixels are
    clean.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    setattr(clean, FLOATS[clean.BitsAllocated] if frame.dtype.kind == "f" else "PixelData", b"")
    if frame.dtype.kind != "f":
        clean.HighBit, clean.PixelRepresentation = bits - 1, int(frame.dtype.kind == "i")
    if clean.SamplesPerPixel > 1:
        clean.PhotometricInterpretation, clean.PlanarConfiguration = "RGB", 0
    else:
        is_reversed = header.PhotometricInterpretation == "MONOCHROME1"
        clean.PhotometricInterpretation = "MONOCHROME1" if is_reversed else "MONOCHROME2"
    if "NumberOfFrames" in header:
        clean.NumberOfFrames = dicom.frame_count(header)


def _compare(image: ImageSource, header: Dataset, clean: Dataset, frame: NDArray[Any], index: int) -> None:
    """Refuse a file whose pixels would mean something else by what is left of its header."""
    if frame.dtype.kind == "f" and not np.isfinite(frame).all():
        raise ImageError(
            f"{image}: has pixels that are not finite (NaN or infinite). Export it again, or leave it out."
        )
    values = frame.reshape(-1, frame.shape[2])
    some = values[:: len(values) // SAMPLED + 1][:, None]
    (before,), (after,) = (dicom.pictures(which, [some], [index]) for which in (header, clean))
    same_range = (before.low, before.high) == (after.low, after.high)
    if not same_range or not np.array_equal(before.pixels, after.pixels):
        raise ImageError(
            f"{image}: its grey values depend on elements of its header that are no plain numbers or tables, which "
            "de-identification does not keep. Export it again, or leave it out."
        )

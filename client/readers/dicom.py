"""DICOM by pydicom: natural units by the modality LUT, the first VOI window as nominal range, brighter always higher.

Values are rescaled (PS3.3 C.7.6.3, C.11.1), a window is C.11.2's linear function, MONOCHROME1 is reversed within the
range that its bits can hold, palettes and YBR become RGB. Enhanced objects keep rescale and window by frame (C.7.6.16).
"""

import logging
import zlib
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.pixels.decoders import JPEGLosslessDecoder, JPEGLosslessSV1Decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from client.readers import MAX_BYTES, Frames, check_size, choose
from client.readers.codestream import claimed_size
from client.readers.source import ImageSource
from common.errors import ImageError
from common.imaging import Picture

for _name in ("pydicom", "pylibjpeg", "openjpeg", "rle", "jpeg_ls"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

for _decoder in (JPEGLosslessDecoder, JPEGLosslessSV1Decoder):
    _decoder.add_plugin("consilium", ("client.readers.lossless", "decode_frame"))

Array = NDArray[Any]


def decode(path: ImageSource, frames: Frames) -> list[Picture]:
    """The chosen frames of a DICOM file."""
    header = parse(path)
    check(path, header)
    indices = choose(path, frames, frame_count(header))
    check_size(path, header.Columns, header.Rows, len(indices))
    return pictures(header, [stored_frame(path, header, index) for index in indices], indices)


def pictures(header: Dataset, raw: list[Array], indices: list[int]) -> list[Picture]:
    """What frames, as `stored_frame` gives them, show by their header."""
    if header.SamplesPerPixel > 1 or header.PhotometricInterpretation == "PALETTE COLOR":
        high = 2.0 ** stored_bits(header) - 1
        return [Picture(frame.astype(np.float32), 0.0, high) for frame in raw]
    natural = [_rescale(header, frame, index).astype(np.float32) for frame, index in zip(raw, indices, strict=True)]
    value_range = _range_seen(header, raw, natural)
    return [_grey(header, frame, index, value_range) for frame, index in zip(natural, indices, strict=True)]


def patient(path: ImageSource) -> str | None:
    """The PatientID of a file; None if it has none or cannot be read (reading it will say why)."""
    try:
        with path.open() as stream:
            header = pydicom.dcmread(stream, specific_tags=["PatientID"], stop_before_pixels=True, force=True)
        return str(header.get("PatientID", "")).strip() or None
    except Exception:  # as in `read`: anything may come, and the image's own reading reports it
        return None


def parse(path: ImageSource) -> FileDataset:
    """Parse the file; what it deflates to is bounded first."""
    with path.open() as stream:
        meta = _meta(stream)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        _refuse_bomb(path, 144 + int(meta.get("FileMetaInformationGroupLength", 0)))
    with path.open() as stream:
        header = pydicom.dcmread(stream, force=True)
    if "TransferSyntaxUID" not in header.file_meta:
        implicit, little = header.original_encoding
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        header.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian
    return header


def _meta(stream: BinaryIO) -> Dataset:
    """The elements of group 2; none where there is no preamble."""
    if stream.read(132)[128:] != b"DICM":
        return Dataset()
    return read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)


def _refuse_bomb(path: ImageSource, start: int) -> None:
    unpack, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open() as stream:
        stream.seek(start)
        while chunk := unpack.unconsumed_tail or stream.read(1 << 16):
            size += len(unpack.decompress(chunk, 1 << 24))
            if size > MAX_BYTES // 4:
                raise ImageError(f"{path}: unpacks to more than {MAX_BYTES // 4:,} bytes; refused.")


def check(path: ImageSource, header: Dataset) -> None:
    """Refuse what is no image, and headers that lack what an image needs."""
    if "DirectoryRecordSequence" in header:
        raise ImageError(f"{path}: a DICOMDIR, a list of images; give the images that it lists.")
    if not any(key in header for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        kind = header.get("Modality") or "unknown"
        raise ImageError(f"{path}: this DICOM holds no image (modality {kind}), or it ends before it. Leave it out.")
    needed = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
    if missing := [key for key in needed if header.get(key) in (None, "")]:
        raise ImageError(f"{path}: the header lacks {', '.join(missing)}; export the image again.")
    if header.get("BitsStored") in (None, ""):
        header.BitsStored = header.BitsAllocated
    if header.SamplesPerPixel not in (1, 3, 4):
        raise ImageError(f"{path}: {header.SamplesPerPixel} samples a pixel; expected 1 (grey) or 3 (colour).")


def frame_count(header: Dataset) -> int:
    """Frames in a file, one at least."""
    return max(1, int(header.get("NumberOfFrames") or 1))  # some devices write 0 and mean 1


def stored_frame(path: ImageSource, header: Dataset, index: int) -> Array:
    """One decoded frame: [h, w, c], still in stored values; colour as RGB."""
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        # A codestream may claim another size than the header: its decoder would take memory for that one.
        stream = get_frame(header.PixelData, index, number_of_frames=frame_count(header))
        if (claimed := claimed_size(stream)) and claimed != (header.Columns, header.Rows):
            raise ImageError(
                f"{path}: the header says {header.Columns}×{header.Rows} pixels, the compressed image "
                f"{claimed[0]}×{claimed[1]}. Export it again."
            )
    try:
        pixels: Array = pixel_array(header, index=index)
    except NotImplementedError as error:
        raise ImageError(f"{path}: {header.file_meta.TransferSyntaxUID.name} cannot be decoded: {error}") from None
    if header.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, header)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def stored_bits(header: Dataset) -> int:
    """Of a sample of `stored_frame`."""
    if header.PhotometricInterpretation != "PALETTE COLOR":
        return int(header.BitsStored)
    descriptor = header.get("RedPaletteColorLookupTableDescriptor")
    return int(descriptor[2]) if descriptor else 16


def _group(header: Dataset, index: int, name: str) -> Dataset:
    """A functional group of one frame of an enhanced object, else the header itself."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    own_groups = frames[index] if index < len(frames) else Dataset()
    shared_groups = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for place in (own_groups, shared_groups):
        if place.get(name):
            group: Dataset = place[name].value[0]
            return group
    return header


def _rescale(header: Dataset, frame: Array, index: int) -> Array:
    group = _group(header, index, "PixelValueTransformationSequence")
    rescaled: Array = apply_modality_lut(frame, group)
    return rescaled


def _range_seen(header: Dataset, raw: list[Array], natural: list[Array]) -> tuple[float, float]:
    """The range of all frames read, padding apart."""
    padding = header.get("PixelPaddingValue")
    low, high = sorted((padding, header.get("PixelPaddingRangeLimit", padding))) if padding is not None else (1, 0)
    unpadded = [n[(r < low) | (r > high)] for r, n in zip(raw, natural, strict=True)]
    unpadded = [k for k in unpadded if k.size] or natural
    return min(float(k.min()) for k in unpadded), max(float(k.max()) for k in unpadded)


def _grey(header: Dataset, pixels: Array, index: int, value_range: tuple[float, float]) -> Picture:
    low, high = _window(_group(header, index, "FrameVOILUTSequence"), header) or value_range
    if high <= low:
        low, high = low, low + 1
    if header.PhotometricInterpretation == "MONOCHROME1":
        mirror = sum(_range_of_bits(header, index))
        pixels, low, high = np.float32(mirror) - pixels, mirror - high, mirror - low
    return Picture(pixels, float(low), float(high))


def _range_of_bits(header: Dataset, index: int) -> tuple[float, float]:
    """What the stored bits can hold, in natural units."""
    bits, is_signed = int(header.BitsStored), header.get("PixelRepresentation") == 1
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    natural = _rescale(header, np.array(ends, np.int64 if bits > 16 else np.int32), index)
    return float(natural.min()), float(natural.max())


def _window(group: Dataset, header: Dataset) -> tuple[float, float] | None:
    """Values shown as black and white: first VOI window, else the VOI LUT, else what 8 bits hold."""
    centers, widths = group.get("WindowCenter"), group.get("WindowWidth")
    if centers not in (None, "") and widths not in (None, ""):
        center, width = float(np.atleast_1d(centers)[0]), float(np.atleast_1d(widths)[0])
        exact = str(group.get("VOILUTFunction") or "LINEAR") != "LINEAR"
        if width > (0 if exact else 1) and np.isfinite([center, width]).all():
            return (center - width / 2, center + width / 2) if exact else (center - width / 2, center + width / 2 - 1)
    if luts := group.get("VOILUTSequence"):
        entries, first, _ = luts[0].LUTDescriptor
        return float(first), float(first + (entries or 2**16) - 1)
    plain = header.BitsStored == 8 and not header.get("PixelRepresentation")
    if plain and not any(key in header for key in ("RescaleSlope", "ModalityLUTSequence")):
        return 0.0, 255.0
    return None

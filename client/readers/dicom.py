"""DICOM by pydicom: natural units by the modality LUT, the first VOI window as nominal range, brighter always higher.

Values are rescaled (PS3.3 C.7.6.3, C.11.1) and a window is C.11.2's linear function; what a sigmoid or a VOI LUT shows
comes as 0..1. MONOCHROME1 is reversed within the range that its bits can hold, palettes and YBR become RGB. Enhanced
objects keep rescale and window by frame (C.7.6.16).
"""

import logging
import zlib
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_fragments, get_frame, parse_basic_offsets
from pydicom.filereader import read_dataset
from pydicom.pixels import convert_color_space
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from client.readers import MAX_BYTES, Frames, check_size, choose, codecs, codestream, grey, lookup
from client.readers.source import ImageSource
from common.errors import ImageError
from common.imaging import Picture

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)

Array = NDArray[Any]


def decode(path: ImageSource, frames: Frames) -> list[Picture]:
    """The chosen frames of a DICOM file."""
    header = parse(path)
    check(path, header)
    indices = choose(path, frames, frame_count(header))
    check_size(path, header.Columns, header.Rows, len(indices))
    return pictures(header, [stored_frame(path, header, index) for index in indices], indices)


def pictures(header: Dataset, frames: list[Array], indices: list[int]) -> list[Picture]:
    """What frames, as `stored_frame` gives them, show by their header."""
    if header.SamplesPerPixel > 1 or header.PhotometricInterpretation == "PALETTE COLOR":
        high = 2.0 ** stored_bits(header) - 1
        return [Picture(frame.astype(np.float32), 0.0, high) for frame in frames]
    return grey.pictures(_name(header), header, frames, indices)


def stored_bits(header: Dataset) -> int:
    """Of a sample of `stored_frame`."""
    if header.PhotometricInterpretation != "PALETTE COLOR":
        return int(header.BitsStored)
    return int(_palette(header)[0].high).bit_length()


def _name(header: Dataset) -> str:
    return str(getattr(header, "filename", None) or "a DICOM object")


ENOUGH = 64
"""Pixels, of whose highest bits one is set unless the bits lie elsewhere than the header says."""
BELONGING = {"patient": "PatientID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID"}


def belonging(path: ImageSource) -> dict[str, str | None]:
    """Patient, study and series; None where a file has none or cannot be read (reading it will say why)."""
    try:
        with path.open() as stream:
            header = pydicom.dcmread(stream, specific_tags=[*BELONGING.values()], stop_before_pixels=True, force=True)
        return {key: str(header.get(name) or "").strip() or None for key, name in BELONGING.items()}
    except Exception:  # as in `read`: anything may come, and the image's own reading reports it
        return {}


def parse(path: ImageSource) -> FileDataset:
    """Parse the file; what it deflates to is bounded first."""
    with path.open() as stream:
        meta = _meta(stream)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        _refuse_bomb(path, 144 + int(meta.get("FileMetaInformationGroupLength", 0)))
    with path.open() as stream:
        header = pydicom.dcmread(stream, force=True)
    header.filename = str(path)
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
    for key in (*needed[:3], "BitsAllocated", "BitsStored"):
        setattr(header, key, int(grey.number(path, header, key, 0)))
    if header.SamplesPerPixel not in (1, 3):
        raise ImageError(f"{path}: {header.SamplesPerPixel} samples a pixel; expected 1 (grey) or 3 (colour).")
    _refuse_lost_frames(path, header)


def _refuse_lost_frames(path: ImageSource, header: Dataset) -> None:
    """Frames that the header does not count would vanish in silence, and those of a muddled table change places."""
    count = frame_count(header)
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        offsets = parse_basic_offsets(header.get("PixelData", b""))
        if offsets != sorted(set(offsets)):
            raise ImageError(f"{path}: its table of frames (Basic Offset Table) is out of order. Export it again.")
        is_rle = header.file_meta.TransferSyntaxUID == RLELossless  # whose beginning is like any numbers
        there = len(offsets) if is_rle else sum(map(codestream.begins, generate_fragments(header.PixelData)))
    elif header.BitsAllocated % 8 == 0 and not _is_odd_422(header):
        size = get_expected_length(header)
        rest = header.get("PixelData", b"")[size + size % 2 :]
        there = count + (len(rest) * count // size if size and any(rest) else 0)
    else:
        return
    if there > count:
        raise ImageError(
            f"{path}: holds {there} frames, and NumberOfFrames (0028,0008) says {header.get('NumberOfFrames', 1)}. "
            "Export it again."
        )


def frame_count(header: Dataset) -> int:
    """Frames in a file, one at least."""
    count = grey.number(_name(header), header, "NumberOfFrames", 1) or 1.0  # some devices write 0 and mean 1
    if count != int(count) or count < 0:
        raise ImageError(
            f"{_name(header)}: NumberOfFrames (0028,0008) is {count:g}; expected a whole number. Export it again."
        )
    return int(count)


def stored_frame(path: ImageSource, header: Dataset, index: int) -> Array:
    """One decoded frame: [h, w, c], still in stored values; colour as RGB."""
    syntax = header.file_meta.TransferSyntaxUID
    if _is_odd_422(header):
        return _odd_422(path, header, index)
    if syntax.is_encapsulated:
        stream = get_frame(header.PixelData, index, number_of_frames=frame_count(header))
        codecs.refuse_false(path, stream, header)
    try:
        plugin = codecs.PLUGIN if syntax.is_encapsulated else ""
        pixels, properties = get_decoder(syntax).as_array(
            header, index=index, decoding_plugin=plugin, correct_unused_bits=False
        )
    except NotImplementedError as error:
        raise ImageError(f"{path}: {syntax.name} cannot be decoded: {error}") from None
    colours = str(properties["photometric_interpretation"])
    is_right = colours == "RGB" if header.SamplesPerPixel > 1 else colours.startswith(("MONO", "PALETTE"))
    if not is_right or (header.SamplesPerPixel > 1 and header.get("PixelRepresentation") == 1):
        raise ImageError(
            f"{path}: {header.SamplesPerPixel} sample(s) a pixel as {colours} (PhotometricInterpretation) cannot be "
            "read here; export it as MONOCHROME2 or RGB."
        )
    pixels = _without_unused_bits(path, header, pixels)
    if colours.startswith("PALETTE"):
        tables = _palette(header)
        pixels = np.dstack([table(pixels) for table in tables]).astype(np.uint8 if tables[0].high < 256 else np.uint16)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _without_unused_bits(path: ImageSource, header: Dataset, pixels: Array) -> Array:
    """BitsStored bits from HighBit down, whatever lies beside them (overlays, rubbish); the sign is extended."""
    syntax, bits_stored = header.file_meta.TransferSyntaxUID, int(header.BitsStored)
    size, high = 8 * pixels.dtype.itemsize, grey.number(path, header, "HighBit", bits_stored - 1)
    if pixels.dtype.kind == "f" or header.BitsAllocated == 1:
        return pixels
    below = int(high) + 1 - bits_stored
    is_shifted_file = not syntax.is_encapsulated or syntax == RLELossless  # other codecs hold values, not words
    if below < 0 or below + bits_stored > header.BitsAllocated or (below and not is_shifted_file):
        raise ImageError(
            f"{path}: HighBit (0028,0102) is {high:g} beside BitsStored {bits_stored} of BitsAllocated "
            f"{header.BitsAllocated}; expected {bits_stored - 1}. Export it again."
        )
    if syntax in codecs.PRECISE or bits_stored >= size:
        return pixels
    if below and pixels.size >= ENOUGH and (pixels & ((1 << below) - 1)).any() and not (pixels >> bits_stored).any():
        raise ImageError(
            f"{path}: HighBit (0028,0102) says that the {bits_stored} bits lie high, but they lie low. Export it again."
        )
    shifted: Array = (pixels << (size - below - bits_stored)) >> (size - bits_stored)
    return shifted


def _is_odd_422(header: Dataset) -> bool:
    is_native = not header.file_meta.TransferSyntaxUID.is_encapsulated
    return is_native and header.PhotometricInterpretation == "YBR_FULL_422" and header.Columns % 2 == 1


def _odd_422(path: ImageSource, header: Dataset, index: int) -> Array:
    """Y Y Cb Cr for each two pixels, where each row of odd length has one Y too many."""
    rows, columns, pairs = header.Rows, header.Columns, header.Columns // 2 + 1
    size = rows * pairs * 4
    content = header.PixelData
    if header.BitsAllocated != 8 or len(content) != size * frame_count(header):
        raise ImageError(
            f"{path}: YBR_FULL_422 of odd width in {len(content):,} bytes; expected {size:,} a frame. Export it as RGB."
        )
    parts = np.frombuffer(content, np.uint8, size, index * size).reshape(rows, pairs, 4)
    chroma = parts[:, :, 2:].repeat(2, axis=1)[:, :columns]
    pixels = np.dstack([parts[:, :, :2].reshape(rows, -1)[:, :columns], chroma])
    rgb: Array = convert_color_space(pixels, "YBR_FULL", "RGB")
    return rgb


def _palette(header: Dataset) -> list[lookup.Lookup]:
    return lookup.read_palette(_name(header), header, header.get("PixelRepresentation") == 1, grey.is_little(header))

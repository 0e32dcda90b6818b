"""Image files as devices and programs write them, drawn at random, with the pixels that each must give.

The reference is by hand (NumPy), or another implementation: pydicom's own functions for lookup tables, windows and
colours, Pillow's decoder. What cannot be read must be refused with an error that begins with the file's name; some may
only be read, and damaged ones may be either. For benchmarks/odd_files.py.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing, convert_color_space
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client import readers
from common.errors import ImageError

Rng = np.random.Generator
IMAGE = "1.2.840.10008.5.1.4.1.1.7"
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


@dataclass(frozen=True)
class Situation:
    """One thing to try."""

    name: str
    run: Callable[[], str | None]
    """None: right. A sentence: what was wrong. What it raises is judged by the caller."""


def situations(folder: Path, rng: Rng) -> Iterator[Situation]:
    """Each family so often, in turns of its own."""
    families: dict[Callable[[Path, Rng], Callable[[], str | None]], int] = {
        grey_dicom: 900, voi_dicom: 300, colour_dicom: 300, palette_dicom: 200, packed_dicom: 300, bad_dicom: 250,
        tiff: 700, odd_tiff: 150, png: 300, jpeg: 200, damaged: 800,
    }  # fmt: skip
    for family, count in families.items():
        for number in range(count):
            path = folder / f"{family.__name__}-{number}"
            yield Situation(path.name, family(path, np.random.default_rng(rng.integers(1 << 62))))


# --- what is compared -----------------------------------------------------------------------------------------------


def gives(path: Path, expected: np.ndarray, tolerance: float = 1e-3, shown: np.ndarray | None = None) -> str | None:
    """Read, and compare with what should come out: pixels [h, w] or [h, w, c], and what the file's own window shows."""
    try:
        picture = readers.read(path, "first")[0]
    except ImageError as error:
        return f"refused: {error}"
    wanted = expected if expected.ndim == 3 else expected[:, :, None]
    if picture.pixels.shape != wanted.shape:
        return f"{picture.pixels.shape} for {wanted.shape}"
    if not picture.is_shown and not np.allclose(picture.pixels, wanted, rtol=1e-6, atol=tolerance):
        return f"pixels differ by {np.abs(picture.pixels - wanted).max():g}"
    unit = np.clip((picture.pixels - picture.low) / (picture.high - picture.low), 0, 1)
    if shown is not None and not np.allclose(unit[:, :, 0], shown, atol=2e-5):
        return f"shown differs by {np.abs(unit[:, :, 0] - shown).max():g}"
    return None


def refused(path: Path, word: str = "") -> str | None:
    """Read, and expect an error that begins with the file's name."""
    try:
        readers.read(path, "first")
    except ImageError as error:
        return None if str(error).startswith(f"{path}: ") and word in str(error) else f"unnamed: {error}"
    return f"read, though it should be refused ({word})"


def either(path: Path) -> str | None:
    """Finite pixels, or an error that begins with the file's name."""
    try:
        pictures = readers.read(path, "all")
    except ImageError as error:
        return None if str(error).startswith(f"{path}: ") else f"unnamed: {error}"
    return None if all(np.isfinite(p.pixels).all() for p in pictures) else "not finite"


# --- DICOM ----------------------------------------------------------------------------------------------------------


def header(rng: Rng, values: np.ndarray, stored: int, high: int | None = None) -> FileDataset:
    """Grey values of `stored` bits, in the words that hold them; rubbish in the bits beside them."""
    syntax = NATIVE[rng.integers(len(NATIVE))]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = (
        IMAGE,
        generate_uid(),
        syntax,
    )
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality, ds.PatientID = IMAGE, meta.MediaStorageSOPInstanceUID, "OT", "1"
    size = values.dtype.itemsize * 8
    high = stored - 1 if high is None else high
    below = high + 1 - stored
    words = (values.astype(np.int64) & (2**stored - 1)) << below
    if stored < size:
        rubbish = rng.integers(0, 2, values.shape) * ((2**size - 1) & ~(((1 << stored) - 1) << below))
        words = words | rubbish
    order = ">" if syntax == ExplicitVRBigEndian and size > 8 else "<"
    content = (words & (2**size - 1)).astype(f"{order}u{size // 8}").tobytes()
    ds.Rows, ds.Columns = values.shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = size, stored, high
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    ds.PixelData = content + b"\0" * (len(content) % 2)
    ds["PixelData"].VR = "OW"
    if size == 8 and syntax == ExplicitVRBigEndian:
        ds["PixelData"].VR = "OB"
    return ds


def save(ds: FileDataset, path: Path) -> Path:
    """Written as its transfer syntax says."""
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax == ExplicitVRBigEndian:
        pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=False)
    else:
        ds.save_as(path, enforce_file_format=True)
    return path


def values_of(rng: Rng) -> tuple[np.ndarray, int, int]:
    """Grey values, how many bits they have, and the highest of them."""
    size = int(rng.choice([8, 16, 16, 16, 32]))
    stored = int(rng.integers(max(2, size // 2), size + 1))
    is_signed = bool(rng.integers(2))
    shape = tuple(rng.integers(1, 14, 2))
    low, top = (-(2 ** (stored - 1)), 2 ** (stored - 1)) if is_signed else (0, 2**stored)
    values = rng.integers(low, top, shape).astype(f"{'i' if is_signed else 'u'}{size // 8}")
    values.flat[0] = top - 1  # so that not all lie in the low bits
    return values, stored, int(rng.integers(stored - 1, size))


def rescaled(ds: Dataset, rng: Rng, values: np.ndarray) -> np.ndarray:
    """Slope, intercept, both or none."""
    natural = values.astype(np.float64)
    if rng.integers(2):
        ds.RescaleSlope = str(slope := [2, 0.5, -1, 1][rng.integers(4)])
        natural = natural * slope
    if rng.integers(2):
        ds.RescaleIntercept = str(intercept := int(rng.integers(-2000, 2000)))
        natural = natural + intercept
    return natural


def grey_dicom(path: Path, rng: Rng) -> Callable[[], str | None]:
    """Any bits, sign, byte order, rescale, window, padding; either way round."""
    values, stored, high = values_of(rng)
    ds = header(rng, values, stored, high)
    natural = rescaled(ds, rng, values)
    shown = None
    if rng.integers(2):
        width, center = int(rng.integers(2, 3000)), int(rng.integers(-500, 3000))
        ds.WindowCenter, ds.WindowWidth = [center, 1], [width, 2]
        ds.VOILUTFunction = ["LINEAR", "LINEAR_EXACT", "SIGMOID"][rng.integers(3)]
        flat = Dataset()
        for name in ("WindowCenter", "WindowWidth", "VOILUTFunction"):
            flat[pydicom.datadict.tag_for_keyword(name)] = ds[name]
        flat.PhotometricInterpretation, flat.PixelRepresentation, flat.BitsStored = "MONOCHROME2", 0, 8
        with np.errstate(over="ignore"):
            shown = apply_windowing(natural, flat) / 255
    if rng.integers(3) == 0:
        ds.PhotometricInterpretation = "MONOCHROME1"
        ends = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if values.dtype.kind == "i" else (0, 2**stored - 1)
        slope, base = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
        mirror = sum(end * slope + base for end in ends) if stored <= 16 else natural.min() + natural.max()
        natural, shown = mirror - natural, None if shown is None else 1 - shown
    tolerance = max(1e-3, float(np.abs(natural).max()) * 1e-6)
    if rng.integers(4) == 0:
        ds.NumberOfFrames = str(rng.choice(["1", "0", " 1 "]))
    save(ds, path)
    return lambda: gives(path, natural, tolerance, shown if tolerance < 0.1 else None)


def table(rng: Rng, entries: np.ndarray, first: int, bits: int) -> Sequence:
    """A lookup table; its words little endian, as pydicom leaves them."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.add_new("LUTData", "US", entries.astype(int).tolist())
    return Sequence([item])


def voi_dicom(path: Path, rng: Rng) -> Callable[[], str | None]:
    """Modality and VOI tables of any shape, which pydicom applies as well."""
    values = rng.integers(0, 4096, rng.integers(1, 14, 2)).astype(np.uint16)
    ds, bits = header(rng, values, 12), int(rng.choice([8, 10, 12, 16]))
    count = int(rng.integers(2, 4097))
    curve = [np.linspace(0, 1, count), np.linspace(1, 0, count), np.linspace(0, 1, count) ** 2, rng.random(count)]
    entries = (curve[rng.integers(4)] * (2**bits - 1)).round()
    entries[rng.integers(count)] = 2**bits - 1
    first, natural = int(rng.integers(0, 2000)), values
    if rng.integers(2):
        ds.ModalityLUTSequence = table(rng, entries, first, max(bits, 16))
        natural = apply_modality_lut(values, ds)
        shown = None
    else:
        ds.VOILUTSequence = table(rng, entries, first, bits)
        by_hand = entries[
            np.clip(values.astype(int) - first, 0, count - 1)
        ]  # pydicom's index has 8 bits where these do
        shown = (by_hand if bits == 8 else apply_voi(values, ds)) / (2**bits - 1)
    save(ds, path)
    return lambda: gives(path, natural, shown=shown)


def colour_dicom(path: Path, rng: Rng) -> Callable[[], str | None]:
    """RGB and YBR, by pixel or by plane; two pixels that share their colour, of odd width too."""
    height, width = (int(n) for n in rng.integers(1, 14, 2))
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    ds = header(rng, pixels[:, :, 0], 8)
    ds.SamplesPerPixel, kind = 3, ["RGB", "YBR_FULL", "YBR_FULL_422"][rng.integers(3)]
    ds.PhotometricInterpretation, ds.PlanarConfiguration = kind, 0
    if kind == "YBR_FULL_422":
        pairs = rng.integers(0, 256, (height, (width + 1) // 2, 4), np.uint8)
        content = pairs.tobytes()
        chroma = pairs[:, :, 2:].repeat(2, axis=1)
        pixels = np.dstack([pairs[:, :, :2].reshape(height, -1), chroma])[:, :width]
    else:
        ds.PlanarConfiguration = int(rng.integers(2))
        content = (np.moveaxis(pixels, 2, 0) if ds.PlanarConfiguration else pixels).tobytes()
    ds.PixelData = content + b"\0" * (len(content) % 2)
    ds["PixelData"].VR = "OB"
    expected = pixels if kind == "RGB" else convert_color_space(pixels, "YBR_FULL", "RGB")
    save(ds, path)
    return lambda: gives(path, expected)


def palette_dicom(path: Path, rng: Rng) -> Callable[[], str | None]:
    """Entries of 8 or 16 bits that say 8 or 16, and a first value."""
    index = rng.integers(0, 256, rng.integers(1, 14, 2)).astype(np.uint8)
    ds = header(rng, index, 8)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.PhotometricInterpretation = "PALETTE COLOR"
    count, first = int(rng.integers(2, 257)), int(rng.integers(0, 60))
    kind, top = [("u1", 256), ("<u2", 256), ("<u2", 65536)][rng.integers(3)]
    says, colours = int(rng.choice([8, 16])), []
    for number in range(3):
        entries = rng.integers(0, top, count).astype(kind)
        entries[0] = top - 1
        content = entries.tobytes()
        ds.add_new(0x00281101 + number, "US", [count, first, says])
        ds.add_new(0x00281201 + number, "OW", content + b"\0" * (len(content) % 2))
        colours.append(entries[np.clip(index.astype(int) - first, 0, count - 1)])
    expected = np.dstack(colours)
    save(ds, path)
    return lambda: gives(path, expected, shown=expected[:, :, 0] / (top - 1))


def packed_dicom(path: Path, rng: Rng) -> Callable[[], str | None]:
    """Lossless codecs: exact when whole, refused wherever they are cut."""
    is_colour = bool(rng.integers(3) == 0)
    stored = 8 if is_colour else int(rng.integers(8, 17))
    shape = tuple(rng.integers(4, 40, 2)) + ((3,) if is_colour else ())
    pixels = rng.integers(0, 2**stored, shape).astype(np.uint8 if stored == 8 else np.uint16)
    pixels = pixels if rng.integers(2) else np.sort(pixels, axis=0)
    ds = header(rng, pixels if not is_colour else pixels[:, :, 0], stored)
    syntax = [JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1, RLELossless][rng.integers(4)]
    if is_colour:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    if syntax == RLELossless:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
        ds.compress(RLELossless, generate_instance_uid=False)
        stream = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
    elif syntax == JPEG2000Lossless:
        stream = imagecodecs.jpeg2k_encode(pixels, codecformat=["j2k", "jp2"][rng.integers(2)], reversible=True)
    elif syntax == JPEGLSLossless:
        stream = imagecodecs.jpegls_encode(pixels)
    else:
        stream = imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=stored)
    ds.file_meta.TransferSyntaxUID, is_cut = syntax, bool(rng.integers(3) == 0)
    if is_cut:
        stream = stream[: int(rng.integers(2, max(3, len(stream) - 8)))]
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    save(ds, path)
    return (lambda: refused(path)) if is_cut else (lambda: gives(path, pixels))


def bad_dicom(path: Path, rng: Rng) -> Callable[[], str | None]:
    """Elements that make no sense: the error names file and element."""
    values = rng.integers(0, 4096, (6, 8)).astype(np.uint16)
    ds = header(rng, values, 12)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.PixelData = values.tobytes()
    kinds: list[tuple[str, str, Any]] = [
        ("RescaleSlope", "DS", b"1,5"), ("RescaleSlope", "DS", b"0"), ("RescaleSlope", "DS", b"1\\2"),
        ("RescaleIntercept", "DS", b"none"), ("RescaleIntercept", "DS", b"inf"), ("WindowWidth", "DS", b"-5"),
        ("WindowWidth", "DS", b"wide"), ("WindowCenter", "DS", b"4,0"), ("VOILUTFunction", "CS", b"CUBIC"),
        ("NumberOfFrames", "IS", b"-3"), ("NumberOfFrames", "IS", b"two"), ("NumberOfFrames", "IS", b"1\\2"),
        ("HighBit", "US", 10), ("HighBit", "US", 16), ("BitsStored", "US", 17),
        ("PhotometricInterpretation", "CS", b"HSV"),
        ("Rows", "US", 7), ("Rows", "US", 65535), ("SamplesPerPixel", "US", 2), ("PixelData", "OW", b"\0\0"),
    ]  # fmt: skip
    name, vr, value = kinds[rng.integers(len(kinds))]
    if name in ("WindowWidth", "WindowCenter", "VOILUTFunction"):
        ds.WindowCenter, ds.WindowWidth = "40", "400"
    pair = pydicom.datadict.tag_for_keyword(name)
    if isinstance(value, bytes) and vr != "OW":
        value += b" " * (len(value) % 2)
        ds[pair] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(pair), vr, len(value), value, 0, False, True, True)
    else:
        ds.add_new(pair, vr, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(ds, path)
    named = name if name not in ("Rows", "PixelData", "BitsStored", "SamplesPerPixel") else ""
    return lambda: refused(path, named)


# --- TIFF, PNG, JPEG ------------------------------------------------------------------------------------------------

TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


def tiff(path: Path, rng: Rng) -> Callable[[], str | None]:
    """Types, packings, predictors, tiles, planes, byte orders, turns, transparency and photometric interpretations."""
    kind = ["grey", "rgb", "rgba", "white", "cmyk", "palette"][rng.integers(6)]
    dtype = np.dtype([np.uint8, np.uint16, np.float32, np.int16][rng.integers(4 if kind == "grey" else 2)])
    channels = {"grey": 1, "rgb": 3, "rgba": 4, "white": 1, "cmyk": 4, "palette": 1}[kind]
    shape = tuple(rng.integers(1, 40, 2)) + ((channels,) if channels > 1 else ())
    full = 1 if dtype.kind == "f" else np.iinfo(dtype).max
    stored = rng.random(shape).astype(dtype) if dtype.kind == "f" else rng.integers(0, full, shape, dtype)
    expected = stored.astype(float)
    options: dict[str, Any] = {"compression": rng.choice(["none", "lzw", "packbits", "deflate", "zstd"])}
    options["compression"] = None if options["compression"] == "none" else str(options["compression"])
    turn = int(rng.integers(1, 9))
    options |= {"byteorder": "<>"[rng.integers(2)], "extratags": [(274, "H", 1, turn, True)]}
    if rng.integers(2):
        options["tile"] = (16, 16 * int(rng.integers(1, 3)))
    else:
        options["rowsperstrip"] = int(rng.integers(1, 20))
    options["photometric"] = {"white": "miniswhite", "cmyk": "separated", "palette": "palette"}.get(kind, "rgb")
    if kind == "grey":
        options["photometric"] = "minisblack"
    if options["compression"] in ("lzw", "deflate", "zstd") and rng.integers(2):
        options["predictor"] = True
    if kind == "rgba":
        options["extrasamples"] = ["unassalpha"]
        expected = expected[:, :, :3]
    if kind == "white":
        expected = full - expected
    if kind == "cmyk":
        expected = (full - expected[:, :, :3]) * (full - expected[:, :, 3:]) / full
    if kind == "palette":
        colours = rng.integers(0, 65536, (3, full + 1)).astype(np.uint16)
        options["colormap"], expected = colours, colours.T[stored]
    if kind == "rgb" and rng.integers(3) == 0:
        options["planarconfig"], stored = "separate", np.moveaxis(stored, 2, 0)
    tifffile.imwrite(path, stored, **options)
    return lambda: gives(path, TURNS[turn](expected), 1e-6 * full + 1e-6)


def odd_tiff(path: Path, rng: Rng) -> Callable[[], str | None]:
    """1-bit, JPEG, YCbCr, several pages, and what is refused: Lab, cut files, channels that are no colours."""
    pixels = rng.integers(0, 256, (*rng.integers(8, 40, 2), 3), np.uint8)
    kind = int(rng.integers(6))
    if kind == 0:
        mask = rng.integers(0, 2, pixels.shape[:2]).astype(bool)
        tifffile.imwrite(path, mask, photometric=["minisblack", "miniswhite"][turn := int(rng.integers(2))])
        return lambda: gives(path, mask ^ bool(turn))
    if kind == 1:
        Image.fromarray(pixels).convert("YCbCr").save(path, "TIFF")
        return lambda: gives(path, pixels, 3)
    if kind == 2:
        tifffile.imwrite(path, np.stack([pixels[:, :, 0]] * 3), photometric="minisblack")
        return lambda: gives(path, pixels[:, :, 0])
    if kind == 3:
        Image.fromarray(pixels).convert("LAB").save(path, "TIFF")
        return lambda: refused(path)
    if kind == 4:
        tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
        return lambda: refused(path)
    tifffile.imwrite(path, pixels, compression=["lzw", "deflate", None][rng.integers(3)], rowsperstrip=4)
    path.write_bytes(path.read_bytes()[:-3])
    return lambda: refused(path)


def png(path: Path, rng: Rng) -> Callable[[], str | None]:
    """Depths of 1 to 16 bits, palettes, transparency, turns."""
    shape = tuple(int(n) for n in rng.integers(1, 30, 2))
    exif, turn = Image.Exif(), int(rng.integers(1, 9))
    exif[274] = turn
    kind, bits = int(rng.integers(5)), int(rng.choice([1, 2, 4, 8]))
    if kind == 0:
        index = rng.integers(0, 2**bits, shape).astype(np.uint8)
        image, colours = Image.fromarray(index), rng.integers(0, 256, (2**bits, 3), np.uint8)
        image.putpalette(colours.tobytes())
        image.save(path, "PNG", bits=bits, exif=exif, transparency=0)
        expected = colours[index]
    elif kind == 1:
        grey = rng.integers(0, 65536, shape).astype(np.uint16)
        Image.fromarray(grey).save(path, "PNG", exif=exif)
        expected = grey
    elif kind == 2:
        mode = ["L", "RGB", "LA", "RGBA"][rng.integers(4)]
        stored = rng.integers(0, 256, (*shape, len(mode)), np.uint8)
        Image.fromarray(stored[:, :, 0] if mode == "L" else stored).save(path, "PNG", exif=exif)
        expected = stored[:, :, : 3 if len(mode) > 2 else 1]
    elif kind == 3:
        deep = rng.integers(0, 65536, (*shape, int(rng.integers(2, 5)))).astype(np.uint16)
        path.write_bytes(imagecodecs.png_encode(deep))
        expected, turn = deep[:, :, : 3 if deep.shape[2] > 2 else 1], 1
    else:
        mask = rng.integers(0, 2, shape).astype(bool)
        Image.fromarray(mask).save(path, "PNG", exif=exif)
        expected = mask * 255
    return lambda: gives(path, TURNS[turn](expected))


def jpeg(path: Path, rng: Rng) -> Callable[[], str | None]:
    """Grey, colour and inks, whole blocks, turned; 12 bits; lossless; and cut ones."""
    blocks = rng.integers(20, 236, (*rng.integers(1, 5, 2), 3))
    pixels = np.kron(blocks, np.ones((16, 16, 1))).astype(np.uint8)
    exif, turn, kind = Image.Exif(), int(rng.integers(1, 9)), int(rng.integers(5))
    exif[274] = turn
    if kind == 4:
        whole = imagecodecs.jpeg8_encode(pixels, level=100)
        path.write_bytes(whole[: int(len(whole) * rng.random() * 0.9) + 4])
        return lambda: refused(path)
    if kind == 3:
        deep = pixels[:, :, 0].astype(np.uint16) * 16
        stored = int(rng.choice([12, 16]))
        path.write_bytes(imagecodecs.jpeg8_encode(deep, lossless=True, bitspersample=stored))
        return lambda: gives(path, deep, shown=deep / (2**stored - 1))
    image = Image.fromarray(pixels).convert(["L", "RGB", "CMYK"][kind])
    image.save(path, "JPEG", quality=100, subsampling=0, progressive=bool(rng.integers(2)), exif=exif)
    expected = np.asarray(image if kind == 0 else Image.fromarray(pixels))
    return lambda: gives(path, TURNS[turn](expected), 8)


def damaged(path: Path, rng: Rng) -> Callable[[], str | None]:
    """A file of any family with bytes changed, or cut: pixels or a named error, and nothing else."""
    families = (grey_dicom, voi_dicom, colour_dicom, palette_dicom, packed_dicom, tiff, odd_tiff, png, jpeg)
    families[rng.integers(len(families))](path, rng)
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 9))):
        content[int(rng.random() ** 2 * len(content))] = int(rng.integers(256))
    path.write_bytes(content[: len(content) if rng.integers(2) else int(rng.integers(1, len(content)))])
    return lambda: either(path)

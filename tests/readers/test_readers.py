"""What reads is what the file holds; what does not read is one error that names the file."""

import io
import warnings
import zlib

import cv2
import numpy as np
import pydicom
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from client import readers
from client.readers import read
from common.errors import ImageError
from tests.readers.pydicom_files import FOLDERS, SMALL


def attempt(path, frames):
    """The pictures or the error. Anything else that is raised fails the test."""
    try:
        return read(path, frames)
    except ImageError as error:
        return error


def as_pydicom_gives(path, index):
    """The natural pixels [h, w, c] of one frame, or the exception, and the photometric interpretation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(path, force=True)
            pixels = pixel_array(header, index=index)
            kind = header.PhotometricInterpretation
            if kind == "PALETTE COLOR":
                tables = [f"{name}PaletteColorLookupTableData" for name in ("Red", "Green", "Blue")]
                for name in tables if header.original_encoding == (False, False) and tables[0] in header else ():
                    header[name].value = np.frombuffer(header[name].value, ">u2").astype("<u2").tobytes()
                pixels = apply_color_lut(pixels, header)  # which takes words of either byte order for little endian
            elif kind.startswith("MONOCHROME"):
                place = header
                for groups in (header.get("SharedFunctionalGroupsSequence"),):
                    if groups and "PixelValueTransformationSequence" in groups[0]:
                        place = groups[0].PixelValueTransformationSequence[0]
                pixels = apply_modality_lut(pixels, place)
        except Exception as error:
            return error, ""
    return (pixels if pixels.ndim == 3 else pixels[:, :, None]).astype(np.float32), kind


def white(header):
    """The brightest that a VOI LUT can give, by its bits."""
    return 2.0 ** header.VOILUTSequence[0].LUTDescriptor[2] - 1


def frame_count(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return int(pydicom.dcmread(path, force=True, stop_before_pixels=True).get("NumberOfFrames") or 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.parts[-2])
def test_every_file_that_pydicom_reads_gives_its_pixels_and_every_other_an_error(folder, capfd):
    compared = refused = 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")):
        theirs, kind = as_pydicom_gives(path, 0)
        ours = attempt(path, 0)
        if isinstance(ours, ImageError):
            assert str(ours).startswith(f"{path}: ")
            assert isinstance(theirs, Exception), ours
            refused += 1
            continue
        if isinstance(
            theirs, Exception
        ):  # ours may know more: a missing transfer syntax is told by the file's encoding
            assert "Transfer Syntax UID" in str(theirs)
            continue
        compared += 1
        if ours[0].is_shown:
            header = pydicom.dcmread(path)
            shown = apply_voi_lut(theirs[:, :, 0].astype(int), header) / white(header)
            np.testing.assert_allclose(ours[0].pixels[:, :, 0], 1 - shown if kind == "MONOCHROME1" else shown, 1e-6)
        elif kind == "MONOCHROME1":
            assert np.ptp(ours[0].pixels + theirs) == pytest.approx(0, abs=0.01), path
        else:
            np.testing.assert_array_equal(ours[0].pixels, theirs, err_msg=str(path))
        assert ours[0].low < ours[0].high
    assert compared > 60
    assert refused >= 1
    assert capfd.readouterr() == ("", "")


def test_the_last_frame_is_read_by_its_index_and_all_in_order():
    path = SMALL / "SC_rgb_rle_2frame.dcm"
    both = read(path, "all")
    assert len(both) == frame_count(path) == 2
    np.testing.assert_array_equal(read(path, 1)[0].pixels, both[1].pixels)
    np.testing.assert_array_equal(read(path, "first")[0].pixels, both[0].pixels)
    with pytest.raises(ImageError, match="no frame 2; expected 0 to 1"):
        read(path, 2)


# --- DICOM headers --------------------------------------------------------------------------------------------------


def dicom(tmp_path, pixels, **elements):
    """A small file of our own: CT_small with other pixels and elements; None removes one."""
    header = pydicom.dcmread(SMALL / "CT_small.dcm")
    header.file_meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
    header.Rows, header.Columns = pixels.shape[:2]
    header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.RescaleSlope, header.RescaleIntercept = 1, 0
    header.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name in ("PixelPaddingValue", "SmallestImagePixelValue", "LargestImagePixelValue"):
        if name in header:
            delattr(header, name)
    for name, value in elements.items():
        if value is None:
            delattr(header, name)
        elif name == "PixelPaddingValue":
            header.add_new(name, "SS", value)
        else:
            setattr(header, name, value)
    path = tmp_path / "image.dcm"
    header.save_as(path, enforce_file_format=True)
    return path


RAMP = np.arange(16, dtype=np.uint16).reshape(4, 4) * 100


def test_rescale_and_window_are_in_natural_units(tmp_path):
    path = dicom(tmp_path, RAMP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=[40, 300], WindowWidth=[401, 9])
    (picture,) = read(path)
    np.testing.assert_array_equal(picture.pixels[:, :, 0], RAMP * 2.0 - 1000)
    assert (picture.low, picture.high) == (-160.5, 239.5)


def test_monochrome1_is_reversed_within_its_bits_and_the_window_along(tmp_path):
    window = {"WindowCenter": 500, "WindowWidth": 401}
    plain = read(dicom(tmp_path, RAMP, BitsStored=12, HighBit=11, **window))[0]
    reversed_ = read(
        dicom(tmp_path, RAMP, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1", **window)
    )[0]
    np.testing.assert_array_equal(reversed_.pixels, 4095 - plain.pixels)

    def unit(p):
        return (p.pixels - p.low) / (p.high - p.low)

    np.testing.assert_allclose(unit(reversed_), 1 - unit(plain), atol=1e-5)


def test_without_a_window_the_range_is_the_image_s_own_and_padding_does_not_count(tmp_path):
    pixels = RAMP.astype(np.int16)
    pixels[0, 0] = -2000
    picture = read(dicom(tmp_path, pixels, PixelPaddingValue=-2000))[0]
    assert (picture.low, picture.high) == (100, 1500)
    assert picture.pixels.min() == -2000


def test_deflated_and_big_files_read_alike_and_a_deflated_bomb_is_refused(tmp_path, monkeypatch):
    plain = read(dicom(tmp_path, RAMP))[0].pixels
    path = dicom(tmp_path, RAMP, syntax=DeflatedExplicitVRLittleEndian)
    np.testing.assert_array_equal(read(path)[0].pixels, plain)
    monkeypatch.setattr("client.readers.dicom.MAX_BYTES", 4000)
    with pytest.raises(ImageError, match="unpacks to more than 1,000 bytes"):
        read(path)


def test_a_header_that_claims_a_giant_is_refused_before_memory_is_taken(tmp_path):
    path = dicom(tmp_path, RAMP, Rows=65535, Columns=65535)
    with pytest.raises(ImageError, match="claims 1 × 65535×65535 pixels"):
        read(path)


def test_a_codestream_of_another_size_than_the_header_is_refused():
    with pytest.raises(ImageError, match="the header says 256×1024 pixels, the compressed image 3722445056×1024"):
        read(SMALL / "JPEG2000-embedded-sequence-delimiter.dcm")


def test_a_dicom_without_an_image_says_so():
    with pytest.raises(ImageError, match="holds no image \\(modality RTPLAN\\)"):
        read(SMALL / "rtplan.dcm")


# --- PNG, JPEG, TIFF ------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(7)
GREY8 = RNG.integers(0, 256, (9, 13), np.uint8)
GREY16 = RNG.integers(0, 65536, (9, 13), np.uint16)
RGB8 = RNG.integers(0, 256, (9, 13, 3), np.uint8)
RGB16 = RNG.integers(0, 65536, (9, 13, 3), np.uint16)
ALPHA = np.full((9, 13, 1), 255, np.uint8)


@pytest.mark.parametrize(
    ("pixels", "kind", "extra"),
    [
        (GREY8, "PNG", {}),
        (GREY16, "PNG", {}),
        (RGB8, "PNG", {}),
        (np.concatenate([RGB8, ALPHA], 2), "PNG", {}),
        (np.concatenate([GREY8[:, :, None], ALPHA], 2), "PNG", {}),
        (GREY8, "TIFF", {}),
        (GREY16, "TIFF", {}),
        (RGB8, "TIFF", {}),
        (GREY8, "TIFF", {"compression": "tiff_lzw"}),
        (GREY16, "TIFF", {"compression": "tiff_lzw"}),
        (RGB8, "TIFF", {"compression": "tiff_deflate"}),
        (RGB8, "TIFF", {"compression": "packbits"}),
    ],
)
def test_lossless_files_give_the_pixels_that_were_written(tmp_path, pixels, kind, extra):
    path = tmp_path / "misnamed.dat"
    Image.fromarray(pixels).save(path, kind, **extra)
    (picture,) = read(path)
    channels = pixels if pixels.ndim == 3 else pixels[:, :, None]
    np.testing.assert_array_equal(picture.pixels, channels[:, :, : 1 if channels.shape[2] < 3 else 3])
    assert (picture.low, picture.high) == (0, np.iinfo(pixels.dtype).max)


@pytest.mark.parametrize(
    ("pixels", "extra"),
    [
        (RGB16, {}),
        (RGB16, {"planarconfig": "separate", "photometric": "rgb"}),
        (RGB16, {"compression": "deflate", "predictor": True}),
        (GREY16, {"byteorder": ">"}),
        (GREY16.astype(np.float32) / 65535, {}),
    ],
)
def test_tiff_of_16_bits_and_floats_keeps_its_depth(tmp_path, pixels, extra):
    path = tmp_path / "image.tif"
    data = np.moveaxis(pixels, -1, 0) if "planarconfig" in extra else pixels
    tifffile.imwrite(path, data, **extra)
    (picture,) = read(path)
    np.testing.assert_array_equal(picture.pixels, pixels if pixels.ndim == 3 else pixels[:, :, None])
    assert (picture.low, picture.high) == ((0, 1) if pixels.dtype == np.float32 else (0, 65535))


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_deep_png_is_read_in_full_depth_by_every_filter(tmp_path, kind, colour, channels):
    """Encoded by the formulas of section 9.2, byte by byte."""
    image = np.cumsum(RNG.integers(0, 900, (7, 5, channels)), axis=0).astype(">u2")
    raw, step = image.tobytes(), 2 * channels
    stride, packed = step * 5, b""
    for r in range(7):
        packed += bytes([kind])
        for i in range(stride):
            left = raw[r * stride + i - step] if i >= step else 0
            over = raw[(r - 1) * stride + i] if r else 0
            corner = raw[(r - 1) * stride + i - step] if r and i >= step else 0
            paeth = min((left, over, corner), key=lambda v, p=left + over - corner: abs(p - v))
            packed += bytes([(raw[r * stride + i] - (0, left, over, (left + over) // 2, paeth)[kind]) & 255])

    def chunk(name, body):
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    header = (5).to_bytes(4, "big") + (7).to_bytes(4, "big") + bytes([16, colour, 0, 0, 0])
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    (picture,) = read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, image[:, :, : 3 if channels > 2 else 1])
    assert picture.high == 65535


def test_an_index_beyond_the_palette_is_refused_and_the_last_one_read(tmp_path):
    path = tmp_path / "palette.png"
    image = Image.fromarray(np.array([[0, 1], [2, 2]], np.uint8), "P")
    image.putpalette([9, 9, 9, 20, 30, 40, 250, 0, 1])
    image.save(path)
    assert read(path)[0].pixels[1].tolist() == [[250, 0, 1]] * 2
    image.putpixel((1, 1), 3)
    image.save(path)
    with pytest.raises(ImageError, match="a pixel is colour 3 of a palette of 3"):
        read(path)


def test_deep_png_as_opencv_writes_it(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), RGB16[:, :, ::-1])
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0].pixels, RGB16)


def test_deep_colour_packed_by_lzw_keeps_its_depth(tmp_path):
    smooth = np.cumsum(RNG.integers(0, 9, (70, 90, 3), np.uint16), axis=1, dtype=np.uint16) * 40
    cv2.imwrite(str(tmp_path / "a.tif"), smooth[:, :, ::-1])
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].compression == tifffile.COMPRESSION.LZW
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[0].pixels, smooth)


def test_a_tiff_where_white_is_zero_becomes_brighter_is_higher(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY8, photometric="miniswhite")
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[0].pixels[:, :, 0], 255.0 - GREY8)


def test_a_tiff_that_unpacks_to_more_than_its_image_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY8, compression="deflate", software="x" * 30000)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
        count = file.pages[0].tags["StripByteCounts"].valueoffset
    packed = zlib.compress(bytes(20 << 20), 9)
    content[start:] = packed
    content[count : count + 4] = len(packed).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ImageError, match="unpacks to more than the image"):
        read(path)


def test_pages_of_a_tiff_are_frames(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY8, GREY8 // 2]), photometric="minisblack")
    assert len(read(tmp_path / "a.tif", "all")) == 2
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 1)[0].pixels[:, :, 0], GREY8 // 2)


def test_jpeg_gives_what_pillow_gives_turned_as_exif_says(tmp_path):
    image, exif = Image.fromarray(RGB8), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as again:
        expected = np.rot90(np.asarray(again, np.float32), -1)
    np.testing.assert_array_equal(read(tmp_path / "a.jpg")[0].pixels, expected)


# --- what cannot be read --------------------------------------------------------------------------------------------


def saved(pixels, kind, **extra):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **extra)
    return stream.getvalue()


def bomb():
    """A PNG of 20,000 × 20,000 pixels in a few kilobytes' worth of header."""
    content = bytearray(saved(GREY8, "PNG"))
    content[16:24] = (20000).to_bytes(4, "big") * 2
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (b"%PDF-1.7 something else", "not an image of a known format"),
        (saved(GREY8, "PNG")[:60], "damaged or unusual PNG"),
        (saved(RGB8, "JPEG")[:300], "damaged or unusual JPEG"),
        (saved(GREY16, "TIFF")[:-40], "TIFF|truncated"),
        (bomb(), "claims|damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged or unusual PNG"),
    ],
)
def test_a_bad_file_is_an_error_that_begins_with_its_path(tmp_path, content, what):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=what) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_missing_files_and_folders_are_errors(tmp_path):
    with pytest.raises(ImageError, match="there is no such file"):
        read(tmp_path / "none.dcm")
    with pytest.raises(ImageError, match="a folder"):
        read(tmp_path)


def test_pixels_that_are_not_finite_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(ImageError, match="not finite"):
        read(tmp_path / "a.tif")


SEEDS = [
    *((SMALL / name).read_bytes() for name in (
        "MR_small.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm",
        "SC_rgb_small_odd_jpeg.dcm", "image_dfl.dcm", "ExplVR_BigEnd.dcm", "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jpeg_gdcm.dcm", "JPGExtended.dcm",
    )),
    saved(GREY16, "PNG"), saved(RGB8, "JPEG"), saved(RGB8, "TIFF", compression="tiff_lzw"), saved(GREY16, "TIFF"),
]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_changed_bytes_give_pixels_or_an_image_error_and_nothing_else(tmp_path, seed, changes, keep):
    content = bytearray(seed)
    for where, byte in changes:
        content[int(where**2 * len(content))] = byte  # mostly in the headers
    path = tmp_path / "changed"
    path.write_bytes(content[: int(keep * len(content))])
    pictures = attempt(path, "all")
    if isinstance(pictures, ImageError):
        assert str(pictures).startswith(f"{path}: ")
    else:
        assert all(np.isfinite(p.pixels).all() and p.pixels.dtype == np.float32 for p in pictures)


def test_every_format_has_a_reader():
    assert set(readers.FORMATS) == set(readers._MAGIC)

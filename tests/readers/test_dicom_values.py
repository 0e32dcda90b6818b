"""What devices write into headers: right values, or an error that names the element. Nothing in between."""

import struct

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing, convert_color_space
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from client.readers import read
from common.errors import DataError, ImageError
from common.imaging import Pipeline
from common.imaging.steps import Window
from tests.readers.pydicom_files import SMALL

RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 64
PIXELS_FOLLOW = b"\xe0\x7f\x10\x00"


def header(pixels=RAMP, stored=12, **elements):
    """A grey object of our own, little endian, its bits as `elements` say."""
    ds = pydicom.dcmread(SMALL / "CT_small.dcm")
    for name in ("RescaleSlope", "RescaleIntercept", "PixelPaddingValue"):
        delattr(ds, name)
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * pixels.dtype.itemsize, stored, stored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    for name, value in elements.items():
        setattr(ds, name, value)
    return ds


def saved(ds, tmp_path, syntax=ExplicitVRLittleEndian):
    ds.file_meta.TransferSyntaxUID = syntax
    is_little = syntax.is_little_endian
    if not is_little and ds.BitsAllocated == 16:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    pydicom.dcmwrite(tmp_path / "x.dcm", ds, implicit_vr=False, little_endian=is_little)
    return tmp_path / "x.dcm"


def grey(path):
    return read(path)[0].pixels[:, :, 0]


def unit(path):
    picture = read(path)[0]
    return np.clip((picture.pixels - picture.low) / (picture.high - picture.low), 0, 1)


def table(entries, first=0, bits=16, vr="OW"):
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    content = np.asarray(entries)
    item.add_new("LUTData", vr, content.tolist() if vr == "US" else content.astype("<u2").tobytes())
    return Sequence([item])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(("stored", "below"), [(12, 4), (12, 2), (10, 6), (12, 0)])
def test_stored_bits_are_taken_from_high_bit_down_whatever_lies_beside_them(tmp_path, signed, syntax, stored, below):
    values = np.arange(64).reshape(8, 8) * 8 - (400 if signed else 0)
    words = ((values & (2**stored - 1)) << below).astype(np.uint16)
    words |= np.uint16((1 << below) - 1) | np.uint16((0xFFFF << (stored + below)) & 0xFFFF)  # overlays on both sides
    ds = header(words, stored, HighBit=stored + below - 1, PixelRepresentation=int(signed))
    np.testing.assert_array_equal(grey(saved(ds, tmp_path, syntax)), values)


def test_a_few_dark_pixels_contradict_no_high_bit(tmp_path):
    values = np.arange(6, dtype=np.uint16).reshape(2, 3)
    np.testing.assert_array_equal(grey(saved(header((values << 4) | 15, 12, HighBit=15), tmp_path)), values)


@pytest.mark.parametrize("high", [15, 10])
def test_a_high_bit_that_the_pixels_contradict_is_refused(tmp_path, high):
    with pytest.raises(ImageError, match=r"HighBit \(0028,0102\)"):
        read(saved(header(RAMP + 1, 12, HighBit=high), tmp_path))


@pytest.mark.parametrize(("key", "value", "expected"), [
    ("RescaleIntercept", "-1024", RAMP - 1024.0), ("RescaleSlope", "2", RAMP * 2.0),
    ("RescaleSlope", "-1", -1.0 * RAMP),
])  # fmt: skip
def test_slope_and_intercept_hold_without_each_other(tmp_path, key, value, expected):
    np.testing.assert_array_equal(grey(saved(header(**{key: value}), tmp_path)), expected)


@pytest.mark.parametrize("vr", ["OW", "US"])
@pytest.mark.parametrize("entries", [np.arange(4096) * 3, np.arange(4096)[::-1] * 16, np.arange(4096) ** 2 // 4096])
def test_a_modality_table_gives_what_pydicom_s_gives(tmp_path, vr, entries):
    ds = header(ModalityLUTSequence=table(entries, vr=vr))
    expected = apply_modality_lut(RAMP, ds)
    np.testing.assert_array_equal(grey(saved(ds, tmp_path)), expected)


@pytest.mark.parametrize("first", [0, 500, -200])
@pytest.mark.parametrize("entries", [np.linspace(4095, 0, 3000), np.linspace(0, 1, 3000) ** 2 * 4095])
def test_a_voi_table_shows_what_pydicom_s_gives(tmp_path, first, entries):
    values = RAMP.astype(np.int16) // 2 - 500 if first < 0 else RAMP
    ds = header(values, 16 if first < 0 else 12, VOILUTSequence=table(entries.astype(int), bits=12))
    ds.VOILUTSequence[0].LUTDescriptor = [3000, first, 12]
    np.testing.assert_allclose(unit(saved(ds, tmp_path))[:, :, 0], apply_voi(values, ds) / 4095, atol=1e-6)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("width", [1, 2, 400, 4096])
def test_windows_show_what_pydicom_s_give(tmp_path, function, width):
    ds = header(WindowCenter=[2048, 7], WindowWidth=[width, 7])
    if function:
        ds.VOILUTFunction = function
    with np.errstate(over="ignore"):
        expected = apply_windowing(RAMP, ds) / 4095
    np.testing.assert_allclose(unit(saved(ds, tmp_path))[:, :, 0], expected, atol=2e-6)


def test_what_a_curve_shows_is_reversed_for_monochrome1_and_takes_no_fixed_window(tmp_path):
    ds = header(WindowCenter=2048, WindowWidth=400, VOILUTFunction="SIGMOID")
    plain = unit(saved(ds, tmp_path))
    ds.PhotometricInterpretation = "MONOCHROME1"
    path = saved(ds, tmp_path)
    np.testing.assert_allclose(unit(path), 1 - plain, atol=1e-6)
    assert Pipeline([Window(step="window", source="percentile")]).apply(read(path)).max() == 1
    with pytest.raises(DataError, match="a fixed window in natural units does not apply"):
        Pipeline([Window(step="window", center=40, width=400)]).apply(read(path))


@pytest.mark.parametrize("width", ["0", "0.5"])
def test_a_window_without_width_is_none(tmp_path, width):
    picture = read(saved(header(WindowCenter="40", WindowWidth=width), tmp_path))[0]
    assert (picture.low, picture.high) == (RAMP.min(), RAMP.max())


def insert(path, tag, text):
    """A raw DS element in front of the pixels: values that pydicom would not write."""
    content, text = path.read_bytes(), text + b" " * (len(text) % 2)
    at = content.rindex(PIXELS_FOLLOW)
    element = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"DS" + struct.pack("<H", len(text)) + text
    path.write_bytes(content[:at] + element + content[at:])
    return path


@pytest.mark.parametrize("text", [b"1,5", b"1.5\\2.5", b"abc", b"NaN", b"inf", b"0"])
@pytest.mark.parametrize(("tag", "name"), [(0x00281053, "RescaleSlope"), (0x00281052, "RescaleIntercept")])
def test_a_bad_rescale_is_an_error_that_names_file_and_element(tmp_path, tag, name, text):
    path = insert(saved(header(), tmp_path), tag, text)
    if (name, text) == ("RescaleIntercept", b"0"):
        np.testing.assert_array_equal(grey(path), RAMP)
        return
    with pytest.raises(ImageError, match=rf"x\.dcm: {name} \(0028,{tag & 0xFFFF:04x}\)"):
        read(path)


@pytest.mark.parametrize(("center", "width", "name"), [
    (b"40,0", b"400", "WindowCenter"), (b"40", b"wide", "WindowWidth"), (b"40", b"-400", "WindowWidth"),
    (b"x\\40", b"400", "WindowCenter"),
])  # fmt: skip
def test_a_bad_window_is_an_error_that_names_file_and_element(tmp_path, center, width, name):
    path = insert(insert(saved(header(), tmp_path), 0x00281050, center), 0x00281051, width)
    with pytest.raises(ImageError, match=rf"x\.dcm: {name} \(0028,105"):
        read(path)


@pytest.mark.parametrize("padding", [63536, 2096])  # -2000 as 16 bits without sign, and as 12 of them
def test_padding_of_the_other_signedness_is_left_out_of_the_range(tmp_path, padding):
    values = np.arange(64, dtype=np.int16).reshape(8, 8) * 40 - 1024
    values[0] = -2000
    ds = header(values, 16 if padding > 4096 else 12)
    ds.add_new("PixelPaddingValue", "US", padding)
    assert read(saved(ds, tmp_path))[0].low == values[1:].min()
    ds.add_new("PixelPaddingRangeLimit", "US", (padding + 1040) & 0xFFFF)
    assert read(saved(ds, tmp_path))[0].low > -960


def palette(index, tables, says=16, vr="OW", first=0):
    ds = header(index, 8, PhotometricInterpretation="PALETTE COLOR")
    for i, content in enumerate(tables):
        ds.add_new(0x00281101 + i, "US", [len(content) % 65536, first, says])
        ds.add_new(0x00281201 + i, vr, content.tolist() if vr == "US" else content.tobytes())
    return ds


INDEX = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize(("kind", "says", "white"), [
    ("u1", 8, 255), ("u1", 16, 255), ("<u2", 8, 255), ("<u2", 16, 255), ("wide", 16, 65535), ("wide", 8, 65535),
])  # fmt: skip
def test_a_palette_is_as_bright_as_its_entries_whatever_it_says(tmp_path, kind, says, white):
    entries = np.arange(256).astype("<u2") * 257 if kind == "wide" else np.arange(256).astype(kind)
    picture = read(saved(palette(INDEX, [entries, entries[::-1].copy(), entries // 2], says), tmp_path))[0]
    expected = np.dstack([entries[INDEX], entries[255 - INDEX], (entries // 2)[INDEX]])
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.high == white


def test_segments_of_a_palette_expand_as_pydicom_s_do(tmp_path):
    segments = np.array([0, 2, 10, 500, 1, 200, 60000, 0, 1, 7, 1, 53, 100], "<u2")
    ds = palette(INDEX, [np.zeros(256, "<u2")] * 3)
    for i, name in enumerate(("Red", "Green", "Blue")):
        del ds[0x00281201 + i]
        setattr(ds, f"Segmented{name}PaletteColorLookupTableData", segments.tobytes())
    expected = apply_color_lut(INDEX, ds)
    np.testing.assert_array_equal(read(saved(ds, tmp_path))[0].pixels, expected)
    ds.SegmentedRedPaletteColorLookupTableData = np.array([0, 1, 5, *[1, 65535, 9] * 9000], "<u2").tobytes()
    with pytest.raises(ImageError, match="SegmentedRedPaletteColorLookupTableData holds"):
        read(saved(ds, tmp_path))


@pytest.mark.parametrize("width", [7, 8, 1])
def test_two_pixels_that_share_their_colour_fill_rows_of_odd_width(tmp_path, width):
    pairs = (width + 1) // 2
    pixels = np.random.default_rng(2).integers(60, 200, (6, pairs, 4), dtype=np.uint8)
    ds = header(np.zeros((6, width), np.uint8), 8, SamplesPerPixel=3, PlanarConfiguration=0)
    ds.PhotometricInterpretation, ds.PixelData = "YBR_FULL_422", pixels.tobytes()
    luma = pixels[:, :, :2].reshape(6, -1)
    ybr = np.dstack([luma, *(pixels[:, :, i].repeat(2, axis=1) for i in (2, 3))])[:, :width]
    np.testing.assert_array_equal(read(saved(ds, tmp_path))[0].pixels, convert_color_space(ybr, "YBR_FULL", "RGB"))
    ds.PixelData = ds.PixelData[:-4]
    with pytest.raises(ImageError):
        read(saved(ds, tmp_path))


@pytest.mark.parametrize(("photometric", "samples", "signed"), [
    ("YBR_PARTIAL_420", 3, 0), ("YBR_RCT", 3, 0), ("HSV", 3, 0), ("CMYK", 4, 0), ("RGB", 1, 0), ("RGB", 3, 1),
])  # fmt: skip
def test_colours_that_are_not_rgb_in_the_end_are_refused(tmp_path, photometric, samples, signed):
    ds = header(np.zeros((4, 4), np.uint8), 8, PhotometricInterpretation=photometric, SamplesPerPixel=samples)
    ds.PlanarConfiguration, ds.PixelData, ds.PixelRepresentation = 0, bytes(16 * samples), signed
    with pytest.raises(ImageError, match=r"x\.dcm: "):
        read(saved(ds, tmp_path))


@pytest.mark.parametrize("value", [0, 1])
def test_a_mask_of_one_bit_is_black_or_white(tmp_path, value):
    ds = header(np.full((8, 8), value, np.uint8), 8)
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit, ds.PixelData = 0, bytes([255 * value]) * 8
    np.testing.assert_array_equal(unit(saved(ds, tmp_path)), value)


def test_reversed_values_of_32_bits_keep_their_steps(tmp_path):
    values = np.arange(64, dtype=np.uint32).reshape(8, 8)
    ds = header(values, 32, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(grey(saved(ds, tmp_path)), 63.0 - values)


@pytest.mark.parametrize(("said", "count"), [(0, 1), ("1", 1), (2, None), ("-1", None)])
def test_a_number_of_frames_holds_what_is_there_or_is_refused(tmp_path, said, count):
    path = saved(header(NumberOfFrames=said), tmp_path)
    if count:
        assert len(read(path, "all")) == count
    else:
        with pytest.raises(ImageError, match=r"x\.dcm: "):
            read(path)


FRAMES = np.random.default_rng(7).integers(0, 4096, (3, 4, 6)).astype(np.uint16)


def several(said, frames=FRAMES):
    ds = header(frames.reshape(-1, frames.shape[2]))
    ds.Rows, ds.NumberOfFrames = frames.shape[1], said
    return ds


@pytest.mark.parametrize("said", [1, 2, None])
@pytest.mark.parametrize("is_packed", [False, True])
def test_frames_that_the_header_does_not_count_are_an_error_and_not_lost(tmp_path, said, is_packed):
    ds = several(said)
    if is_packed:
        ds.PixelData = encapsulate([imagecodecs.jpegls_encode(frame) for frame in FRAMES], has_bot=said == 2)
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    path = saved(ds, tmp_path, JPEGLSLossless if is_packed else ExplicitVRLittleEndian)
    with pytest.raises(ImageError, match=r"x.dcm: holds 3 frames, and NumberOfFrames \(0028,0008\) says "):
        read(path)


def test_zeros_behind_the_pixels_are_padding(tmp_path):
    ds = header()
    ds.PixelData += bytes(512)
    np.testing.assert_array_equal(grey(saved(ds, tmp_path)), RAMP)


def test_a_table_of_frames_that_is_out_of_order_is_refused(tmp_path):
    ds = several(3)
    whole = encapsulate([imagecodecs.jpegls_encode(frame) for frame in FRAMES])
    first, second, third = struct.unpack("<III", whole[8:20])
    ds.PixelData = whole[:8] + struct.pack("<III", first, third, second) + whole[20:]
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    with pytest.raises(ImageError, match="Basic Offset Table"):
        read(saved(ds, tmp_path, JPEGLSLossless))


def test_a_frame_without_a_functional_group_of_its_own_is_refused(tmp_path):
    ds, item, group = several(3), Dataset(), Dataset()
    item.RescaleSlope, item.RescaleIntercept = "2", "5"
    group.PixelValueTransformationSequence = Sequence([item])
    ds.PerFrameFunctionalGroupsSequence = Sequence([group])
    path = saved(ds, tmp_path)
    np.testing.assert_array_equal(read(path, 0)[0].pixels[:, :, 0], FRAMES[0] * 2.0 + 5)
    with pytest.raises(ImageError, match=r"5200,9230\) has 1 items, and none for frame 2"):
        read(path, 2)


def packed_2000(tmp_path, pixels, **elements):
    ds = header(pixels, **elements)
    ds.PixelData = encapsulate([imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True)])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return saved(ds, tmp_path, JPEG2000Lossless)


def test_a_sign_that_header_and_codestream_dispute_is_refused_where_values_would_turn_over(tmp_path):
    signed = (RAMP.astype(np.int16) - 2000).astype(np.int16)
    np.testing.assert_array_equal(grey(packed_2000(tmp_path, signed, stored=16)), signed)
    with pytest.raises(ImageError, match=r"PixelRepresentation \(0028,0103\)"):
        read(packed_2000(tmp_path, signed, stored=16, PixelRepresentation=0))


def test_more_bits_than_the_header_says_are_read_and_not_reversed(tmp_path):
    deep = RAMP * 16
    np.testing.assert_array_equal(grey(packed_2000(tmp_path, deep)), deep)
    with pytest.raises(ImageError, match=r"BitsStored \(0028,0101\), 12, cannot hold"):
        read(packed_2000(tmp_path, deep, PhotometricInterpretation="MONOCHROME1"))


@pytest.mark.parametrize("name", ["Rows", "BitsStored"])
def test_a_number_of_the_image_that_is_several_is_named(tmp_path, name):
    ds = header(**{name: [8, 9]})
    with pytest.raises(ImageError, match=f"{name} .*expected one number"):
        read(saved(ds, tmp_path))

"""Compressed frames of DICOM: lossless JPEG against an encoder of the formulas, others against their like."""

import io
import struct

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import convert_color_space
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from client.readers import codestream, read
from common.errors import ImageError
from tests.readers.pydicom_files import FOLDERS, SMALL


def frame_file(tmp_path, stream, pixels, syntax, **elements):
    """A DICOM file with one compressed frame; `pixels` says size, samples and bits."""
    header = pydicom.dcmread(SMALL / "CT_small.dcm")
    header.file_meta.TransferSyntaxUID = syntax
    header.Rows, header.Columns = pixels.shape[:2]
    header.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    header.PhotometricInterpretation = "RGB" if header.SamplesPerPixel == 3 else "MONOCHROME2"
    header.PlanarConfiguration, header.PixelRepresentation = 0, 0
    header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
    for name in ("RescaleSlope", "RescaleIntercept", "PixelPaddingValue"):
        delattr(header, name)
    for name, value in elements.items():
        setattr(header, name, value)
    header.HighBit = header.BitsStored - 1
    header.PixelData = encapsulate([stream])
    header["PixelData"].VR = "OB"
    header.save_as(tmp_path / "frame.dcm", enforce_file_format=True)
    return tmp_path / "frame.dcm"


def predicted(image, r, c, predictor, start):
    """T.81 table H.1 and H.1.1, pixel by pixel."""
    if r == 0:
        return start if c == 0 else image[r][c - 1]
    if c == 0:
        return image[r - 1][c]
    a, b, d = image[r][c - 1], image[r - 1][c], image[r - 1][c - 1]
    return [None, a, b, d, a + b - d, a + ((b - d) >> 1), b + ((a - d) >> 1), (a + b) >> 1][predictor]


def encode(image, precision, predictor, restart_rows=0, shift=0):
    """A lossless JPEG of int[h, w, c], every category with a code of 5 bits that is its own number."""
    height, width, count = image.shape
    stored = (image >> shift).tolist()
    planes = [[[pixel[c] for pixel in row] for row in stored] for c in range(count)]
    segments, bits = [], ""
    for r in range(height):
        if restart_rows and r and r % restart_rows == 0:
            segments.append(bits)
            bits = ""
        for c in range(width):
            for plane in planes:
                block = plane[r - r % restart_rows :] if restart_rows else plane
                row = r % restart_rows if restart_rows else r
                guess = predicted(block, row, c, predictor, 1 << (precision - shift - 1))
                difference = (plane[r][c] - guess + 32767) % 65536 - 32767
                category = abs(difference).bit_length()
                bits += f"{category:05b}"
                if 0 < category < 16:
                    bits += f"{difference if difference > 0 else difference + (1 << category) - 1:0{category}b}"
    segments.append(bits)
    packed = [
        b"".join(int(s[i : i + 8].ljust(8, "1"), 2).to_bytes(1, "big") for i in range(0, len(s), 8)) for s in segments
    ]
    scan = b""
    for number, part in enumerate(packed):
        scan += (bytes([0xFF, 0xD0 + (number - 1) % 8]) if number else b"") + part.replace(b"\xff", b"\xff\x00")

    def marker(kind, body):
        return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body

    table = marker(0xC4, bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)]))
    components = b"".join(bytes([i + 1, 0x11, 0]) for i in range(count))
    frame = marker(0xC3, struct.pack(">BHHB", precision, height, width, count) + components)
    restart = marker(0xDD, struct.pack(">H", restart_rows * width)) if restart_rows else b""
    chosen = b"".join(bytes([i + 1, 0]) for i in range(count))
    start = marker(0xDA, bytes([count]) + chosen + bytes([predictor, 0, shift]))
    return b"\xff\xd8" + frame + table + restart + start + scan + b"\xff\xd9"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(2, 16), st.integers(1, 7), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 7),
    st.integers(0, 3), st.integers(0, 1), st.integers(0, 2**32), st.booleans(),
)  # fmt: skip
def test_what_was_encoded_is_decoded(tmp_path, precision, predictor, count, height, width, restart, shift, seed, rough):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 1 << precision, (height, width, count))
    if not rough:
        image = np.clip(
            np.cumsum(rng.integers(-2, 3, image.shape), axis=1) + (1 << precision) // 2, 0, (1 << precision) - 1
        )
    image = (image >> shift) << shift
    typed = image.astype(np.uint8 if precision <= 8 else np.uint16)
    path = frame_file(
        tmp_path, encode(image, precision, predictor, restart, shift), typed, JPEGLossless, BitsStored=precision
    )
    np.testing.assert_array_equal(read(path)[0].pixels, image)


@pytest.mark.parametrize("name", ["JPGLosslessP14SV1_1s_1f_8b.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_eight_bits_are_as_pillow_decodes_them(name):
    path = next((p for folder in FOLDERS for p in folder.rglob(name)), None)
    if path is None:
        pytest.skip("pydicom-data is not installed. pip install pydicom-data")
    stream = get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1)
    with Image.open(io.BytesIO(stream)) as image:
        np.testing.assert_array_equal(read(path)[0].pixels.squeeze(), np.asarray(image, np.float32))


RNG = np.random.default_rng(5)
GREY = np.cumsum(RNG.integers(0, 60, (31, 27)), axis=1).astype(np.uint16)  # below 4096
RGB = np.cumsum(RNG.integers(0, 9, (31, 27, 3)), axis=0).astype(np.uint8)


def rle(pixels):
    """PS3.5 annex G, by its own simplest rule: runs of single bytes that are listed."""
    planes = pixels.reshape(-1).view(np.uint8).reshape(-1, pixels.dtype.itemsize)[:, ::-1].T
    parts = []
    for plane in planes:
        content = plane.tobytes()
        packed = b"".join(bytes([len(c) - 1]) + c for c in (content[i : i + 128] for i in range(0, len(content), 128)))
        parts.append(packed + b"\0" * (len(packed) % 2))
    offsets = np.cumsum([64, *map(len, parts)])[:-1]
    return struct.pack("<16I", len(parts), *offsets, *[0] * (15 - len(parts))) + b"".join(parts)


STREAMS = {
    "JPEG-LS": (JPEGLSLossless, imagecodecs.jpegls_encode(GREY)),
    "JPEG 2000": (JPEG2000Lossless, imagecodecs.jpeg2k_encode(GREY, codecformat="j2k", reversible=True)),
    "JPEG 2000 in boxes": (JPEG2000Lossless, imagecodecs.jpeg2k_encode(GREY, codecformat="jp2", reversible=True)),
    "lossless JPEG": (JPEGLossless, encode(GREY[:, :, None].astype(int), 12, 1)),
    "RLE": (RLELossless, rle(GREY)),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_lossless_frame_is_exact_and_a_cut_one_is_refused_wherever_it_ends(tmp_path, kind):
    syntax, stream = STREAMS[kind]
    np.testing.assert_array_equal(
        read(frame_file(tmp_path, stream, GREY, syntax, BitsStored=12))[0].pixels[:, :, 0], GREY
    )
    for cut in range(4, len(stream) - 4, max(1, len(stream) // 40)):
        with pytest.raises(ImageError, match=r"frame\.dcm: "):
            read(frame_file(tmp_path, stream[:cut], GREY, syntax, BitsStored=12))


def test_dct_of_twelve_bits_is_within_its_loss(tmp_path):
    stream = imagecodecs.jpeg8_encode(GREY, level=98, bitspersample=12)
    path = frame_file(tmp_path, stream, GREY, JPEGExtended12Bit, BitsStored=12)
    assert np.abs(read(path)[0].pixels[:, :, 0] - GREY).max() < 20
    assert read(SMALL / "JPGExtended.dcm")[0].pixels.max() == 264


def baseline(transform):
    """RGB as a JPEG whose APP14 marker says how its colours were transformed: 0 not, 1 to YCbCr."""
    space = "RGB" if transform == 0 else "YCBCR"
    plain = imagecodecs.jpeg8_encode(RGB, level=100, colorspace="RGB", outcolorspace=space, subsampling="444")
    marks = [m for m, _ in codestream.jpeg_segments(plain)]
    if 0xE0 in marks:  # JFIF outranks it
        length = int.from_bytes(plain[4:6], "big")
        plain = plain[:2] + plain[4 + length :]
    adobe = b"\xff\xee\x00\x0eAdobe\x00d\0\0\0\0" + bytes([transform])
    return plain if 0xEE in marks else plain[:2] + adobe + plain[2:]


@pytest.mark.parametrize("transform", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
def test_colours_are_made_rgb_once_whatever_header_and_marker_call_them(tmp_path, transform, photometric):
    path = frame_file(tmp_path, baseline(transform), RGB, JPEGBaseline8Bit, PhotometricInterpretation=photometric)
    assert np.abs(read(path)[0].pixels - RGB).max() <= 4


@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT", "YBR_FULL", "YBR_FULL_422", "YBR_ICT"])
def test_a_jpeg_2000_that_mixed_its_colours_comes_as_rgb_whatever_the_header_says(tmp_path, photometric):
    stream = imagecodecs.jpeg2k_encode(RGB, codecformat="j2k", reversible=True, mct=True)
    path = frame_file(tmp_path, stream, RGB, JPEG2000, PhotometricInterpretation=photometric)
    np.testing.assert_array_equal(read(path)[0].pixels, RGB)


def test_a_jpeg_2000_that_did_not_mix_its_colours_is_what_the_header_says_or_refused(tmp_path):
    stream = imagecodecs.jpeg2k_encode(RGB, codecformat="j2k", reversible=True, mct=False)
    path = frame_file(tmp_path, stream, RGB, JPEG2000, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_array_equal(read(path)[0].pixels, convert_color_space(RGB, "YBR_FULL", "RGB"))
    with pytest.raises(ImageError, match="as YBR_RCT"):
        read(frame_file(tmp_path, stream, RGB, JPEG2000, PhotometricInterpretation="YBR_RCT"))


def test_a_codestream_of_other_samples_than_the_header_is_refused(tmp_path):
    stream = imagecodecs.jpegls_encode(RGB)
    with pytest.raises(ImageError, match="the compressed image has 3 of 8 bits"):
        read(frame_file(tmp_path, stream, GREY.astype(np.uint8), JPEGLSLossless))


def test_a_box_that_looks_like_a_codestream_does_not_hide_the_size():
    real = imagecodecs.jpeg2k_encode(GREY, codecformat="jp2", reversible=True)
    fake = b"\xff\x4f\xff\x51" + bytes(60)
    boxed = real[:12] + struct.pack(">I", 8 + len(fake)) + b"free" + fake + real[12:]
    assert codestream.claim(boxed)[:2] == (27, 31)

"""Lossless JPEG against an encoder written from the standard's formulas, and against Pillow where Pillow can."""

import contextlib
import io
import struct

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import get_frame

from client.readers import lossless, read
from tests.readers.pydicom_files import FOLDERS, SMALL


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


@given(
    st.integers(2, 16), st.integers(1, 7), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 7),
    st.integers(0, 3), st.integers(0, 1), st.integers(0, 2**32), st.booleans(),
)  # fmt: skip
def test_what_was_encoded_is_decoded(precision, predictor, count, height, width, restart, shift, seed, rough):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 1 << precision, (height, width, count))
    if not rough:
        image = np.clip(
            np.cumsum(rng.integers(-2, 3, image.shape), axis=1) + (1 << precision) // 2, 0, (1 << precision) - 1
        )
    image = (image >> shift) << shift
    decoded = lossless.decode(encode(image, precision, predictor, restart, shift))
    np.testing.assert_array_equal(decoded, image)
    assert decoded.dtype == (np.uint8 if precision <= 8 else np.uint16)


@pytest.mark.parametrize("name", ["JPGLosslessP14SV1_1s_1f_8b.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_eight_bits_are_as_pillow_decodes_them(name):
    path = next((p for folder in FOLDERS for p in folder.rglob(name)), None)
    if path is None:
        pytest.skip("pydicom-data is not installed. pip install pydicom-data")
    stream = get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1)
    with Image.open(io.BytesIO(stream)) as image:
        np.testing.assert_array_equal(read(path)[0].pixels.squeeze(), np.asarray(image, np.float32))


@given(st.integers(0, 10**9), st.integers(0, 255), st.floats(0, 1))
def test_a_damaged_stream_gives_pixels_or_a_value_error(where, byte, keep):
    stream = bytearray(GOOD)
    stream[where % len(stream)] = byte
    # `read` makes one error of all of these.
    with contextlib.suppress(ValueError, KeyError, IndexError, struct.error, StopIteration, ZeroDivisionError):
        assert lossless.decode(bytes(stream[: int(keep * len(stream))])).ndim == 3


GOOD = encode(np.random.default_rng(1).integers(0, 4096, (8, 6, 1)), 12, 1)


def test_a_sequential_jpeg_is_not_taken_for_a_lossless_one():
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "JPEG")
    with pytest.raises(ValueError, match="not a lossless JPEG"):
        lossless.decode(stream.getvalue())


def test_twelve_bits_of_dct_say_what_is_missing():
    from common.errors import ImageError

    with pytest.raises(ImageError, match="12-bit precision"):
        read(SMALL / "JPGExtended.dcm")

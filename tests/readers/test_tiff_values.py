"""TIFF, PNG and JPEG as programs write them: turned, reversed, packed, deep, in other colours. Right, or refused."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from client.readers import read
from common.errors import ImageError

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (6, 10), np.uint8)
RGB = RNG.integers(0, 256, (6, 10, 3), np.uint8)
TURNED = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}  # fmt: skip
PACKED = [None, "lzw", "packbits", "deflate", "adobe_deflate", "zstd"]
EXTRA_SAMPLES = 338


def of(path):
    pixels = read(path)[0].pixels
    return pixels if pixels.shape[2] > 1 else pixels[:, :, 0]


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("compression", PACKED)
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
def test_a_tiff_is_turned_as_it_says_whatever_packs_it(tmp_path, compression, orientation, pixels):
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "x.tif", pixels, compression=compression, extratags=tag)
    np.testing.assert_array_equal(of(tmp_path / "x.tif"), TURNED[orientation](pixels))


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(("kind", "dtype"), [("PNG", "u1"), ("PNG", "u2"), ("JPEG", "u1"), ("JPEG", "u2")])
def test_a_png_or_jpeg_is_turned_as_exif_says_whatever_its_depth(tmp_path, kind, dtype, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    whole = np.kron(RGB[:6, :10], np.ones((8, 8, 1))).astype(dtype)  # whole blocks, so that JPEG keeps them nearly
    path = tmp_path / "x"
    if dtype == "u1":
        extra = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
        Image.fromarray(whole).save(path, kind, exif=exif, **extra)
    else:
        whole = whole * np.uint16(16)
        content = imagecodecs.png_encode(whole) if kind == "PNG" else imagecodecs.jpeg8_encode(whole, lossless=True)
        at = 33 if kind == "PNG" else 2
        path.write_bytes(content[:at] + exif_block(kind, exif) + content[at:])
    np.testing.assert_allclose(of(path), TURNED[orientation](whole), atol=4 if (kind, dtype) == ("JPEG", "u1") else 0)


def exif_block(kind, exif):
    import zlib

    body = exif.tobytes()
    if kind == "JPEG":
        return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    body = body.removeprefix(b"Exif\0\0")
    return len(body).to_bytes(4, "big") + b"eXIf" + body + zlib.crc32(b"eXIf" + body).to_bytes(4, "big")


@pytest.mark.parametrize("compression", PACKED)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_white_that_is_zero_is_reversed_whatever_packs_it(tmp_path, compression, dtype):
    pixels = GREY.astype(dtype) * (1 if dtype == "u1" else 200)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(of(tmp_path / "x.tif"), np.iinfo(dtype).max - pixels.astype(float))


@pytest.mark.parametrize("compression", PACKED)
@pytest.mark.parametrize("options", [
    {}, {"byteorder": ">"}, {"rowsperstrip": 4}, {"tile": (16, 16)}, {"predictor": True},
    {"tile": (16, 32), "byteorder": ">"},
])  # fmt: skip
@pytest.mark.parametrize("pixels", [
    GREY, RGB, GREY.astype("u2") * 251, RGB.astype("u2") * 251, GREY.astype("f4") / 255, GREY.astype("i2") - 100,
], ids=["grey", "rgb", "grey 16", "rgb 16", "float", "signed"])  # fmt: skip
def test_every_arrangement_gives_the_pixels_that_were_written(tmp_path, compression, options, pixels):
    if options.get("predictor") and compression in (None, "packbits"):
        options = {}
    big = np.kron(pixels, np.ones((3, 4) + (1,) * (pixels.ndim - 2))).astype(pixels.dtype)
    tifffile.imwrite(tmp_path / "x.tif", big, compression=compression, **options)
    np.testing.assert_array_equal(of(tmp_path / "x.tif"), big)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_inks_become_rgb(tmp_path, dtype):
    full = np.iinfo(dtype).max
    inks = RNG.integers(0, full, (6, 10, 4), dtype)
    tifffile.imwrite(tmp_path / "x.tif", inks, photometric="separated")
    share = 1 - inks / full
    np.testing.assert_allclose(of(tmp_path / "x.tif"), share[:, :, :3] * share[:, :, 3:] * full, atol=full * 1e-6)


def test_luma_and_chroma_become_rgb_and_lab_is_refused(tmp_path):
    Image.fromarray(RGB).convert("YCbCr").save(tmp_path / "x.tif")
    np.testing.assert_allclose(of(tmp_path / "x.tif"), RGB, atol=3)
    Image.fromarray(RGB).convert("LAB").save(tmp_path / "x.tif")
    with pytest.raises(ImageError, match="photometric interpretation"):
        read(tmp_path / "x.tif")


@pytest.mark.parametrize("alpha", ["assocalpha", "unassalpha"])
def test_transparency_is_ignored_and_colours_that_it_darkened_are_as_bright_as_before(tmp_path, alpha):
    share = np.full((6, 10, 1), 102, np.uint8)
    stored = (RGB * (102 / 255)).round().astype(np.uint8) if alpha == "assocalpha" else RGB
    tifffile.imwrite(tmp_path / "x.tif", np.dstack([stored, share]), photometric="rgb", extrasamples=[alpha])
    np.testing.assert_allclose(of(tmp_path / "x.tif"), RGB, atol=2 if alpha == "assocalpha" else 0)


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_8_bits_that_says_16_is_as_bright_as_its_entries(tmp_path, scale):
    colours = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * scale
    colours[0, 0] = 255 * scale
    tifffile.imwrite(tmp_path / "x.tif", GREY, photometric="palette", colormap=colours)
    picture = read(tmp_path / "x.tif")[0]
    np.testing.assert_array_equal(picture.pixels, colours.T[GREY])
    assert picture.high == 255 * scale


def test_channels_that_are_no_colours_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", RGB, photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageError, match="channels"):
        read(tmp_path / "x.tif")


@pytest.mark.parametrize("compression", [*PACKED, "jpeg"])
def test_a_tiff_that_lacks_a_strip_or_part_of_one_is_refused(tmp_path, compression):
    big = np.kron(GREY, np.ones((20, 20))).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", big, compression=compression, rowsperstrip=30)
    content = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(content[:-5])
    with pytest.raises(ImageError, match="truncated"):
        read(tmp_path / "x.tif")
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        at = file.pages[0].tags["StripByteCounts"].valueoffset
        size = 4 if file.pages[0].tags["StripByteCounts"].dtype == 4 else 2
    for count in (0, 7):  # a strip that is missing, and one that ends early
        cut = bytearray(content)
        cut[at : at + size] = count.to_bytes(size, "little")
        (tmp_path / "x.tif").write_bytes(cut)
        with pytest.raises(ImageError, match=r"x\.tif: "):
            read(tmp_path / "x.tif")


@pytest.mark.parametrize("compression", PACKED[1:])
def test_a_strip_that_unpacks_to_more_than_its_image_is_refused(tmp_path, compression):
    pack = {"lzw": imagecodecs.lzw_encode, "packbits": imagecodecs.packbits_encode, "zstd": imagecodecs.zstd_encode}
    bomb = pack.get(compression, imagecodecs.zlib_encode)(bytes(1 << 18))
    tifffile.imwrite(tmp_path / "x.tif", GREY, compression=compression)
    content = bytearray((tmp_path / "x.tif").read_bytes())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        start, tag = file.pages[0].dataoffsets[0], file.pages[0].tags["StripByteCounts"]
        at, size = tag.valueoffset, 4 if tag.dtype == 4 else 2
    if len(bomb) >= 1 << (8 * size):
        pytest.skip("its count does not fit")
    content[start:] = bomb
    content[at : at + size] = len(bomb).to_bytes(size, "little")
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(ImageError, match="unpacks to more than the image"):
        read(tmp_path / "x.tif")


def test_a_jpeg_inside_a_tiff_is_as_its_own_decoder_gives_it(tmp_path):
    big = np.kron(RGB, np.ones((16, 16, 1))).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", big, compression="jpeg", compressionargs={"level": 98}, photometric="rgb")
    middle = np.s_[4::16, 4::16]  # colours run into each other at the edges of the blocks
    assert np.abs(of(tmp_path / "x.tif")[middle] - big[middle]).max() < 4


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "PA", "I;16"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_of_every_kind_gives_what_is_seen(tmp_path, mode, bits):
    if mode == "P":
        image = Image.fromarray((GREY.astype(int) % 2**bits).astype(np.uint8), "P")
        image.putpalette(RNG.integers(0, 256, 3 * 2**bits, np.uint8).tobytes())
        image.info["transparency"] = 0
        image.save(tmp_path / "x.png", bits=bits)
        expected = np.array(image.getpalette(), np.uint8).reshape(-1, 3)[GREY.astype(int) % 2**bits]
    elif mode == "I;16":
        expected = GREY.astype(np.uint16) * 200
        Image.fromarray(expected).save(tmp_path / "x.png")
    else:
        image = Image.fromarray(RGB).convert("RGB" if mode == "RGBA" else "L" if mode in ("LA", "PA") else mode)
        expected = np.asarray(image.convert("RGB" if mode == "RGBA" else "L"))
        if mode in ("LA", "RGBA", "PA"):
            image.putalpha(Image.fromarray(GREY))
        image.save(tmp_path / "x.png")
    np.testing.assert_array_equal(of(tmp_path / "x.png"), expected)


def test_inks_of_a_jpeg_are_turned_the_right_way(tmp_path):
    image = Image.fromarray(np.kron(RGB, np.ones((8, 8, 1))).astype(np.uint8))
    image.convert("CMYK").save(tmp_path / "x.jpg", quality=100, subsampling=0)  # which Adobe's marker says is inverted
    np.testing.assert_allclose(of(tmp_path / "x.jpg"), np.asarray(image), atol=8)


def test_a_deep_png_of_interlaced_rows_and_one_with_gamma_are_as_stored(tmp_path):
    deep = RGB.astype(np.uint16) * 257
    content = imagecodecs.png_encode(deep)
    gamma = b"\0\0\0\4gAMA" + (45455).to_bytes(4, "big")
    import zlib

    gamma += zlib.crc32(gamma[4:]).to_bytes(4, "big")
    (tmp_path / "x.png").write_bytes(content[:33] + gamma + content[33:])
    np.testing.assert_array_equal(of(tmp_path / "x.png"), deep)


@pytest.mark.parametrize("kind", [1, 4])
@pytest.mark.parametrize("is_first", [True, False])
def test_thumbnails_and_masks_of_a_page_are_no_frames(tmp_path, kind, is_first):
    small = {"data": GREY[::2] if kind == 1 else GREY > 9, "photometric": "minisblack" if kind == 1 else 4}
    pages = [{**small, "subfiletype": kind}, {"data": GREY, "photometric": "minisblack"}]
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for page in pages if is_first else pages[::-1]:
            file.write(**page, metadata=None)
    (picture,) = read(tmp_path / "x.tif", "all")
    np.testing.assert_array_equal(picture.pixels[:, :, 0], GREY)


@pytest.mark.parametrize("options", [{"imagej": True}, {"photometric": "minisblack"}])
def test_images_behind_one_page_are_an_error_and_not_lost(tmp_path, options):
    tifffile.imwrite(tmp_path / "x.tif", np.stack([GREY, GREY // 2]), truncate=True, **options)
    with pytest.raises(ImageError, match=r"x\.tif: holds several images in one page"):
        read(tmp_path / "x.tif")
    tifffile.imwrite(tmp_path / "x.tif", np.stack([GREY, GREY // 2]), **options)
    assert len(read(tmp_path / "x.tif", "all")) == 2


def test_a_slide_complex_numbers_and_a_page_without_photometric_interpretation_are_refused(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, GREY, description="Aperio Image Library", metadata=None)
    with pytest.raises(ImageError, match="a slide in several sizes"):
        read(path)
    tifffile.imwrite(path, GREY + 1j)
    with pytest.raises(ImageError, match="complex numbers"):
        read(path)
    tifffile.imwrite(path, GREY, metadata=None)
    tag = (262).to_bytes(2, "little") + (3).to_bytes(2, "little")
    path.write_bytes(path.read_bytes().replace(tag, (263).to_bytes(2, "little") + (3).to_bytes(2, "little"), 1))
    with pytest.raises(ImageError, match="whether its zero is black or white"):
        read(path)

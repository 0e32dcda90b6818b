"""Resize, crop, grey and CLAHE against loops, Pillow and a slow tile by tile equalisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from common.errors import DataError
from common.imaging import contrast, geometry

SIZES = st.integers(1, 24)


def random_stack(*shape):
    return np.random.default_rng(3).random(shape, dtype=np.float32)


def slow_resize(line, size):
    """One row, by the definition: a triangle around each output's centre, over the inputs that are there."""
    scale = len(line) / size
    reach = max(scale, 1.0)
    result = []
    for i in range(size):
        centre = (i + 0.5) * scale - 0.5
        weights = [max(0.0, 1 - abs(j - centre) / reach) for j in range(len(line))]
        result.append(sum(w * float(v) for w, v in zip(weights, line, strict=True)) / sum(weights))
    return np.array(result)


@given(SIZES, SIZES)
def test_resize_weighs_by_a_triangle_around_each_centre(size, wanted):
    row = random_stack(1, 1, size, 1)
    assert geometry.resize(row, 1, wanted)[0, 0, :, 0] == pytest.approx(slow_resize(row[0, 0, :, 0], wanted), abs=1e-6)


@given(SIZES, SIZES, SIZES, SIZES)
def test_resize_is_pillows_bilinear(h, w, height, width):
    stack = random_stack(1, h, w, 1)
    theirs = np.asarray(Image.fromarray(stack[0, :, :, 0]).resize((width, height), Image.Resampling.BILINEAR))
    assert geometry.resize(stack, height, width)[0, :, :, 0] == pytest.approx(theirs, abs=1e-5)


@given(SIZES, SIZES)
def test_resize_leaves_a_constant_image_constant(size, wanted):
    made = geometry.resize(np.full((2, size, size, 3), 0.25, np.float32), wanted, wanted)
    assert made.shape == (2, wanted, wanted, 3)
    assert made == pytest.approx(0.25, abs=1e-6)


def test_shrinking_does_not_alias_a_fine_pattern():
    stripes = np.zeros((1, 64, 64, 1), np.float32)
    stripes[:, :, ::2] = 1
    inner = geometry.resize(stripes, 16, 16)[:, :, 1:-1]
    assert inner == pytest.approx(0.5, abs=0.02)


def test_fit_keeps_the_aspect_ratio_and_fills_with_black():
    made = geometry.fit(np.ones((1, 10, 20, 1), np.float32), 8, 8)[0, :, :, 0]
    assert made[2:6] == pytest.approx(1.0, abs=1e-6)
    assert not made[:2].any()
    assert not made[6:].any()


def test_a_crop_is_that_part_and_one_beyond_the_image_is_refused():
    stack = random_stack(2, 6, 8, 1)
    assert np.array_equal(geometry.crop(stack, 1, 2, 3, 4), stack[:, 1:4, 2:6])
    with pytest.raises(DataError, match="not inside an image of 6×8"):
        geometry.crop(stack, 4, 0, 3, 3)


def test_grey_is_the_luminance_and_leaves_grey_alone():
    stack = random_stack(2, 5, 4, 3)
    expected = 0.299 * stack[..., 0] + 0.587 * stack[..., 1] + 0.114 * stack[..., 2]
    assert geometry.grey(stack)[..., 0] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(geometry.grey(stack[..., :1]), stack[..., :1])
    with pytest.raises(DataError, match="1 or 3 channels, got 2"):
        geometry.grey(stack[..., :2])


def slow_clahe(image, clip, tiles):
    """One image whose size the tiles divide, pixel by pixel."""
    h, w = image.shape
    high, wide = h // tiles, w // tiles
    levels = np.rint(image.astype(float) * 255).astype(int)
    maps = np.empty((tiles, tiles, 256))
    limit = max(int(clip * high * wide / 256), 1)
    for r in range(tiles):
        for c in range(tiles):
            counts = [0] * 256
            for v in levels[r * high : (r + 1) * high, c * wide : (c + 1) * wide].ravel():
                counts[v] += 1
            excess = sum(max(n - limit, 0) for n in counts)
            counts = [min(n, limit) + excess // 256 for n in counts]
            left = excess % 256
            place = 0
            while left and place < 256:
                counts[place] += 1
                place, left = place + max(256 // (excess % 256), 1), left - 1
            maps[r, c] = np.rint(np.cumsum(counts) * 255 / (high * wide)) / 255
    result = np.empty((h, w))
    for y in range(h):
        for x in range(w):
            ty, tx = y / high - 0.5, x / wide - 0.5
            fy, fx = ty - np.floor(ty), tx - np.floor(tx)
            rows = [min(max(int(np.floor(ty)) + d, 0), tiles - 1) for d in (0, 1)]
            columns = [min(max(int(np.floor(tx)) + d, 0), tiles - 1) for d in (0, 1)]
            top, bottom = (
                (1 - fx) * maps[r, columns[0], levels[y, x]] + fx * maps[r, columns[1], levels[y, x]] for r in rows
            )
            result[y, x] = (1 - fy) * top + fy * bottom
    return result


@pytest.mark.parametrize(("clip", "tiles"), [(2.0, 2), (40.0, 4), (0.5, 1)])
def test_clahe_is_the_slow_equalisation_tile_by_tile(clip, tiles):
    image = (np.random.default_rng(0).beta(2, 6, (24, 32)) * 255).round().astype(np.float32) / 255
    assert contrast.equalised(image[None], clip, tiles)[0] == pytest.approx(slow_clahe(image, clip, tiles), abs=1e-5)


@given(SIZES, SIZES, st.sampled_from([1, 2, 3, 4]), st.integers(1, 9))
def test_clahe_takes_any_size_keeps_the_range_and_every_channel_that_is_not_the_image(h, w, channels, tiles):
    stack = random_stack(3, h, w, channels)
    kept = stack.copy()
    made = contrast.clahe(stack, 2.0, tiles)
    assert made.shape == stack.shape
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1
    own = 3 if channels >= 3 else 1
    assert np.array_equal(made[..., own:], stack[..., own:])
    assert np.array_equal(stack, kept)
    assert np.array_equal(made[1:2], contrast.clahe(stack[1:2], 2.0, tiles))

"""Mean and Gaussian against double loops over the definitions, and what must hold for any smoothing."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from threadpoolctl import threadpool_info

from common.imaging import filters, linear

UNIT = st.floats(0, 1, width=32)
STACKS = arrays(
    np.float32, st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(1, 3)), elements=UNIT
)
RADII = st.integers(1, 6)
SIGMAS = st.floats(0.2, 4.0)


def slow_mean(image, radius):
    h, w = image.shape
    result = np.empty((h, w))
    for y in range(h):
        for x in range(w):
            inside = [
                float(image[b, a])
                for b in range(y - radius, y + radius + 1)
                for a in range(x - radius, x + radius + 1)
                if 0 <= b < h and 0 <= a < w
            ]
            result[y, x] = math.fsum(inside) / len(inside)
    return result


def mirrored(i, size):
    """d c b a | a b c d | d c b a, step by step."""
    while not 0 <= i < size:
        i = -1 - i if i < 0 else 2 * size - 1 - i
    return i


def slow_gaussian(image, sigma):
    h, w = image.shape
    radius = int(4 * sigma + 0.5)
    offsets = range(-radius, radius + 1)
    kernel = {(a, b): math.exp(-(a * a + b * b) / (2 * sigma**2)) for a in offsets for b in offsets}
    total = math.fsum(kernel.values())
    result = np.empty((h, w))
    for y in range(h):
        for x in range(w):
            result[y, x] = math.fsum(
                g * float(image[mirrored(y + b, h), mirrored(x + a, w)]) for (a, b), g in kernel.items()
            )
    return result / total


def random_stack(*shape):
    return np.random.default_rng(7).random(shape, dtype=np.float32)


@given(STACKS, RADII)
def test_mean_is_the_average_of_the_part_of_the_window_inside_the_image(stack, radius):
    assert filters.mean(stack, radius)[0, :, :, 0] == pytest.approx(slow_mean(stack[0, :, :, 0], radius), abs=1e-6)


@pytest.mark.parametrize(("shape", "sigma"), [((9, 7), 1.0), ((5, 11), 0.5), ((1, 6), 2.0), ((4, 3), 3.0)])
def test_gaussian_is_the_convolution_with_g_and_mirrors_at_the_border(shape, sigma):
    stack = random_stack(1, *shape, 1)
    assert filters.gaussian(stack, sigma)[0, :, :, 0] == pytest.approx(
        slow_gaussian(stack[0, :, :, 0], sigma), abs=1e-6
    )


def test_the_sampled_gaussian_is_the_normalised_one_of_the_definition():
    impulse = np.zeros((1, 41, 41, 1), np.float32)
    impulse[0, 20, 20, 0] = 1
    y, x = np.mgrid[-20:21, -20:21]
    defined = np.exp(-(x**2 + y**2) / (2 * 2.0**2)) / (2 * np.pi * 2.0**2)
    assert np.abs(filters.gaussian(impulse, 2.0)[0, :, :, 0] - defined).max() < 1e-5


@pytest.mark.parametrize("size", [(100, 130), (33, 257), (31, 64)])
def test_blocks_of_the_band_meet_without_a_seam(size):
    stack = random_stack(2, *size, 2)
    assert filters.gaussian(stack, 2.5) == pytest.approx(ndimage.gaussian_filter(stack, (0, 2.5, 2.5, 0)), abs=1e-6)
    inner = filters.mean(stack, 3)[:, 3:-3, 3:-3]
    assert inner == pytest.approx(ndimage.uniform_filter(stack, (1, 7, 7, 1))[:, 3:-3, 3:-3], abs=1e-6)


@given(STACKS, RADII, SIGMAS)
def test_smoothing_stays_within_the_least_and_the_greatest(stack, radius, sigma):
    for smooth in (filters.mean(stack, radius), filters.gaussian(stack, sigma)):
        assert smooth.min() >= stack.min() - 1e-6
        assert smooth.max() <= stack.max() + 1e-6


@given(UNIT, RADII, SIGMAS)
def test_a_constant_image_stays_as_it_is(value, radius, sigma):
    stack = np.full((1, 9, 6, 1), value, np.float32)
    assert filters.mean(stack, radius) == pytest.approx(stack, abs=1e-6)
    assert filters.gaussian(stack, sigma) == pytest.approx(stack, abs=1e-6)


@given(st.integers(-3, 3), st.integers(-3, 3))
def test_a_shifted_image_gives_the_shifted_result_away_from_the_border(down, right):
    stack = random_stack(1, 40, 44, 1)
    shifted = np.roll(stack, (down, right), axis=(1, 2))
    for smooth in (lambda s: filters.mean(s, 2), lambda s: filters.gaussian(s, 1.0)):
        moved = np.roll(smooth(stack), (down, right), axis=(1, 2))
        assert smooth(shifted)[:, 8:-8, 8:-8] == pytest.approx(moved[:, 8:-8, 8:-8], abs=1e-6)


@given(STACKS, RADII, SIGMAS)
def test_a_batch_gives_the_bits_of_one_by_one_and_leaves_its_input_alone(stack, radius, sigma):
    before = stack.copy()
    for smooth in (lambda s: filters.mean(s, radius), lambda s: filters.gaussian(s, sigma)):
        together = smooth(stack)
        assert together.dtype == np.float32
        assert together.shape == stack.shape
        assert np.array_equal(together, np.concatenate([smooth(stack[i : i + 1]) for i in range(len(stack))]))
    assert np.array_equal(stack, before)


def test_a_stack_larger_than_the_cache_gives_the_bits_of_one_by_one():
    stack = random_stack(2 * linear.STRIP // (60 * 50) + 3, 60, 50, 1)
    one_by_one = [filters.gaussian(stack[i : i + 1], 1.5) for i in range(len(stack))]
    assert np.array_equal(filters.gaussian(stack, 1.5), np.concatenate(one_by_one))


def test_threads_of_blas_are_as_many_after_filters_in_several_threads_as_before():
    stack = random_stack(4, 64, 64, 1)
    before = [library["num_threads"] for library in threadpool_info()]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: filters.mean(stack, 2), range(40)))
    assert all(np.array_equal(result, results[0]) for result in results)
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_every_row_of_a_band_sums_to_one():
    made = linear.band(5, np.array([[0, 0, 1], [3, 4, 4]]), np.array([[1.0, 2, 3], [0, 5, 5]]))
    assert (made.outputs, made.inputs) == (2, 5)
    ((_, columns, dense),) = made.blocks
    assert columns == slice(0, 5)
    assert dense == pytest.approx(np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 1]]))


@pytest.mark.parametrize("shape", [(2, 200, 190, 1), (1, 1, 40000, 3), (1, 40000, 1, 1), (2, 181, 182, 5)])
@pytest.mark.parametrize(("smooth", "setting"), [
    (filters.mean, 1), (filters.mean, 256), (filters.gaussian, 0.3), (filters.gaussian, 9.0),
])  # fmt: skip
def test_large_images_get_the_values_that_small_ones_get(monkeypatch, shape, smooth, setting):
    stack = np.random.default_rng(4).random(shape, dtype=np.float32)
    by_opencv = smooth(stack, setting)
    monkeypatch.setattr(filters, "LARGE", 1 << 60)
    np.testing.assert_allclose(by_opencv, smooth(stack, setting), atol=1e-6)
    assert by_opencv.shape == shape
    assert by_opencv.dtype == np.float32

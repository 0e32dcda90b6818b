"""Edges and clusters against loops and brute force over all partitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from sklearn.cluster import KMeans

from common.imaging import segment

PLANES = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 10), st.integers(1, 10)),
    elements=st.floats(0, 1, width=32),
)
MASKS = arrays(np.bool_, st.tuples(st.integers(1, 3), st.integers(1, 10), st.integers(1, 10)))
COUNTS = arrays(np.int64, st.integers(2, 11), elements=st.integers(0, 5)).filter(lambda c: c.sum() > 0)


def slow_gradient(image):
    h, w = image.shape
    result = np.zeros((h, w))
    for y in range(h):
        for x in range(w):
            left, right = max(x - 1, 0), min(x + 1, w - 1)
            up, down = max(y - 1, 0), min(y + 1, h - 1)
            dx = (float(image[y, right]) - float(image[y, left])) / max(right - left, 1)
            dy = (float(image[down, x]) - float(image[up, x])) / max(down - up, 1)
            result[y, x] = (dx * dx + dy * dy) ** 0.5
    return result


def squares(counts, splits):
    """Σ of squared distances to the clusters' means; `splits` are the last levels of all clusters but the last."""
    bounds = [-1, *splits, len(counts) - 1]
    cost = 0.0
    for low, high in itertools.pairwise(bounds):
        level, n = np.arange(low + 1, high + 1), counts[low + 1 : high + 1]
        if n.sum():
            cost += float((n * (level - (n * level).sum() / n.sum()) ** 2).sum())
    return cost


def brute_force(counts, k):
    """The least cost of all ways to cut the levels into k runs."""
    return min(squares(counts, s) for s in itertools.combinations_with_replacement(range(len(counts)), k - 1))


@given(PLANES)
def test_gradient_is_the_length_of_the_differences_in_both_directions(planes):
    assert segment.gradient(planes)[0] == pytest.approx(slow_gradient(planes[0]), abs=1e-6)


def test_gradient_is_that_of_numpy():
    planes = np.random.default_rng(0).random((2, 17, 23), dtype=np.float32)
    assert segment.gradient(planes) == pytest.approx(np.hypot(*np.gradient(planes, axis=(1, 2))), abs=1e-6)


@given(COUNTS, st.integers(2, 5))
def test_no_partition_is_better_than_the_one_k_means_finds(counts, k):
    assert squares(counts, segment.k_means(counts, k)) == pytest.approx(brute_force(counts, k), abs=1e-9)


@given(COUNTS)
def test_the_exhaustive_two_means_and_the_general_search_agree(counts):
    both = [int(segment.two_means(counts[None])[0]), int(segment.k_means(counts, 2)[0])]
    assert squares(counts, both[:1]) == pytest.approx(squares(counts, both[1:]), abs=1e-9)


@pytest.mark.parametrize("k", [3, 4, 7])
def test_clusters_over_65536_levels_cost_no_more_than_the_best_of_ten_k_means_runs(k):
    image = np.random.default_rng(k).beta(2, 4, (1, 40, 40)).astype(np.float32)
    found = segment.clusters(image, k, 65536)[0]
    levels = segment.quantise(image, 65536)[0].astype(float)
    ours = sum(((levels[found == c] - levels[found == c].mean()) ** 2).sum() for c in range(k))
    theirs = KMeans(k, n_init=10, random_state=0).fit(levels.reshape(-1, 1)).inertia_
    assert ours <= theirs * (1 + 1e-9)


@given(PLANES, st.integers(2, 5))
def test_clusters_are_ordered_by_intensity(planes, k):
    for image, found in zip(planes, segment.clusters(planes, k, 256), strict=True):
        order = np.argsort(image, axis=None)
        assert np.all(np.diff(found.ravel()[order].astype(int)) >= 0)
        assert found.min() == 0
        assert found.max() <= k - 1


@pytest.mark.parametrize("bins", [256, 65536])
@pytest.mark.parametrize("k", [2, 3])
def test_an_image_of_one_level_is_one_cluster_the_darkest(k, bins):
    assert not segment.clusters(np.full((2, 4, 4), 0.5, np.float32), k, bins).any()


def test_an_image_of_fewer_levels_than_clusters_has_a_cluster_a_level():
    image = np.array([[[0.0, 0.5, 1.0, 0.5]]], np.float32)
    assert segment.clusters(image, 5, 256).tolist() == [[[0, 1, 2, 1]]]


@pytest.mark.parametrize(("k", "bins"), [(2, 256), (2, 65536), (4, 256)])
def test_clusters_of_a_batch_are_those_of_one_by_one(k, bins):
    planes = np.random.default_rng(1).random((5, 12, 9), dtype=np.float32) ** 2
    kept = planes.copy()
    together = segment.clusters(planes, k, bins)
    assert np.array_equal(together, np.concatenate([segment.clusters(p[None], k, bins) for p in planes]))
    assert np.array_equal(planes, kept)


@pytest.mark.parametrize("shape", [(3, 300, 301), (200, 20, 21), (1, 1, 1)])
@pytest.mark.parametrize("bins", [256, 65536])
def test_every_pixel_is_counted_once_however_the_counting_is_cut_up(shape, bins):
    levels = segment.quantise(np.random.default_rng(0).random(shape, dtype=np.float32), bins)
    counts = segment.histogram(levels, bins)
    assert np.array_equal(counts, [np.bincount(image.ravel(), minlength=bins) for image in levels])


def test_otsu_separates_a_bright_square_from_its_ground():
    image = np.zeros((1, 20, 20), np.float32)
    image[0, 5:15, 5:15] = 0.8
    image += np.random.default_rng(0).normal(0, 0.01, image.shape).astype(np.float32)
    strong = slow_gradient(image[0]) > 0.2
    assert np.array_equal(segment.edges(image, None, 0, 0)[0], strong)


@given(PLANES, st.floats(0, 1))
def test_a_given_threshold_marks_where_the_gradient_exceeds_it(planes, threshold):
    found = segment.edges(planes, threshold, 0, 0)
    unclear = np.abs(slow_gradient(planes[0]) - threshold) < 1e-6
    assert np.array_equal(found[0] | unclear, (slow_gradient(planes[0]) > threshold) | unclear)


def test_an_even_image_has_no_edges():
    assert not segment.edges(np.full((2, 8, 8), 0.3, np.float32), None, 2, 3).any()
    assert not segment.edges(np.full((1, 1, 1), 0.3, np.float32), None, 2, 3).any()


@given(MASKS, st.integers(0, 4))
def test_closing_is_dilation_then_erosion_and_only_adds(mask, radius):
    square = np.ones((1, 2 * radius + 1, 2 * radius + 1), bool)
    grown = ndimage.binary_dilation(mask, square)
    expected = ndimage.binary_erosion(grown, square, border_value=1)
    found = segment.closed(mask, radius)
    assert np.array_equal(found, expected)
    assert np.array_equal(found | mask, found)


@given(MASKS, st.integers(0, 6))
def test_pieces_go_or_stay_whole_by_their_size(mask, min_pixels):
    found = segment.without_small(mask, min_pixels)
    for image, kept in zip(mask, found, strict=True):
        left = image.copy()
        while left.any():
            piece = flood(left)
            left &= ~piece
            assert np.array_equal(kept & piece, piece if piece.sum() >= min_pixels else np.zeros_like(piece))
        assert not (kept & ~image).any()


def flood(mask):
    """The piece that holds the first pixel of a mask, by walking to all eight neighbours."""
    todo, seen = [tuple(np.argwhere(mask)[0])], np.zeros_like(mask)
    while todo:
        y, x = todo.pop()
        if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not seen[y, x]:
            seen[y, x] = True
            todo += [(y + b, x + a) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    return seen

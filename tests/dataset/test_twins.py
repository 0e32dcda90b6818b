"""Near-duplicates are found whatever became of the copy, unrelated images are not, and no split parts them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.dataset import loading, twins
from client.dataset.case_source import open_table
from client.dataset.splits import divide
from client.sources.thumbnail import thumbnail
from common import config as configuration
from common.config import Sites
from tests.dataset.textures import configured, jpeg, moved, texture

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
COPIES = {
    "another format": jpeg,
    "half the size": lambda image: image[::2, ::2],
    "another contrast": lambda image: (image * 0.6 + 40).astype(np.uint8),
    "another gamma": lambda image: (255 * (image / 255) ** 0.7).astype(np.uint8),
    "noise": lambda image: np.clip(image + np.random.default_rng(1).normal(0, 8, image.shape), 0, 255).astype(np.uint8),
    "a negative": lambda image: 255 - image,
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "a quarter turn": lambda image: np.rot90(image),
    "mirrored and turned": lambda image: np.rot90(image[:, ::-1], 3),
    "turned by a degree": lambda image: moved(image, angle=1),
    "cropped by a hundredth": lambda image: moved(image, scale=1.01),
}
NOT_FOUND = {
    "turned by ten degrees": lambda image: moved(image, angle=10),
    "cropped by a tenth": lambda image: moved(image, scale=1.1),
    "shifted by a tenth": lambda image: moved(image, shift=0.1),
}


def look(image):
    return thumbnail(
        np.asarray(image, np.float32)[:, :, None] if np.ndim(image) == 2 else np.asarray(image, np.float32)
    )


def found(images, least=0.95, people=None, places=None):
    n = len(images)
    people = np.arange(n) if people is None else np.asarray(people)
    places = np.zeros(n, np.int64) if places is None else np.asarray(places)
    return twins.find([look(image) for image in images], least, people, places)


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_whatever_became_of_it(how):
    images = [*map(texture, range(30)), *(COPIES[how](texture(i)) for i in range(30))]
    assert sorted(map(tuple, found(images).pairs)) == [(i, i + 30) for i in range(30)]


@pytest.mark.parametrize("how", NOT_FOUND)
def test_what_is_not_found_is_known(how):
    """As docs/data.md says: parts of an image, and images that were turned or moved further."""
    images = [*map(texture, range(30)), *(NOT_FOUND[how](texture(i)) for i in range(30))]
    assert found(images).count <= 3


def test_a_colour_copy_is_a_copy():
    image = texture(1)
    assert found([image, np.stack([image] * 3, axis=2), texture(2)]).pairs.tolist() == [[0, 1]]


def test_flat_and_tiny_images_have_no_twin():
    images = [
        np.zeros((40, 40)),
        np.full((40, 40), 7),
        *(np.random.default_rng(i).integers(0, 9, (3, 3)) for i in (1, 2)),
    ]
    assert [look(image) for image in images] == [b""] * 4
    assert found(images).count == 0


def brute(thumbnails, least):
    """All pairs, in double precision, orientation by orientation."""
    whole = [np.frombuffer(t, np.int8).reshape(16, 16).astype(np.int64) for t in thumbnails]
    turned = [[np.rot90(m, k) for m in (w, w[:, ::-1]) for k in range(4)] for w in whole]
    return [
        (i, j)
        for i in range(len(whole))
        for j in range(i + 1, len(whole))
        if max(abs((whole[i] * t).sum()) for t in turned[j])
        >= least * np.sqrt((whole[i] ** 2).sum() * (whole[j] ** 2).sum())
    ]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.8, 1.0), st.sampled_from([3, 7, 1024]))
def test_blocks_and_bounds_find_what_looking_at_all_pairs_finds(seed, least, block):
    rng = np.random.default_rng(seed)
    images = [texture(int(rng.integers(6)), 32) + rng.normal(0, rng.uniform(0, 20), (32, 32)) for _ in range(20)]
    images = [np.rot90(image, rng.integers(4)) for image in images]
    thumbnails = [look(image) for image in images]
    before, twins.BLOCK = twins.BLOCK, block
    try:
        twins._find.cache_clear()
        pairs = sorted(map(tuple, found(images, least).pairs))
    finally:
        twins.BLOCK = before
    assert pairs == brute(thumbnails, least)


def test_many_copies_of_one_image_are_one_group_though_not_all_pairs_are_named(monkeypatch):
    monkeypatch.setattr(twins, "MOST", 10)
    monkeypatch.setattr(twins, "BLOCK", 8)
    twins._find.cache_clear()
    result = found([texture(1) + np.random.default_rng(i).integers(0, 3, (64, 64)) for i in range(40)] + [texture(2)])
    assert len(result.pairs) == 10 < result.count
    assert len(result.links) < 400
    assert result.together(np.arange(41)).tolist() == [0] * 40 + [1]


def test_within_one_person_nothing_is_named_and_across_places_nothing_is_linked():
    images = [texture(1), texture(1), texture(2), texture(2)]
    result = found(images, people=[0, 0, 1, 2], places=[0, 0, 0, 1])
    assert result.pairs.tolist() == [[2, 3]]
    assert result.together(np.array([0, 0, 1, 2])).tolist() == [0, 0, 1, 2]


def test_groups_keep_the_order_of_people_where_there_is_no_twin():
    """So that a data set without near-duplicates is divided as it always was."""
    people = np.array([3, 1, 0, 2, 1])
    assert found([texture(i) for i in range(5)], people=people).together(people).tolist() == people.tolist()


# --- splits ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pairs_of_twins(tmp_path):
    """40 images, and a JPEG of each: 0 with 40, 1 with 41, …"""
    images = np.stack([*map(texture, range(40)), *(jpeg(texture(i)) for i in range(40))])
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(80) % 2)
    return configured(tmp_path, "{kind: npz, path: a.npz}", "{split: dirichlet, alpha: 1.0, count: 3}")


@pytest.mark.parametrize("seed", range(5))
def test_no_split_parts_twins_and_it_is_the_same_each_time(pairs_of_twins, seed):
    config = configuration.load(pairs_of_twins)
    table = open_table(config.data)
    division = divide(table, config.sites, seed)
    assert division.twins.count == 40
    for side in (division.site, division.split):
        assert (side[:40] == side[40:]).all()
    twins._find.cache_clear()
    again = divide(open_table(config.data), config.sites, seed)
    assert (again.site == division.site).all()
    assert (again.split == division.split).all()


def test_it_can_be_switched_off(pairs_of_twins):
    config = configuration.load(pairs_of_twins, ["sites.near_duplicates=false"])
    division = divide(open_table(config.data), config.sites, 1)
    assert division.twins.count == 0
    assert (division.site[:40] != division.site[40:]).any()
    assert not [w for w in loading.load(config, 1).warnings if "nearly the same" in w.what]


def test_phantoms_are_not_looked_at(tmp_path):
    config = configuration.load(configured(tmp_path, "{kind: synthetic, sites: 3, cases: 30, size: 16}"))
    assert divide(open_table(config.data), Sites(split="natural"), 1).twins is twins.NONE


# --- real images ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (REAL / "busi.npz").exists(), reason="needs the shared data folder")
def test_the_twins_of_the_ultrasound_set_are_found():
    """By plain correlation of its 64×64 pixels above .95, 298 images have a twin; those lower are parts of a sweep."""
    images = np.load(REAL / "busi.npz")["images"]
    result = found(images)
    assert (result.count, len(np.unique(result.pairs))) == (194, 299)
    flat = images.reshape(len(images), -1).astype(float)
    correlation = np.corrcoef(flat)
    named = {tuple(pair) for pair in result.pairs}
    alike = [tuple(pair) for pair in np.argwhere(np.triu(correlation >= 0.98, 1))]
    assert len([pair for pair in alike if pair in named]) >= 0.97 * len(alike)
    assert min(correlation[i, j] for i, j in named) > 0.9


@pytest.mark.skipif(not (REAL / "pneumoniamnist.npz").exists(), reason="needs the shared data folder")
def test_chest_radiographs_of_different_people_are_no_twins():
    """They correlate by .57 as they are, and the nearest by .9 and more."""
    images = np.load(REAL / "pneumoniamnist.npz")["train_images"].reshape(-1, 28, 28)[:2500]
    assert all((images[i] == images[j]).all() for i, j in found(images).pairs)

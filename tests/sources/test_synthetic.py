"""The phantoms are the same everywhere, differ from hospital to hospital, and show what they are labelled with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.sources import synthetic
from client.sources.npz import ArrayImages
from client.sources.radiographs import only, radiographs
from client.sources.scanner_shift import Scanner, ShiftedImages
from common.config import Synthetic


def source(**settings_):
    return Synthetic(kind="synthetic", **settings_)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 12), st.integers(16, 40), st.integers(2, 4), st.integers(0, 99))
def test_every_configuration_draws_valid_images_of_every_class_at_every_site(sites, size, classes, seed):
    table = synthetic.draw(source(sites=sites, cases=12, size=size, classes=classes, seed=seed))
    stack = table.images.stack
    assert stack.dtype == np.float32
    assert stack.shape[1:] == (size, size)
    assert np.isfinite(stack).all()
    assert stack.min() >= 0
    assert stack.max() <= 1
    assert len(set(table.site)) == sites
    for name in set(table.site):
        here = np.array([site == name for site in table.site])
        assert set(table.labels[here]) == set(range(classes))


def test_the_same_seed_draws_the_same_bits():
    first, again, other = (synthetic.draw(source(cases=10, sites=2, size=16, seed=s)) for s in (1, 1, 2))
    assert first.images.stack.tobytes() == again.images.stack.tobytes()
    assert first.images.stack.tobytes() != other.images.stack.tobytes()


def test_hospitals_differ_in_size_prevalence_and_scanner():
    places = synthetic.hospitals(source())
    assert [p.name for p in places] == ["Lisbon", "Nairobi", "Osaka", "Quito", "Tromsø"]
    assert places[0].cases > 3 * places[-1].cases
    assert len({p.prevalence for p in places}) == len({p.scanner for p in places}) == 5
    assert sum(p.cases for p in places) == pytest.approx(1000, abs=5)


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_the_ill_have_a_shadow_where_the_healthy_have_lung(kind):
    """The same draws, once ill and once clear: illness only adds light, and inside the body."""
    ill, clear = (radiographs(only(np.full(40, k)), 48, np.random.default_rng(4)) for k in (kind, 0))
    added = ill - clear
    assert added.min() > -1e-4
    assert (added.max(axis=(1, 2)) > 0.05).mean() > 0.9
    assert added[:, :, :3].max() < 0.01


def test_the_plain_scanner_changes_nothing_and_noise_follows_seed_and_case():
    stack = np.random.default_rng(0).random((2, 8, 9), np.float32)
    np.testing.assert_array_equal(Scanner(1, 1, 0, 0).scan(stack, np.random.default_rng(1)), stack)
    images = ArrayImages("a.npz", (("images", stack * 100 - 50),), np.arange(2), -50.0, 50.0)
    shifted = ShiftedImages(images, [0, 1], 0.5, 3)
    forward, backward = list(shifted.pictures([0, 1])), list(shifted.pictures([1, 0]))
    np.testing.assert_array_equal(forward[0].pixels, backward[1].pixels)
    assert forward[0].pixels.min() >= -50
    assert forward[0].pixels.max() <= 50
    assert len({shifted.view(0), ShiftedImages(images, [0, 1], 0.5, 4).view(0), images.view(0)}) == 3


def test_a_scanner_blurs_within_the_image():
    flat = np.full((1, 20, 30), 0.5, np.float32)
    np.testing.assert_allclose(Scanner(1, 1, 0.1, 0).scan(flat, np.random.default_rng(0)), flat, atol=1e-6)

"""Augmentation in the graph: it changes what it says and nothing else."""

import numpy as np
import pytest

from common.imaging.augment import Augment
from common.models import cnn  # noqa: F401  # it loads TensorFlow quietly, so it comes first

# isort: split
import tensorflow as tf

from common.models.augmentation import augmented


def changed(images: np.ndarray, seed: int = 0, **settings: float) -> np.ndarray:
    return augmented(tf.constant(images), Augment.model_validate(settings), tf.constant([seed, 0])).numpy()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((40, 15, 20, 2), dtype=np.float32)


def test_all_off_is_the_identity(images: np.ndarray) -> None:
    assert (changed(images) == images).all()
    assert (augmented(tf.constant(images), None, tf.constant([0, 0])).numpy() == images).all()


def test_a_flip_is_an_exact_mirror_half_of_the_time(images: np.ndarray) -> None:
    after = changed(images, flip=True)
    same = np.isclose(after, images, atol=1e-5).all((1, 2, 3))
    mirrored = np.isclose(after, images[:, :, ::-1], atol=1e-5).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert 8 < mirrored.sum() < 32


def test_a_shift_moves_by_at_most_its_share() -> None:
    images = np.zeros((50, 21, 41, 1), np.float32)
    images[:, 10, 20] = 1.0
    after = changed(images, shift=0.1)
    mass = after.sum((1, 2, 3))
    rows, columns = np.indices((21, 41))
    y, x = ((after[..., 0] * place).sum((1, 2)) / mass - c for place, c in ((rows, 10), (columns, 20)))
    assert np.abs(y).max() <= 2.1 + 1e-3
    assert np.abs(x).max() <= 4.1 + 1e-3
    assert np.abs(x).max() > 3
    np.testing.assert_allclose(mass, 1.0, atol=1e-4)


def test_a_rotation_keeps_the_centre_and_the_distances() -> None:
    images = np.zeros((30, 31, 31, 1), np.float32)
    images[:, 15, 15] = images[:, 15, 25] = 1.0
    after = changed(images, rotate_degrees=90)
    np.testing.assert_allclose(after[:, 15, 15, 0], 1.0, atol=1e-4)
    rows, columns = np.indices((31, 31)) - 15
    far = after[..., 0] * (rows**2 + columns**2 > 25)
    y, x = ((far * place).sum((1, 2)) / far.sum((1, 2)) for place in (rows, columns))
    np.testing.assert_allclose(np.hypot(x, y), 10.0, atol=0.3)
    assert np.abs(np.degrees(np.arctan2(y, x))).max() > 45


def test_zoom_keeps_a_flat_image_flat() -> None:
    flat = np.full((5, 16, 16, 1), 0.3, np.float32)
    np.testing.assert_allclose(changed(flat, zoom=0.5, rotate_degrees=20, shift=0.3), flat, atol=1e-6)


def test_contrast_keeps_the_mean_and_brightness_the_spread(images: np.ndarray) -> None:
    stretched, lit = changed(images, contrast=0.5), changed(images, brightness=0.5)
    np.testing.assert_allclose(stretched.mean((1, 2)), images.mean((1, 2)), atol=1e-5)
    np.testing.assert_allclose(lit.std((1, 2)), images.std((1, 2)), atol=1e-5)
    ratio = stretched.std((1, 2)) / images.std((1, 2))
    assert (ratio >= 0.499).all()
    assert (ratio <= 1.501).all()
    assert ratio.std() > 0.1


def test_noise_is_in_units_of_the_images_own_spread(images: np.ndarray) -> None:
    images = images * np.float32(0.1)
    noise = changed(images, noise=0.5) - images
    assert noise.std() / images.std() == pytest.approx(0.5, rel=0.05)


def test_one_seed_one_change(images: np.ndarray) -> None:
    every = {"flip": True, "shift": 0.1, "rotate_degrees": 10, "zoom": 0.1, "contrast": 0.1, "noise": 0.1}
    assert (changed(images, seed=4, **every) == changed(images, seed=4, **every)).all()
    assert (changed(images, seed=4, **every) != changed(images, seed=5, **every)).any()

"""A preprocessing step: a pure function of each image by itself."""

import numpy as np
import pytest

from common.imaging import Pipeline
from common.imaging.step_order import AnyStep
from tests.imaging.test_pipeline import pictures


@pytest.mark.parametrize("channels", [1, 3])
def test_a_step_gives_a_batch_the_bits_of_one_by_one_and_leaves_pictures_alone(step: AnyStep, channels: int) -> None:
    images = pictures(4, 14, 16, channels)
    before = [picture.pixels.copy() for picture in images]
    together = Pipeline([step]).apply(images)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    assert np.array_equal(together, np.concatenate([Pipeline([step]).apply([picture]) for picture in images]))
    assert all(np.array_equal(picture.pixels, pixels) for picture, pixels in zip(images, before, strict=True))


def test_the_same_step_gives_the_same_bits_again_and_another_fingerprint_than_none(step: AnyStep) -> None:
    one, other = (Pipeline([step]).apply(pictures(3, 12, 12, 1)) for _ in range(2))
    assert np.array_equal(one, other)
    assert Pipeline([step]).fingerprint() != Pipeline().fingerprint()

"""How far one patient can move a sum: searched for, over patients with many images and as far out as images go."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config import Svm
from common.metrics import noised_outcomes
from common.models.unit_head import UnitHead, triangle_scale
from common.privacy.price_list import CLIP, GRID, schedule_of
from common.types import Cases, Tensors

SHAPE = (1, 1, 12)
EXTREME = (0.0, 1.0, -1.0, 1e-30, 3e4, -6e4, 1e18)


def head(classes: int = 2) -> UnitHead:
    loss = "logistic" if classes == 2 else "softmax"
    return UnitHead(Svm(kind="svm", features="unit", loss=loss, parts=(5, 7)), SHAPE, classes)


def patient(seed: int, images: int, classes: int) -> Cases:
    """One person's images: some ordinary, some as far out as numbers go."""
    rng = np.random.default_rng(seed)
    stack = rng.normal(0, 1, (images, *SHAPE)) * rng.choice([1.0, 1e6, 1e-6], (images, 1, 1, 1))
    hit = rng.random(stack.shape) < rng.choice([0.0, 0.3, 1.0])
    stack = np.where(hit, rng.choice(EXTREME, stack.shape), stack).astype(np.float32)
    return Cases(stack, rng.integers(0, classes, images), np.zeros(images, np.int64))


def weights(model: UnitHead, seed: int, size: float) -> Tensors:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, size, (model.rows, model.length))
    return model.weights_at(points, rng.normal(0, rng.choice([0.0, 0.3, 3.0]), model.length - 1))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6), images=st.integers(1, 9), classes=st.integers(2, 4),
    size=st.sampled_from([0.0, 1.0, 100.0, 1e6]),
)  # fmt: skip
def test_no_patient_moves_a_sum_by_more_than_its_sensitivity(seed: int, images: int, classes: int, size: float) -> None:
    model, cases = head(classes), patient(seed, images, classes)
    at, shares = weights(model, seed + 1, size), cases.shares()
    assert shares.sum() == pytest.approx(1.0)
    moved = {
        "mean": (model.mean_sum(cases.images, shares), 1.0),
        "gram": (model.gram_sum(at, cases.images, shares), 1.0),
        "gradient": (model.gradient_sum(at, cases, shares), CLIP),
        "outcomes": (
            noised_outcomes.count(model.scores(at, cases.images), cases.labels, shares),
            noised_outcomes.sensitivity(classes),
        ),
    }
    for kind, (sums, most) in moved.items():
        length = np.sqrt(sum(float(np.square(value).sum()) for value in sums.values()))
        assert length <= most * (1 + 1e-12), kind


def test_the_bounds_are_reached_so_the_noise_is_not_wider_than_it_must_be() -> None:
    model, cases = head(), patient(3, 1, 2)
    at = model.weights_at(np.full((1, model.length), 50.0), np.zeros(model.length - 1))
    wrong = Cases(cases.images, 1 - (model.scores(at, cases.images).argmax(axis=1)))
    for sums, most in (
        (model.mean_sum(wrong.images, wrong.shares()), 1.0),
        (model.gram_sum(at, wrong.images, wrong.shares()), 1.0),
        (model.gradient_sum(at, wrong, wrong.shares()), CLIP),
    ):
        assert np.linalg.norm(next(iter(sums.values()))) == pytest.approx(most)


@pytest.mark.parametrize("seed", range(4))
def test_rounding_moves_a_sum_by_less_than_what_the_price_adds_for_it(seed: int) -> None:
    """Two data sets that differ by one patient, rounded alike: at most a step further apart in each number."""
    from common.privacy.price_list import FRACTION_BITS
    from common.secagg.fixedpoint import Layout, Segment

    rng, size = np.random.default_rng(seed), 300
    layout = Layout((Segment("gradient", (size,), 1e4, FRACTION_BITS),), 64)
    base = rng.normal(0, 40, size)
    direction = rng.normal(0, 1, size)
    apart = CLIP * direction / np.linalg.norm(direction)
    rounded = [layout.decode(layout.encode({"gradient": v}, 1.0, bytes(32))) for v in (base, base + apart)]
    one, other = (sums["gradient"] for sums in rounded)
    price = schedule_of((3.0, 1e-5, "image"), sites=5, quorum=4, dimension=size).of_kind("gradient")
    assert CLIP < price.sensitivity == pytest.approx(CLIP + np.sqrt(size) * GRID)
    assert np.linalg.norm(one - other) <= price.sensitivity


def test_the_packed_triangle_is_as_long_as_the_matrix() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(0, 1, (9, 9))
    matrix = matrix + matrix.T
    packed = matrix[np.triu_indices(9)] * triangle_scale(9)
    assert np.linalg.norm(packed) == pytest.approx(np.linalg.norm(matrix))


def test_images_of_one_patient_weigh_one_together_and_others_are_not_less_for_it() -> None:
    people = np.array([4, 4, 4, 9, 2, 2])
    cases = Cases(np.zeros((6, *SHAPE), np.float32), np.zeros(6, np.int64), people)
    assert cases.shares().tolist() == [1 / 3, 1 / 3, 1 / 3, 1.0, 0.5, 0.5]
    assert Cases(cases.images, cases.labels).shares().tolist() == [1.0] * 6

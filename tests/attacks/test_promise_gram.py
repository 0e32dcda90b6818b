"""What an honest coordinator's first sums tell: who is among few cases, and what their images are (A5)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.algorithms.course import Place
from common.imaging import Pipeline
from common.metrics.out_of_distribution import TRAITS, traits
from common.types import Tensors
from tests.attacks.hospitals import SIX, SIZE, SVM, Hospitals, pictures
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.margin import Floats
from tests.attacks.test_promise_point import features, recipe_of

pytestmark = pytest.mark.usefixtures("many_hospitals")
FIVE = SIX[:5]
Show = Callable[[str], None]


def auc(members: Floats, others: Floats) -> float:
    """How often a member's residual is the smaller one."""
    return float((members[:, None] < others[None]).mean() + 0.5 * (members[:, None] == others[None]).mean())


def strangers(coordinator: HostileCoordinator, recipe: Tensors, number: int = 300) -> Floats:
    """Images of others as the SVM would see them, float64[n, d]."""
    images = pictures("test", number)[0].astype(np.float32)[..., None] / 255
    pipeline = Pipeline(coordinator.plan.content.training.preprocess)
    whole = pipeline.with_statistics(recipe["mean"], recipe["variance"])
    return whole.after(images).reshape(len(images), -1).astype(np.float64)


def span(second_moments: Floats, cases: float, noise: float) -> Floats:
    """An orthonormal base of what the cases span, float64[d, rank]."""
    values, vectors = np.linalg.eigh(second_moments)
    rank = int(min((values > noise).sum(), cases))
    return np.asarray(vectors[:, len(values) - rank :])


def residuals(images: Floats, base: Floats) -> Floats:
    """What of every image lies outside what the cases span, as a share of it."""
    whole = np.concatenate([images, np.ones((len(images), 1))], axis=1)
    outside = whole - whole @ base @ base.T
    return np.asarray(np.linalg.norm(outside, axis=1) / np.linalg.norm(whole, axis=1))


def matrix(triangle: Floats, d: int) -> Floats:
    whole = np.zeros((d, d))
    whole[np.triu_indices(d)] = triangle
    return whole + np.triu(whole, 1).T


@pytest.mark.parametrize("cases", [180, 270, 750, 3500])
def test_whether_a_patient_is_among_few(tmp_path: Path, cases: int, show: Show) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (cases // 5, 6)), SVM)
    coordinator = HostileCoordinator(hospitals, hospitals.approved())
    coordinator.follow(FIVE)
    course = coordinator.course
    recipe = recipe_of(coordinator.sum(FIVE, course.request(course.start())))
    question = course.request(Place("train", 0, course.algorithm.start(), recipe))
    total = coordinator.attempt(lambda: coordinator.sum(FIVE, question)) or {}
    d = SIZE * SIZE + 1
    assert "gram" in total
    base = span(matrix(total["gram"], d), cases, noise=0.05)
    members, others = features(hospitals, coordinator, recipe), strangers(coordinator, recipe)
    near = residuals(members, base), residuals(others, base)
    told = auc(*near)
    shown = completed(members[:50], base)
    show(f"A5 Gram of {cases} cases, d {d}, rank {base.shape[1]}: membership AUC {told:.3f} "
         f"(residuals {np.median(near[0]):.1e}, others {np.median(near[1]):.1e}); "
         f"images from a third of their pixels: median error {shown:.1e}")  # fmt: skip
    if cases < d:
        assert told > 0.95
    if cases < d // 3:
        assert shown < 0.05


def completed(images: Floats, base: Floats) -> float:
    """The median over images of the worst pixel, where every third pixel is known and the others follow."""
    known = np.append(np.arange(images.shape[1]) % 3 == 0, True)
    whole = np.concatenate([images, np.ones((len(images), 1))], axis=1)
    shares = np.linalg.lstsq(base[known], whole[:, known].T, rcond=1e-6)[0]
    return float(np.median(np.abs((base @ shares).T - whole).max(axis=1)))


@pytest.mark.parametrize("cases", [10, 20, 100])
def test_whether_a_patient_is_among_few_by_how_images_look(tmp_path: Path, cases: int, show: Show) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (cases // 5, 6)), SVM)
    coordinator = HostileCoordinator(hospitals, hospitals.approved())
    coordinator.follow(FIVE)
    course = coordinator.course
    total = coordinator.attempt(lambda: coordinator.sum(FIVE, course.request(course.start()))) or {}
    assert "likeness/products" in total
    second = matrix(total["likeness/products"], TRAITS)
    whole = np.zeros((TRAITS + 1, TRAITS + 1))
    whole[:-1, :-1], whole[-1, :-1], whole[:-1, -1] = second, total["likeness/sum"], total["likeness/sum"]
    whole[-1, -1] = total["likeness/n"][0]
    base = span(whole, cases, noise=1e-6)
    own = np.concatenate(
        [pictures("train", 5 * (cases // 5 + 6))[0][i * (cases // 5 + 6) :][: cases // 5] for i in range(5)]
    )
    near = [residuals(traits(images.astype(np.float32)[..., None] / 255), base)
            for images in (own, pictures("test", 300)[0])]  # fmt: skip
    told = auc(near[0], near[1])
    show(f"A5 likeness sums of {cases} cases, rank {base.shape[1]} of {TRAITS + 1}: membership AUC {told:.3f} "
         f"(residuals {np.median(near[0]):.1e}, others {np.median(near[1]):.1e})")  # fmt: skip
    if cases < TRAITS:
        assert told > 0.95

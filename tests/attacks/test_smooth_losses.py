"""Losses of which every case has a part, however small: two gradients show no image where one case alone stands out.

Far out on a line all cases of one class weigh 1 and all of the other nothing. Where the first case crosses over, the
gradient differs from that by this one case, and the last coordinate of the difference is its weight.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from client.training.site import Site
from common.config import Config, Local
from common.errors import PolicyError
from common.imaging import Pipeline
from common.messages.answer_layout import exchanges, rounding_key
from common.messages.transport import Request
from common.models.svm import LinearSvm
from common.types import Cases, SiteCases, prefixed
from tests.attacks.conftest import Attack
from tests.attacks.hospitals import SIZE, pictures

LOSSES = {"logistic": 2, "softmax": 3}
EACH, FAR = 40, 50.0
READ, NOT_READ = 0.001, 0.05
"""Differences at the worst pixel, in units of the whole range of greys."""
Floats = np.ndarray


class Three:
    """Three hospitals of 40 cases each, asked for gradients on a line in a direction drawn by lot."""

    def __init__(self, loss: str, least_active: int = 5, balanced: bool = False) -> None:
        images, labels = pictures("train", 3 * EACH)
        stack = images.astype(np.float64) / 255
        self.images = ((stack - stack.mean(axis=0)) / (stack.std(axis=0) + 1e-3)).astype(np.float32)[..., None]
        if LOSSES[loss] == 3:  # those that lie on their left side are a class of their own
            labels = np.where(self.images[:, :, : SIZE // 2].mean(axis=(1, 2, 3)) > 0.2, 2, labels)
        self.labels, self.classes = labels, LOSSES[loss]
        model = {"kind": "svm", "loss": loss, "solver": "lbfgs", "class_weight": "balanced" if balanced else None}
        tree = {"name": "t", "data": {"kind": "synthetic", "sites": 3}, "sites": {"split": "natural"}, "model": model}
        config = Config.model_validate(tree | {"likeness": False})
        self.model = LinearSvm(config.model_for(1), (SIZE, SIZE, 1), self.classes)
        self.layout = exchanges(config, self.model, (SIZE, SIZE, 1), self.classes, 3)["gradient"].layout
        parts = [Cases(self.images[k::3], self.labels[k::3]) for k in range(3)]
        self.sites = [
            Site(SiteCases(str(k), part, part, part), Pipeline(()), self.model, Local(), least_active)
            for k, part in enumerate(parts)
        ]
        self.shares = np.ones(self.classes) if balanced else None

    def gradient(self, way: Floats, intercept: float) -> Floats:
        """Of the last row, summed as under masks: float64[features + 1]. The other rows are at the origin."""
        alpha, intercepts = np.zeros((self.model.rows, way.size)), np.zeros(self.model.rows)
        alpha[-1], intercepts[-1] = way, intercept
        tensors = prefixed("weights", {"alpha": alpha, "intercept": intercepts})
        tensors |= {} if self.shares is None else {"classes/share": self.shares}
        request = Request("gradient", 0, tensors, {"recipe": Pipeline(()).fingerprint()})
        total = np.zeros(way.size + 1)
        for site in self.sites:
            contribution, _ = site.contribute(request, {})
            key = rounding_key(alpha.tobytes() + intercepts.tobytes(), site.cases.name)
            total += self.layout.decode(self.layout.encode(contribution.sums, 1.0, key))["gradient"][-1]
        return total

    def nearest(self, difference: Floats) -> float:
        """How far from any hospital's image a difference of two gradients is, in its proportions."""
        flat = self.images.reshape(len(self.images), -1)
        if not difference[-1]:
            return np.inf
        off = np.abs(difference[:-1] / difference[-1] - flat).max(axis=1)
        return float(off.min() / np.ptp(flat))

    def line(self, seed: int) -> tuple[Floats, Floats]:
        """A direction, and the scores of all cases along it, rising."""
        way = np.random.default_rng(seed).standard_normal(SIZE * SIZE)
        way /= np.linalg.norm(way)
        return way, np.sort(self.images.reshape(len(self.images), -1).astype(np.float64) @ way)

    def alone(self, seed: int) -> float:
        """The attack: where the first case of the line has crossed over and no other has."""
        way, scores = self.line(seed)
        step = 30 / (scores[-1] - scores[-2])
        near = self.gradient(step * way, -step * (scores[-1] + scores[-2]) / 2)
        return self.nearest(near - self.gradient(0 * way, -FAR))


@pytest.mark.parametrize("loss", LOSSES)
def test_where_nobody_counts_one_patient_is_read_from_two_gradients(loss: str) -> None:
    """What the next tests refuse is there."""
    assert Three(loss, least_active=1).alone(1) < READ


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_case_that_stands_out_is_refused(loss: str, balanced: bool, attack: Attack) -> None:
    three = Three(loss, balanced=balanced)
    for seed in range(4):
        with attack(f"{loss}: one case that weighs more than all others, line {seed}", "too-few-active"):
            three.alone(seed)


def answered(three: Three, seed: int) -> Iterator[float]:
    """How near an image the attack comes, at all points that no hospital refuses."""
    way, scores = three.line(seed)
    base = three.gradient(0 * way, -FAR)
    for step in np.geomspace(0.3, 100, 10):
        for beyond in (-4.0, 0.0, 4.0, 8.0, 12.0, 20.0):
            try:
                near = three.gradient(step * way, -beyond - step * (scores[-1] + scores[-2]) / 2)
            except PolicyError:
                continue
            yield three.nearest(near - base)


def test_a_case_that_stands_out_by_less_is_refused_until_it_is_blurred() -> None:
    """Five cases of a thousandth beside the one would be five, and hide nothing: what counts is what they weigh."""
    three = Three("logistic")
    reached = [off for seed in range(6) for off in answered(three, seed)]
    assert len(reached) > 10
    assert min(reached) > NOT_READ


def test_where_a_descent_begins_and_goes_all_cases_weigh_alike() -> None:
    three = Three("logistic")
    way, _ = three.line(0)
    assert three.gradient(0 * way, 0.0).any()
    assert three.gradient(0.01 * way, 0.1).any()

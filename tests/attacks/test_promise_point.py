"""The coordinator asks the SVM's sums at points of its own choice over all sites, and reads a patient (A3, A4)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.algorithms.course import Place
from common.algorithms.solver import SolverStage
from common.messages.transport import Request
from common.types import Tensors, prefixed
from tests.attacks.honest import honest_beginning
from tests.attacks.hospitals import CNN, SIX, SVM, Hospitals
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.margin import Floats, Line, Sums

pytestmark = pytest.mark.usefixtures("many_hospitals")
FIVE = SIX[:5]
Ends = Callable[..., None]
UNPROVEN = "unproven-place"
"""What a place that does not come from pages is refused for."""
MOST_QUESTIONS = 7
INTERCEPT = 1000.0


def recipe_of(total: Tensors) -> Tensors:
    """Mean and variance, of the sums of the first question, which the plan asks."""
    mean = total["x"] / total["n"][0]
    return {"mean": mean, "variance": np.maximum(total["xx"] / total["n"][0] - mean**2, 0.0)}


def at(points: Floats, recipe: Tensors, fingerprint: str, round: int) -> Request:
    weights = {"alpha": points[:, None, :-1].copy(), "intercept": points[:, None, -1].copy()}
    return Request(
        "gradient", round, prefixed("weights", weights) | prefixed("recipe", recipe), {"recipe": fingerprint}
    )


def test_one_patient_of_thousands_from_crafted_points(tmp_path: Path, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (40, 10)), SVM)
    plan = hospitals.approved()
    coordinator, sums = honest_beginning(hospitals, plan, rounds=0)
    recipe = recipe_of(sums["statistics"])

    def ask(points: Floats) -> Sums:
        request = at(points, recipe, coordinator.course.fingerprint, line.questions)
        total = coordinator.sum(FIVE, request)
        return total["loss"][:, 0], total["gradient"][:, 0]

    direction = np.random.default_rng(5).standard_normal(28 * 28)
    line = Line(direction / np.linalg.norm(direction), INTERCEPT, ask, together=1)
    loot = coordinator.attempt(lambda: line.image(MOST_QUESTIONS))
    ends("A3 a crafted point", coordinator, {"model-does-not-follow": FIVE}, loot)


@pytest.mark.parametrize("weights", ["random", "crafted points"])
def test_sites_believe_no_place_that_the_coordinator_makes_up(tmp_path: Path, weights: str, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (40, 10)), CNN if weights == "random" else SVM)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    course, rng = coordinator.course, np.random.default_rng(2)
    state = dict(course.algorithm.start())
    state |= {
        name: rng.standard_normal(value.shape).astype(value.dtype)
        for name, value in state.items()
        if value.dtype.kind == "f"
    }
    recipe = {name: rng.random((28, 28, 1)) for name in ("mean", "variance")} if course.normalises else {}
    state |= {"stage": np.array(SolverStage.PLACE, np.int64)} if course.normalises else {}
    crafted = Place("train", 2, state, recipe)
    coordinator.follow(FIVE)
    coordinator.follow(FIVE, crafted)
    loot = coordinator.attempt(lambda: coordinator.sum(FIVE, course.request(crafted)))
    ends(f"A4 a place of the coordinator's making, {weights}", coordinator, {UNPROVEN: FIVE}, loot)

"""The coordinator asks the SVM's sums at points of its own choice over all sites, and reads a patient (A3, A4)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.messages.transport import Request
from common.types import Tensors, prefixed
from tests.attacks.honest import honest_beginning
from tests.attacks.hospitals import CNN, SIX, SVM, Hospitals
from tests.attacks.margin import Floats, Line, Sums

pytestmark = pytest.mark.usefixtures("many_hospitals")
FIVE = SIX[:5]
Ends = Callable[..., None]
MOST_QUESTIONS = 7
INTERCEPT = 1000.0


def recipe_of(total: Tensors) -> Tensors:
    """Mean and variance, of the sums of the first question, which the plan asks."""
    mean = total["x"] / total["n"][0]
    return {"mean": mean, "variance": np.maximum(total["xx"] / total["n"][0] - mean**2, 0.0)}


def at(points: Floats, recipe: Tensors, fingerprint: str, round: int) -> Request:
    weights = {"alpha": points[:, :-1].copy(), "intercept": points[:, -1].copy()}
    return Request(
        "gradient", round, prefixed("weights", weights) | prefixed("recipe", recipe), {"recipe": fingerprint}
    )


def test_one_patient_of_thousands_from_crafted_points(tmp_path: Path, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (40, 10)), SVM)
    begun = honest_beginning(hospitals, hospitals.plan(tree=SVM), rounds=0)
    coordinator, recipe = begun.coordinator, recipe_of(begun.sums["statistics"])

    def ask(points: Floats) -> Sums:
        request = at(points, recipe, coordinator.course.fingerprint, begun.place.round)
        assert {n: a.shape for n, a in request.tensors.items()} == shapes  # it looks as what comes next does
        total = coordinator.sum(FIVE, request)
        return total["loss"], total["gradient"]

    shapes = {n: a.shape for n, a in coordinator.course.request(begun.place).tensors.items()}
    direction = np.random.default_rng(5).standard_normal(28 * 28)
    line = Line(direction / np.linalg.norm(direction), INTERCEPT, ask, together=1)
    loot = coordinator.attempt(lambda: line.image(MOST_QUESTIONS))
    ends("A3 a crafted point", coordinator, {"model-does-not-follow": FIVE}, loot)


@pytest.mark.parametrize("round", [0, 2])
@pytest.mark.parametrize("weights", ["random", "crafted points"])
def test_sites_believe_no_place_that_the_coordinator_makes_up(
    tmp_path: Path, weights: str, round: int, ends: Ends
) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (40, 10)), CNN if weights == "random" else SVM)
    begun = honest_beginning(hospitals, hospitals.plan("likeness=false", tree=hospitals.tree), rounds=0)
    coordinator, course, rng = begun.coordinator, begun.coordinator.course, np.random.default_rng(2)
    state = {
        name: rng.standard_normal(value.shape).astype(value.dtype) if value.dtype.kind == "f" else value
        for name, value in begun.place.state.items()
    }
    crafted = replace(begun.place, round=round, state=state)
    coordinator.follow(FIVE, place=crafted.tensors())
    loot = coordinator.attempt(lambda: coordinator.sum(FIVE, course.request(crafted)))
    code = "missing-transcript" if round else "model-does-not-follow"
    ends(f"A4 a place of the coordinator's making, {weights}, round {round}", coordinator, {code: FIVE}, loot)

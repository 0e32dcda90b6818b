"""The coordinator asks the SVM's sums at points of its own choice over all sites, and reads a patient (A3, A4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from client.home import Home as Hospital
from client.plans import judge
from client.training.hospital_site import prepare
from common.algorithms import RoundTotal
from common.algorithms.course import Place
from common.algorithms.solver import SolverStage
from common.messages import answer_layout
from common.messages.transport import InMemory, Reply, Request, Transport
from common.plans.plan import RunPlan
from common.types import Tensors, prefixed
from server.rounds import loop
from server.rounds.aggregation import Aggregator
from server.rounds.secure_sum import make_secure
from server.rounds.transcripts import Transcripts
from tests.attacks.hospitals import CNN, SIX, SVM, Hospitals
from tests.attacks.hostile import HostileCoordinator, as_bytes, tell
from tests.attacks.margin import Floats, Inside, Line, Sums, nearest

pytestmark = pytest.mark.usefixtures("many_hospitals")
FIVE = SIX[:5]
MOST_QUESTIONS = 7
INTERCEPT = 1000.0


def features(hospitals: Hospitals, coordinator: HostileCoordinator, recipe: Tensors) -> Floats:
    """Every hospital's training images as the SVM sees them, float64[n, d]; nobody but the test has them."""
    parts = []
    for home in hospitals.sites.values():
        site = prepare(home, judge.approved_plan(home, coordinator.plan.digest)).site
        parts.append(site.ready("train", recipe).images.reshape(-1, 28 * 28).astype(np.float64))
    return np.concatenate(parts)


def recipe_of(total: Tensors) -> Tensors:
    """Mean and variance, of the sums of the first question, which the plan asks."""
    mean = total["x"] / total["n"][0]
    return {"mean": mean, "variance": np.maximum(total["xx"] / total["n"][0] - mean**2, 0.0)}


def at(points: Floats, recipe: Tensors, fingerprint: str, round: int) -> Request:
    weights = {"alpha": points[:, None, :-1].copy(), "intercept": points[:, None, -1].copy()}
    return Request(
        "gradient", round, prefixed("weights", weights) | prefixed("recipe", recipe), {"recipe": fingerprint}
    )


@pytest.mark.parametrize("cases", [3500])
def test_one_patient_of_thousands_from_crafted_points(tmp_path: Path, cases: int, show: Callable[[str], None]) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (cases // 5, 20)), SVM)
    coordinator = HostileCoordinator(hospitals, hospitals.approved())
    coordinator.follow(FIVE)
    course = coordinator.course
    recipe = recipe_of(coordinator.sum(FIVE, course.request(course.start())))
    period = coordinator.begin(FIVE)

    def ask(points: Floats) -> Sums:
        request = at(points, recipe, course.fingerprint, line.questions)
        total = coordinator.close(coordinator.submit(period, request, line.questions))
        return total["loss"][:, 0], total["gradient"][:, 0]

    direction = np.random.default_rng(5).standard_normal(28 * 28)
    line = Line(direction / np.linalg.norm(direction), INTERCEPT, ask)
    image = coordinator.attempt(lambda: line.image(MOST_QUESTIONS))
    answered = len(FIVE) - len(coordinator.codes("submit"))
    assert answered == 5
    assert image is not None
    _, worst = nearest(image, features(hospitals, coordinator, recipe))
    show(f"A3 one image of {cases}, error {worst:.1e} at the worst pixel, in {line.questions} questions, answered by "
         f"{answered} of 5")  # fmt: skip
    assert worst < 0.01


def test_sites_that_audit_believe_any_weights_at_first_contact(tmp_path: Path, show: Callable[[str], None]) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (40, 10)), CNN, {"audit": True})
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    course, rng = coordinator.course, np.random.default_rng(2)
    state = {
        name: rng.standard_normal(value.shape).astype(value.dtype) if value.dtype.kind == "f" else value
        for name, value in course.algorithm.start().items()
    }
    crafted = Place("train", 2, state, {})
    coordinator.follow(FIVE)
    coordinator.follow(FIVE, crafted)
    total = coordinator.attempt(lambda: coordinator.sum(FIVE, course.request(crafted)))
    answered = len(FIVE) - len(coordinator.codes("submit"))
    show(f"A4 a place with random weights, all audit: answered by {answered} of 5")
    assert answered == 5
    assert total is not None


def test_sites_that_audit_tell_one_patient_at_first_contact(tmp_path: Path, show: Callable[[str], None]) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (700, 20)), SVM, {"audit": True})
    earlier = honest_sums(hospitals, hospitals.approved("name=honest"), rounds=2)
    known = {answer_layout.question_kind(request): total for request, total in earlier}
    recipe, inside = recipe_of(known["statistics"]), Inside.of(known)
    found: list[tuple[float, int]] = []
    answered, plans = 5, 0
    while answered and not found and plans < 4:
        plans += 1
        coordinator = HostileCoordinator(hospitals, hospitals.approved(f"name=late-{plans}"))
        points, course = inside.points(plans), coordinator.course
        stage = {"stage": np.array(SolverStage.STEP, np.int64), "trials": points[:, None, :]}
        crafted = Place("train", 2, course.algorithm.start() | stage, recipe)
        coordinator.follow(FIVE)
        coordinator.follow(FIVE, crafted)
        total = coordinator.attempt(lambda c=coordinator, p=crafted: c.sum(FIVE, c.course.request(p)))  # type: ignore[misc]
        answered = len(FIVE) - len(coordinator.codes("submit"))
        images = inside.images(points, total["loss"][:, 0], total["gradient"][:, 0]) if total else []
        true = features(hospitals, coordinator, recipe)
        found = [(nearest(image, true)[1], plans) for image in images]
    worst = min(found)[0] if found else float("nan")
    show(f"A4 a place with crafted points, all audit: answered by {answered} of 5; one image of 3500, "
         f"error {worst:.1e}, in {plans} questions")  # fmt: skip
    assert answered == 5
    assert worst < 0.05


def honest_sums(hospitals: Hospitals, plan: RunPlan, rounds: int) -> list[tuple[Request, Tensors]]:
    """What an honest coordinator asks at the beginning of a run, and the sums that it gets."""
    run, asked = hospitals.begun(plan), HostileCoordinator(hospitals, plan)
    content = plan.content
    transport = InMemory({name: partial(asked_in_memory, home, plan) for name, home in hospitals.sites.items()})
    about = content.shape, len(content.labels)
    secure = make_secure(
        content.training, asked.model, about, transport, hospitals.home.consortium, plan.document.digest
    )
    recorder = Recorder(replace(secure, transcripts=Transcripts(run.folder / "transcripts", for_good=False)))
    state = loop.begin(asked.course, recorder)
    for _ in range(rounds):
        state = loop.run_round(asked.course, recorder, state)
    return recorder.sums


def asked_in_memory(home: Hospital, plan: RunPlan, request: Request, state: Tensors) -> tuple[Reply, Tensors]:
    return Reply({"message": as_bytes(tell(home, plan, request))}), state


@dataclass
class Recorder:
    """Stands before an aggregator, and keeps the sums."""

    inner: Aggregator
    sums: list[tuple[Request, Tensors]] = field(default_factory=list)

    @property
    def transport(self) -> Transport:
        return self.inner.transport

    def total(
        self, request: Request, cohort: Sequence[str], timeout_s: float, place: Place | None = None
    ) -> RoundTotal:
        total = self.inner.total(request, cohort, timeout_s, place)
        self.sums.append((request, total.sums))
        return total

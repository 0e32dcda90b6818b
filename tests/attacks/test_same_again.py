"""What was told over some sites and images is not told over others: not in parts, not in two runs at once (P6)."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from client.plans import question_ledger
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from common.messages.answer_keys import answer_keys
from common.messages.transport import Request
from common.plans.plan import RunPlan
from tests.attacks.conftest import Attack
from tests.attacks.honest import honest_beginning
from tests.attacks.hospitals import SIX, SVM, Hospitals, pictures
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.test_promise_cohort import Ends

pytestmark = pytest.mark.usefixtures("many_hospitals")
FOUR = SIX[:4]
THREE = FOUR[:3]


@pytest.fixture
def hospitals(tmp_path: Path) -> Hospitals:
    return Hospitals(tmp_path, dict.fromkeys(FOUR, (30, 10)), SVM)


def statistics(coordinator: HostileCoordinator) -> Request:
    request = coordinator.course.request(coordinator.course.start())
    assert request.kind == "statistics"
    return request


def plan_over(hospitals: Hospitals, sites: Iterable[str], *overrides: str) -> RunPlan:
    return hospitals.plan(f"plan.cohort=[{', '.join(sites)}]", *overrides, tree=SVM)


def told(hospitals: Hospitals) -> None:
    """The statistics of all four hospitals were summed, and their papers of that run are put away."""
    first = HostileCoordinator(hospitals, hospitals.approve(plan_over(hospitals, FOUR)))
    assert first.attempt(lambda: first.sum((), statistics(first))) is not None
    for site in hospitals.sites.values():
        shutil.rmtree(PlanInbox(site).room(first.plan.digest))


def again(hospitals: Hospitals, sites: Iterable[str], *overrides: str) -> tuple[HostileCoordinator, object]:
    coordinator = HostileCoordinator(hospitals, hospitals.approve(plan_over(hospitals, sites, *overrides)))
    return coordinator, coordinator.attempt(lambda: coordinator.sum((), statistics(coordinator)))


@pytest.mark.parametrize("other", ["likeness=false", "likeness=true", "model.C=1.0"])
def test_statistics_over_all_and_over_all_but_one(hospitals: Hospitals, other: str, ends: Ends) -> None:
    told(hospitals)
    coordinator, loot = again(hospitals, THREE, other)
    ends(f"statistics again over one site fewer, {other}", coordinator, {"repeated-question": THREE}, loot)


def test_the_same_over_the_same_is_told_again(hospitals: Hospitals) -> None:
    told(hospitals)
    coordinator, sums = again(hospitals, FOUR, "likeness=false")
    assert sums
    assert not coordinator.codes()


@pytest.mark.parametrize("new", [1, 20])
def test_the_same_sites_of_which_one_has_new_images(hospitals: Hospitals, new: int, ends: Ends) -> None:
    told(hospitals)
    add_images(hospitals, FOUR[3], new)
    coordinator, loot = again(hospitals, FOUR)
    ends(f"statistics again, one site with {new} more images", coordinator, {"repeated-question": FOUR}, loot)


def test_a_plan_that_would_ask_again_is_not_approved(hospitals: Hospitals, attack: Attack) -> None:
    honest_beginning(hospitals, plan_over(hospitals, FOUR), rounds=0)
    fewer = plan_over(hospitals, THREE)
    for site in THREE:
        with attack(f"approval of the same statistics over one site fewer, {site}", "repeated-question"):
            decide(hospitals.sites[site], fewer, "approve", "")


def test_two_plans_at_once_at_the_same_sites(hospitals: Hospitals, ends: Ends) -> None:
    one, other = (HostileCoordinator(hospitals, hospitals.approve(plan_over(hospitals, sites)))
                  for sites in (FOUR, THREE))  # fmt: skip
    first, second = (c.submit(c.begin(), statistics(c)) for c in (one, other))  # each in its own key period
    one._step(first, "agree")
    other._step(second, "agree")  # both are signed before either is told
    one._step(first, "release")
    assert first.total().survivors == FOUR
    assert not one.codes()
    loot = other.attempt(lambda: other._step(second, "release") or second.total())
    ends("the same of two runs at once, both signed before", other, {"repeated-question": THREE}, loot)


def add_images(hospitals: Hospitals, name: str, number: int) -> None:
    path = hospitals.sites[name].folder / "images.npz"
    images, labels = pictures("test", number, seed=99)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["train_images"] = np.concatenate([arrays["train_images"], images])
    arrays["train_labels"] = np.concatenate([arrays["train_labels"], labels[:, None]])
    np.savez(path, **arrays)


# --- which questions tell the same ------------------------------------------------------------------------------------

WEIGHTS = {"weights/alpha": np.ones((1, 4)), "weights/intercept": np.ones(1)}
TRIALS = {name: np.stack([value, 2 * value]) for name, value in WEIGHTS.items()}
LOOKS = {"likeness/n": np.ones(1), "likeness/x": np.ones(26)}
PAIRS = {
    "an evaluation with distances, and without": (
        Request("evaluate", 1, WEIGHTS | LOOKS), Request("evaluate", 9, WEIGHTS)),
    "statistics with likeness, and without": (
        Request("statistics", 0, settings={"pixels": 1, "likeness": 1}),
        Request("statistics", 3, settings={"pixels": 1, "likeness": 0})),
    "a gradient, and the loss at its point among others": (Request("gradient", 1, WEIGHTS), Request("loss", 5, TRIALS)),
    "second moments in two rounds": (Request("gram", 0), Request("gram", 7)),
}  # fmt: skip


@pytest.mark.parametrize("what", PAIRS)
def test_a_part_of_what_was_told_is_not_told_over_others(what: str, attack: Attack) -> None:
    ledger, plan = question_ledger.in_memory(), "ab" * 32
    one, other = (answer_keys(request, "chest") for request in PAIRS[what])
    for first, second in ((one, other), (other, one)):
        ledger = question_ledger.in_memory()
        ledger.record(first, b"1" * 32, plan)
        with attack(what, "repeated-question"):
            ledger.refuse_other(second, b"2" * 32, "a")
        ledger.refuse_other(second, b"1" * 32, "a")


def test_other_things_are_told_over_others() -> None:
    ledger = question_ledger.in_memory()
    ledger.record(answer_keys(Request("gradient", 1, WEIGHTS), "chest"), b"1" * 32, "ab" * 32)
    elsewhere = {name: value + 1e-16 + np.spacing(value) for name, value in WEIGHTS.items()}
    ledger.refuse_other(answer_keys(Request("gradient", 1, elsewhere), "chest"), b"2" * 32, "a")
    ledger.refuse_other(answer_keys(Request("gradient", 1, WEIGHTS), "bones"), b"2" * 32, "a")

"""Where a round asks a share of the sites: which one follows from the plan, and no sum is of few honest sites."""

from itertools import combinations
from pathlib import Path

import pytest

from common.plans import binding
from common.secagg.key_period_plan import threshold
from tests.attacks.hospitals import CNN, SIX, Hospitals
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.test_promise_cohort import Ends

pytestmark = pytest.mark.usefixtures("many_hospitals")
FOUR_OF_SIX = CNN | {"federation": {"rounds": 3, "fraction": 0.6}}
SHARES = {"fraction": 0.6}
"""The policy of hospitals that take part where a share is asked; by default none does."""


@pytest.fixture
def coordinator(tmp_path: Path) -> HostileCoordinator:
    hospitals = Hospitals(tmp_path, dict.fromkeys(SIX, (20, 8)), FOUR_OF_SIX, SHARES)
    return HostileCoordinator(hospitals, hospitals.approved("likeness=false"))


def draw(coordinator: HostileCoordinator, round: int) -> tuple[str, ...]:
    [drawn] = [cohort for cohort, rounds in binding.draws(coordinator.approvals).items() if round in rounds]
    return drawn


def test_a_round_is_over_its_own_draw(coordinator: HostileCoordinator, ends: Ends) -> None:
    own, other = draw(coordinator, 0), draw(coordinator, 1)
    assert own != other
    question = coordinator.honest_training()
    loot = coordinator.attempt(lambda: coordinator.sum((), question, drawn=other))
    ends("the draw of another round", coordinator, {"other-cohort": other}, loot)
    coordinator.refused.clear()
    loot = coordinator.attempt(lambda: coordinator.sum((), question))
    ends("everybody in the place of a draw", coordinator, {"other-cohort": SIX}, loot)
    coordinator.refused.clear()
    chosen = next(c for c in combinations(SIX, len(own)) if c not in binding.draws(coordinator.approvals))
    before = coordinator.remembered()
    loot = coordinator.attempt(lambda: coordinator.sum(chosen, question))
    ends("a draw of the coordinator's", coordinator, {"other-cohort": chosen}, loot)
    coordinator.refused.clear()
    loot = coordinator.attempt(lambda: coordinator.sum(own[:3], question))
    ends("a draw over fewer", coordinator, {"other-cohort": own[:3]}, loot)
    coordinator.refused.clear()
    loot = coordinator.attempt(lambda: coordinator.sum((), question, drawn=own, threshold=3))
    ends("a draw with a threshold of two thirds of it", coordinator, {"wrong-threshold": own}, loot)
    assert coordinator.remembered() == before
    coordinator.refused.clear()
    assert coordinator.attempt(lambda: coordinator.sum((), question, drawn=own)) is not None
    assert not coordinator.codes()


def test_what_is_asked_of_all_is_not_asked_of_a_draw(tmp_path: Path, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(SIX, (20, 8)), FOUR_OF_SIX, SHARES)
    coordinator = HostileCoordinator(hospitals, hospitals.approved())
    course, own = coordinator.course, draw(coordinator, 0)
    statistics = course.request(course.start())
    assert statistics.kind == "statistics"
    loot = coordinator.attempt(lambda: coordinator.sum((), statistics, drawn=own))
    ends("statistics of a draw", coordinator, {"other-cohort": own}, loot)


@pytest.mark.parametrize("sites", range(3, 31))
def test_two_sums_share_an_honest_site_whoever_approved(sites: int) -> None:
    colluders, least = binding.colluders(sites), threshold(sites)
    assert 3 * colluders < sites <= 3 * (colluders + 1)
    for approved in range(least, sites + 1):
        signers = binding.threshold_of(sites, approved)
        assert signers <= approved
        # Any two sets of signers, of the same approvals or of two different ones: both are among the plan's sites.
        assert 2 * signers - sites > colluders
    for drawn in range(colluders + 3, sites + 1):
        signers = binding.threshold_of(sites, drawn, is_drawn=True)
        assert signers <= drawn
        assert 2 * signers - drawn > colluders
        assert signers - colluders >= 3
    for drawn in range(3, colluders + 3):  # too small a draw: no key period's plan of it passes any check
        assert binding.threshold_of(sites, drawn, is_drawn=True) > drawn

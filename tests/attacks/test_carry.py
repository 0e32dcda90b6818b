"""What a plan carries from an earlier run is what that run summed, by the word of more than a third of its sites."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest

from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.training import hospital_site
from common.plans import carry
from common.plans.approvals import Approvals
from common.plans.plan import Carried, RunPlan
from common.types import Tensors
from tests.attacks.conftest import Attack
from tests.attacks.honest import honest_beginning
from tests.attacks.hospitals import SIX, SVM, Hospitals
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.test_promise_cohort import Ends
from tests.consortium.consortium import config_of

THREE = SIX[:3]
ONE_OF_FOUR, THREE_OF_FOUR = (SIX[0], *SIX[3:6]), (*THREE, SIX[3])


@dataclass(frozen=True)
class Earlier:
    """Six hospitals, three of which have summed their images' mean and variance."""

    hospitals: Hospitals
    plan: RunPlan
    arrays: Tensors

    def carrying(self, sites: tuple[str, ...], arrays: Tensors) -> RunPlan:
        """A signed plan that says that these are the earlier run's."""
        carried = Carried(name=self.plan.name, plan=self.plan.digest, sha256=tuple(carry.fingerprints(arrays).items()))
        config = config_of(self.hospitals.folder, SVM, f"plan.cohort=[{', '.join(sites)}]")
        plan = RunPlan.from_config(config, self.hospitals.roster(), self.hospitals.roots, carried)
        for site in self.hospitals.sites.values():
            PlanInbox(site).take_plan(plan.document.encode())
        return plan


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Earlier]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
        hospitals = Hospitals(tmp_path_factory.mktemp("carry"), dict.fromkeys(SIX, (30, 10)), SVM)
        plan = hospitals.plan(f"plan.cohort=[{', '.join(THREE)}]", tree=SVM)
        begun = honest_beginning(hospitals, plan, rounds=0, sites=THREE)
        yield Earlier(hospitals, plan, begun.coordinator.course.to_carry(begun.place))


def one_digit(arrays: Tensors) -> Tensors:
    mean = arrays["recipe/mean"].copy()
    mean.flat[0] = np.nextafter(mean.flat[0], 1)
    return {**arrays, "recipe/mean": mean}


def test_numbers_that_an_earlier_site_does_not_know_are_not_approved(earlier: Earlier, attack: Attack) -> None:
    plan = earlier.carrying(THREE_OF_FOUR, one_digit(earlier.arrays))
    for site in THREE:
        with attack(f"a plan that carries another mean, {site}", "forged-carry"):
            decide(earlier.hospitals.sites[site], plan, "approve", "")


def test_other_arrays_than_the_plan_names_begin_nothing(earlier: Earlier, ends: Ends) -> None:
    plan = earlier.carrying(THREE_OF_FOUR, earlier.arrays)
    coordinator = HostileCoordinator(earlier.hospitals, earlier.hospitals.approve(plan), carried=earlier.arrays)
    assert [paper.commitment.knows for paper in coordinator.approvals.decisions.values()] == [True, True, True, False]
    for what, arrays in {"in one digit": one_digit(earlier.arrays), "as nothing at all": {}}.items():
        coordinator.refused.clear()
        coordinator.carried = arrays
        coordinator.follow(THREE_OF_FOUR)
        ends(f"arrays changed {what}", coordinator, {"forged-carry": THREE_OF_FOUR}, None)
    coordinator.refused.clear()
    coordinator.carried = earlier.arrays
    first = coordinator.course.request(coordinator.course.start())
    assert first.kind != "statistics"
    assert coordinator.attempt(lambda: coordinator.sum((), first)) is not None
    assert not coordinator.codes()


def test_a_plan_that_too_few_know_begins_nothing(earlier: Earlier, attack: Attack) -> None:
    hospitals, plan = earlier.hospitals, earlier.carrying(ONE_OF_FOUR, earlier.arrays)
    decisions = {name: decide(hospitals.sites[name], plan, "approve", "") for name in ONE_OF_FOUR}
    with attack("one of four knows what is carried", "unknown-carry"):
        Approvals(plan, decisions)
    papers = json.dumps([paper.document.to_json() for paper in decisions.values()]).encode()
    for site in ONE_OF_FOUR:
        binding = hospital_site.hospital_site(hospitals.sites[site], plan.digest).binding
        assert binding is not None
        with attack(f"one of four knows what is carried, shown to {site}", "unknown-carry"):
            binding.approvals(papers, hospitals.home.roster, earlier.arrays)
        assert not PlanInbox(hospitals.sites[site]).papers(plan).approvals()


@pytest.mark.parametrize("sites", range(3, 31))
def test_colluders_alone_never_know_enough(sites: int) -> None:
    assert sites // 3 + 1 > -(-sites // 3) - 1

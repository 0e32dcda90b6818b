"""A question that differs by next to nothing is the same: nothing of it is told over all sites and over all but one.

A stranger to the code, who had the documents alone, got a site's own numbers with most of these. Evaluations are in
`test_evaluated_before`.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from client.home import Home
from client.plans.inbox import PlanInbox
from client.training import hospital_site
from common.messages.answer_keys import answer_keys
from common.messages.transport import Request
from common.plans import carry
from common.plans.plan import Carried, RunPlan
from common.types import Tensors
from tests.admitted import home_of
from tests.attacks.conftest import Attack
from tests.attacks.honest import honest_beginning
from tests.attacks.hospitals import CNN, SIX, SVM, Hospitals
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.test_promise_cohort import Ends
from tests.attacks.test_same_again import add_images
from tests.consortium.consortium import LEAST

FOUR, THREE = SIX[:4], SIX[:3]
FEDERATED = {"step": "normalise", "by": "federated", "per": "pixel"}
BY_IMAGE = {"step": "normalise", "by": "image"}
GREY, RESIZE, CROP = {"step": "grey"}, {"step": "resize", "size": [28, 28]}, {"step": "crop", "size": [28, 28]}
FIXED = {"step": "normalise", "by": "fixed", "mean": 0.0, "std": 1.0}
LBFGS = {"kind": "svm", "solver": "lbfgs"}
FOURIER = LBFGS | {"features": "fourier", "dimension": 64, "seed": 1}
RATE = 0.001
TREES: dict[str, dict[str, Any]] = {
    "statistics": SVM,
    "gradient": SVM | {"preprocess": [BY_IMAGE], "model": LBFGS, "likeness": False},
    "gram": SVM | {"preprocess": [BY_IMAGE], "likeness": False},
    "train": CNN | {"likeness": False, "federation": {"rounds": 1, "local": {"epochs": 1, "learning_rate": RATE}}},
}
"""By the first question that they ask."""
NEXT: dict[str, dict[str, dict[str, Any]]] = {
    "statistics": {
        "turned grey": {"preprocess": [GREY, FEDERATED]},
        "resized to their own size": {"preprocess": [RESIZE, FEDERATED]},
        "cropped to their own size": {"preprocess": [CROP, FEDERATED]},
        "less 0, divided by 1": {"preprocess": [FIXED, FEDERATED]},
        "normalised by channel": {"preprocess": [FEDERATED | {"per": "channel"}]},
        "how they look alone": {"preprocess": [BY_IMAGE], "likeness": True},
        "augmented": {"augment": {"flip": True}},
        "room for fewer cases": {"federation": SVM["federation"] | {"weight_bound": 9999}},
    },
    "gradient": {
        "another C": {"model": LBFGS | {"C": 1.0}},
        "a gamma that nothing uses": {"model": LBFGS | {"gamma": 0.5}},
        "a seed that nothing uses": {"model": LBFGS | {"seed": 5}},
        "a dimension that nothing uses": {"model": LBFGS | {"dimension": 7}},
        "other seeds": {"seeds": [77]},
        "resized to their own size": {"preprocess": [RESIZE, BY_IMAGE]},
        "a fixed normalisation": {"preprocess": [FIXED | {"std": 0.25}]},
        "the same, an ulp apart": {"preprocess": [FIXED | {"std": float(np.nextafter(0.25, 1))}]},
        "other features": {"model": FOURIER},
        "their gamma written out": {"model": FOURIER | {"gamma": 1 / 784}},
    },
    "gram": {
        "other seeds": {"seeds": [77]},
        "a dimension that nothing uses": {"model": {"kind": "svm", "dimension": 7}},
        "turned grey": {"preprocess": [GREY, BY_IMAGE]},
    },
    "train": {
        "a learning rate an ulp apart": {
            "federation": {"rounds": 1, "local": {"epochs": 1, "learning_rate": float(np.nextafter(RATE, 1))}}},
        "more rounds": {"federation": {"rounds": 2, "local": {"epochs": 1, "learning_rate": RATE}}},
        "smaller batches": {"federation": {"rounds": 1, "local": {"epochs": 1, "learning_rate": RATE, "batch": 31}}},
        "turned grey": {"preprocess": [GREY]},
    },
}  # fmt: skip
"""What differs in the plan that asks again."""


@dataclass(frozen=True)
class Asked:
    """Hospitals of which the first question of a plan was asked, over four of them."""

    hospitals: Hospitals
    kind: str

    def again(self, cohort: Iterable[str] = THREE, **changes: Any) -> tuple[HostileCoordinator, Tensors | None]:
        """The first question of a plan that differs so, over three; another of the plan's sites has not approved."""
        return first_of(self.hospitals, plan_of(self.hospitals, TREES[self.kind] | changes, cohort), THREE)


def plan_of(
    hospitals: Hospitals, tree: dict[str, Any], cohort: Iterable[str], carried: Carried | None = None
) -> RunPlan:
    return hospitals.plan(f"plan.cohort=[{', '.join(cohort)}]", tree=tree, carried=carried)


def first_of(
    hospitals: Hospitals, plan: RunPlan, by: Iterable[str] = (), carried: Tensors | None = None
) -> tuple[HostileCoordinator, Tensors | None]:
    """The first question of a plan; nobody has seen its sum, so nobody is warned when the next plan comes."""
    coordinator = HostileCoordinator(hospitals, hospitals.approve(plan, by), carried=carried or {})
    coordinator.asked = [coordinator.course.request(coordinator.course.start())]
    coordinator.follow(coordinator.approvals.sites)
    return coordinator, coordinator.attempt(lambda: coordinator.sum((), coordinator.asked[0]))


def told(hospitals: Hospitals, tree: dict[str, Any]) -> HostileCoordinator:
    """The first question is told over four, and the papers of that run are put away: the ledger alone has it."""
    coordinator, sums = first_of(hospitals, plan_of(hospitals, tree, FOUR))
    assert sums, coordinator.codes()
    for site in hospitals.sites.values():
        shutil.rmtree(PlanInbox(site).room(coordinator.plan.digest))
    return coordinator


@pytest.fixture(scope="module", autouse=True)
def each_hospital_has_its_images() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
        yield


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Asked]:
    """By kind of question; each set of hospitals is made once, and all plans about its question come to the same."""

    @cache
    def of(kind: str) -> Asked:
        sizes = dict.fromkeys(FOUR, (80 if kind == "gram" else 30, 10))
        policy = {"least": LEAST | {"a_number": 1}}
        hospitals = Hospitals(tmp_path_factory.mktemp(kind), sizes, TREES[kind], policy)
        assert told(hospitals, TREES[kind]).asked[0].kind == kind
        return Asked(hospitals, kind)

    return of


@pytest.mark.parametrize(("kind", "what"), [(kind, what) for kind, changes in NEXT.items() for what in changes])
def test_it_is_not_told_over_all_but_one(asked: Callable[[str], Asked], kind: str, what: str, ends: Ends) -> None:
    coordinator, loot = asked(kind).again(**NEXT[kind][what])
    ends(f"{kind} over all but one, {what}", coordinator, {"repeated-question": THREE}, loot)


@pytest.mark.parametrize("kind", NEXT)
def test_nor_where_the_fourth_site_is_in_the_plan_and_its_approval_withheld(
    asked: Callable[[str], Asked], kind: str, ends: Ends
) -> None:
    coordinator, loot = asked(kind).again(FOUR, name="withheld")
    ends(f"{kind}, the fourth approval withheld", coordinator, {"repeated-question": THREE}, loot)


@pytest.mark.parametrize("kind", NEXT)
def test_over_the_same_sites_and_images_it_is_told_again(asked: Callable[[str], Asked], kind: str) -> None:
    hospitals = asked(kind).hospitals
    coordinator, sums = first_of(hospitals, plan_of(hospitals, TREES[kind] | {"name": "again"}, FOUR))
    assert sums
    assert not coordinator.codes()


@pytest.mark.parametrize("lost", [1, 95, 96])
def test_a_ledger_that_was_cut_in_its_last_record_still_has_those_before(tmp_path: Path, lost: int, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (30, 10)), SVM)
    told(hospitals, SVM)
    for site in THREE:
        ledger = hospitals.sites[site].folder / "ledger"
        ledger.write_bytes(ledger.read_bytes()[:-lost])
    coordinator, loot = first_of(hospitals, plan_of(hospitals, SVM, THREE))
    ends(f"{lost} bytes cut off three ledgers", coordinator, {"repeated-question": THREE}, loot)


# --- other names for the same images ----------------------------------------------------------------------------------


def rename(site: Home, **datasets: dict[str, Any]) -> Home:
    """The site with other data sets in its site.yaml."""
    path = site.folder / "site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"datasets": datasets}), encoding="utf-8")
    return home_of(site.folder)


@pytest.mark.parametrize("way", ["a second name", "another name", "another name, and an image more", "a name between"])
def test_the_same_images_under_another_name_are_the_same_data_set(tmp_path: Path, way: str, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (30, 10)), SVM)
    told(hospitals, SVM)
    for name, site in hospitals.sites.items():
        chest = yaml.safe_load((site.folder / "site.yaml").read_text())["datasets"]["chest"]
        kept = {"chest": chest} if way == "a second name" else {}
        if way == "another name, and an image more":
            add_images(hospitals, name, 1)
        hospitals.sites[name] = rename(site, **kept, other=chest, between=chest)
    if way == "a name between":
        hospitals.approve(plan_of(hospitals, SVM | {"plan": SVM["plan"] | {"dataset": "between"}}, FOUR))
    coordinator, loot = first_of(
        hospitals, plan_of(hospitals, SVM | {"plan": SVM["plan"] | {"dataset": "other"}}, THREE)
    )
    ends(f"statistics of the same images under {way}", coordinator, {"repeated-question": THREE}, loot)


def test_other_images_are_another_data_set(tmp_path: Path) -> None:
    hospitals = Hospitals(tmp_path / "one", dict.fromkeys(FOUR, (30, 10)), SVM)
    elsewhere = Hospitals(tmp_path / "two", dict.fromkeys(SIX, (30, 10)), SVM)
    told(hospitals, SVM)
    for name, other in zip(THREE, SIX[3:], strict=True):
        bones = yaml.safe_load((elsewhere.sites[other].folder / "site.yaml").read_text())["datasets"]["chest"]
        with np.load(path := elsewhere.sites[other].folder / "images.npz") as file:
            arrays = dict(file)
        np.savez(path, **arrays | {"test_images": 255 - arrays["test_images"]})  # all of `Hospitals` have those alike
        bones["data"]["path"] = str(path)
        hospitals.sites[name] = rename(hospitals.sites[name], bones=bones)
    coordinator, sums = first_of(
        hospitals, plan_of(hospitals, SVM | {"plan": SVM["plan"] | {"dataset": "bones"}}, THREE)
    )
    assert sums
    assert not coordinator.codes()


# --- what a plan says that it carries ---------------------------------------------------------------------------------


def test_a_plan_that_carries_part_of_a_run_or_of_none_asks_for_no_second_moments(tmp_path: Path) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (30, 10)), SVM)
    begun = honest_beginning(hospitals, plan_of(hospitals, SVM, FOUR), rounds=0)
    carried = begun.coordinator.course.to_carry(begun.place)
    recipe = {name: array for name, array in carried.items() if name.startswith("recipe/")}
    run, nobody = (begun.run.name, begun.run.plan.digest), ("nothing-0", "0" * 64)
    for what, tree, (name, plan), arrays in (
        ("nothing, of no run", TREES["gram"], nobody, {}),
        ("mean and variance alone", SVM, run, recipe),
    ):
        words = Carried(name=name, plan=plan, sha256=tuple(carry.fingerprints(arrays).items()), frequencies=28)
        coordinator, sums = first_of(hospitals, plan_of(hospitals, tree, THREE, words), carried=arrays)
        assert coordinator.asked[0].kind == "gradient", what  # at a point of its own
        assert sums
        assert "gram" not in coordinator.kinds(3)


def test_what_a_run_with_other_preprocessing_summed_is_not_carried(tmp_path: Path, attack: Attack) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (30, 10)), SVM)
    begun = honest_beginning(hospitals, plan_of(hospitals, SVM, FOUR), rounds=0)
    parts = tuple(carry.fingerprints(begun.coordinator.course.to_carry(begun.place)).items())
    words = Carried(name=begun.run.name, plan=begun.run.plan.digest, sha256=parts)
    other = SVM | {"preprocess": [{"step": "gaussian", "sigma": 3.0}, FEDERATED]}
    with attack("the mean of images that were prepared otherwise", "forged-carry"):
        hospitals.approve(plan_of(hospitals, other, THREE, words))


# --- how many cases of each class --------------------------------------------------------------------------------

BALANCED = TREES["gradient"] | {"model": LBFGS | {"class_weight": "balanced"}}


def test_an_image_more_is_of_no_class_that_anybody_learns(tmp_path: Path, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (30, 10)), BALANCED)
    assert told(hospitals, BALANCED).asked[0].kind == "classes"
    coordinator, sums = first_of(hospitals, plan_of(hospitals, BALANCED | {"name": "same"}, FOUR))
    assert sums, coordinator.codes()
    for site in hospitals.sites.values():
        shutil.rmtree(PlanInbox(site).room(coordinator.plan.digest))
    add_images(hospitals, FOUR[3], 1)
    coordinator, loot = first_of(hospitals, plan_of(hospitals, BALANCED, FOUR))
    ends("cases of each class, after one was imported", coordinator, {"repeated-question": FOUR}, loot)
    coordinator, loot = first_of(hospitals, plan_of(hospitals, BALANCED, THREE))
    ends("cases of each class over all but one", coordinator, {"repeated-question": THREE}, loot)


def test_cases_of_each_class_are_carried_and_not_asked(tmp_path: Path) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (30, 10)), BALANCED)
    begun = honest_beginning(hospitals, plan_of(hospitals, BALANCED, FOUR), rounds=2)
    arrays = begun.coordinator.course.to_carry(begun.place)
    assert {"classes/share", "classes/heaviest"} <= set(arrays)
    parts = tuple(carry.fingerprints(arrays).items())
    words = Carried(name=begun.run.name, plan=begun.run.plan.digest, sha256=parts)
    coordinator, sums = first_of(hospitals, plan_of(hospitals, BALANCED, THREE, words), carried=arrays)
    assert coordinator.asked[0].kind == "gradient"
    np.testing.assert_array_equal(coordinator.asked[0].tensors["classes/share"], arrays["classes/share"])
    assert sums, coordinator.codes()


def test_a_gradient_over_classes_weighted_otherwise_is_the_same_question() -> None:
    weights = {"weights/alpha": np.ones((1, 4)), "weights/intercept": np.ones(1)}
    shares = ({}, {"classes/share": np.ones(2)}, {"classes/share": np.array([1.0, np.nextafter(1, 0)])})
    assert len({answer_keys(Request("gradient", 1, weights | share), ["chest"]) for share in shares}) == 1

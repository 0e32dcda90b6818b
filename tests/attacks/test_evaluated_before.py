"""Outcomes of a model, and of one next to it: not over all sites and over all but one, whoever chose the models."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.plans import judge, near
from client.plans.inbox import PlanInbox
from common.errors import PolicyError
from common.plans.approvals import refuse_lone_figures
from common.plans.evaluated_model import EvaluatedModel, fingerprint_of
from common.plans.plan import RunPlan
from common.secagg.key_period_plan import colluders, least_apart
from common.trust.documents import sign_document
from common.types import Tensors
from tests.attacks.conftest import Attack
from tests.attacks.honest import honest_beginning
from tests.attacks.hospitals import SIX, SVM, Hospitals
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.test_promise_cohort import Ends
from tests.attacks.test_same_again import add_images

pytestmark = pytest.mark.usefixtures("many_hospitals")
FOUR, THREE = SIX[:4], SIX[:3]
BY_IMAGE = {"step": "normalise", "by": "image"}
TREE: dict[str, Any] = SVM | {
    "preprocess": [BY_IMAGE], "likeness": False, "model": {"kind": "svm", "solver": "lbfgs"},
    "federation": {"rounds": 3, "select": "last", "evaluate_every": 1},
}  # fmt: skip
ALPHA = np.random.default_rng(0).normal(0, 0.02, (1, 784))
MODEL: Tensors = {"weights/alpha": ALPHA, "weights/intercept": np.zeros(1)}


def beside(model: Tensors, ulps: int = 1) -> Tensors:
    """The same model, a hair apart."""
    alpha = model["weights/alpha"]
    return {**model, "weights/alpha": alpha + ulps * np.spacing(alpha)}


@pytest.fixture
def hospitals(tmp_path: Path) -> Hospitals:
    return Hospitals(tmp_path, {name: (30, 10 + 3 * i) for i, name in enumerate(FOUR)}, TREE)


def plan_of(
    hospitals: Hospitals, sites: Iterable[str], *models: Tensors, tree: dict[str, Any] = TREE, **changes: Any
) -> RunPlan:
    """A signed plan that evaluates whatever its coordinator likes."""
    content = hospitals.plan(f"plan.cohort=[{', '.join(sites)}]", tree=tree).content
    named = tuple(
        EvaluatedModel(name=f"model-{i}", sha256=fingerprint_of(model), training=content.training, shape=content.shape,
                       recipe=content.recipe, threshold=0.0)
        for i, model in enumerate(models)
    )  # fmt: skip
    content = content.model_copy(update={"models": named} | changes)
    plan = RunPlan(content, sign_document("plan", content.model_dump(mode="json"), hospitals.roots))
    for site in hospitals.sites.values():
        PlanInbox(site).take_plan(plan.document.encode())
    return plan


def evaluated(
    hospitals: Hospitals, plan: RunPlan, *models: Tensors, by: Iterable[str] = (), unheard: Iterable[str] = ()
) -> tuple[HostileCoordinator, list[Tensors | None]]:
    """The sums of a plan's models; some sites are called silent when it comes to the last one."""
    coordinator, sums = HostileCoordinator(hospitals, hospitals.approve(plan, by)), list[Tensors | None]()
    for model, arrays in zip(plan.content.models, models, strict=True):
        coordinator.unheard = frozenset(unheard) if arrays is models[-1] else frozenset()
        question = model.question(arrays, 0)
        sums.append(coordinator.attempt(lambda asked=question: coordinator.sum((), asked)))  # type: ignore[misc]
    return coordinator, sums


@pytest.fixture
def counted(hospitals: Hospitals) -> Hospitals:
    """A model was evaluated over four."""
    coordinator, sums = evaluated(hospitals, plan_of(hospitals, FOUR, MODEL), MODEL)
    assert all(sums), coordinator.codes()
    return hospitals


@pytest.mark.parametrize("other", ["the same", "an ulp apart", "turned grey", "made an hour before"])
def test_a_plan_over_all_but_one_is_not_approved(counted: Hospitals, other: str, attack: Attack) -> None:
    model = beside(MODEL) if other == "an ulp apart" else MODEL
    tree = TREE | {"preprocess": [{"step": "grey"}, BY_IMAGE]} if other == "turned grey" else TREE
    plan = plan_of(counted, THREE, model, tree=tree)
    if other == "made an hour before":
        plan = plan_of(counted, THREE, model, made_s=plan.content.made_s - 3600)
    for site in THREE:
        assert "two sums of models that are alike would tell its own outcomes" in judge.objection(
            counted.sites[site], plan
        )
        with attack(f"an evaluation over all but one, {other}, at {site}", "repeated-question"):
            near.refuse_planned(PlanInbox(counted.sites[site]), plan, dict.fromkeys(THREE))


@pytest.mark.parametrize("model", [MODEL, beside(MODEL), beside(MODEL, -3)])
def test_the_fourth_approval_is_withheld(counted: Hospitals, model: Tensors, ends: Ends) -> None:
    coordinator, loot = evaluated(counted, plan_of(counted, FOUR, model), model, by=THREE)
    ends("an evaluation, the fourth approval withheld", coordinator, {"repeated-question": THREE}, any(loot))


@pytest.mark.parametrize("silent", FOUR[2:])
def test_one_is_called_silent(counted: Hospitals, silent: str, ends: Ends) -> None:
    model, others = beside(MODEL), [site for site in FOUR if site != silent]
    coordinator, loot = evaluated(counted, plan_of(counted, FOUR, model), model, unheard=[silent])
    ends(f"an evaluation, {silent} called silent", coordinator, {"repeated-question": others}, any(loot))


def test_one_is_called_silent_for_one_model_of_a_plan(hospitals: Hospitals, ends: Ends) -> None:
    models = MODEL, beside(MODEL)
    coordinator, (first, second) = evaluated(hospitals, plan_of(hospitals, FOUR, *models), *models, unheard=FOUR[3:])
    assert first
    ends("two models an ulp apart, one site silent in between", coordinator, {"repeated-question": THREE}, second)


@pytest.mark.parametrize("changed", [1, 2, 3])
def test_some_have_an_image_more_since(counted: Hospitals, changed: int, ends: Ends) -> None:
    for site in FOUR[:changed]:
        add_images(counted, site, 1)
    model = beside(MODEL)
    coordinator, loot = evaluated(counted, plan_of(counted, FOUR, model), model)
    if changed < 3:
        ends(f"an evaluation, {changed} with an image more", coordinator, {"repeated-question": FOUR}, any(loot))
    else:
        assert all(loot), coordinator.codes()  # three at least differ


def test_a_model_next_to_one_that_was_trained_is_not_evaluated_over_all_but_one(
    hospitals: Hospitals, ends: Ends
) -> None:
    begun = honest_beginning(hospitals, hospitals.plan(f"plan.cohort=[{', '.join(FOUR)}]", tree=TREE), rounds=3)
    last = [asked for asked in begun.coordinator.asked if asked.kind == "evaluate"][-1]
    own = {name: np.asarray(array) for name, array in last.tensors.items()}
    for what, model in (("trained", own), ("next to one that was trained", beside(own)), ("of others", MODEL)):
        coordinator, loot = evaluated(hospitals, plan_of(hospitals, THREE, model), model)
        ends(f"a model {what}, over all but one", coordinator, {"repeated-question": THREE}, any(loot))
    for model in (own, beside(own), MODEL):  # over all of them
        coordinator, sums = evaluated(hospitals, plan_of(hospitals, FOUR, model), model)
        assert all(sums), coordinator.codes()


def test_colluders_that_come_and_go_leave_no_site_alone(tmp_path: Path, attack: Attack) -> None:
    seven, come = (*SIX, "Rabat"), ("Suva", "Tunis")
    hospitals = Hospitals(tmp_path, dict.fromkeys((*seven, *come), (20, 10)), TREE)
    _, sums = evaluated(hospitals, plan_of(hospitals, seven, MODEL), MODEL)
    assert all(sums)
    plan = plan_of(hospitals, (*SIX, *come), beside(MODEL))  # it differs by three sites, of which two may lie
    for site in SIX:
        with attack(f"an evaluation with two that may lie in the place of one, at {site}", "repeated-question"):
            near.refuse_planned(PlanInbox(hospitals.sites[site]), plan, dict.fromkeys(plan.content.cohort))


@pytest.mark.parametrize("sites", range(3, 31))
def test_what_is_left_of_two_sums_or_of_one_without_what_is_published_is_never_one_honest_site(sites: int) -> None:
    names, may_lie = [f"site-{i}" for i in range(sites)], colluders(sites)
    assert least_apart(sites) >= max(3, may_lie + 2)
    for kept in range(1, min(max(3, may_lie + 2), sites)):
        with pytest.raises(PolicyError) as refused:
            refuse_lone_figures(names, names[kept:], sites)
        assert refused.value.cause == "lone-figures"
    refuse_lone_figures(names, names, sites)


def test_of_two_evaluations_at_once_one_is_told(hospitals: Hospitals, ends: Ends) -> None:
    models, plans = (MODEL, beside(MODEL)), []
    for sites, model in zip((FOUR, THREE), models, strict=True):
        plans.append(HostileCoordinator(hospitals, hospitals.approve(plan_of(hospitals, sites, model))))
    one, other = plans
    rounds = [c.submit(c.begin(), c.plan.content.models[0].question(m, 0)) for c, m in zip(plans, models, strict=True)]
    for coordinator, at_hand in zip(plans, rounds, strict=True):
        coordinator._step(at_hand, "agree")  # both are signed before either is told
    one._step(rounds[0], "release")
    assert rounds[0].total().survivors == FOUR
    loot = other.attempt(lambda: other._step(rounds[1], "release") or rounds[1].total())
    ends("two evaluations at once, both signed before", other, {"PLAN": THREE}, loot)

"""A training begins from weights of somebody's choice: at no crafted point, and beside no other over fewer sites."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.plans import judge, near
from client.plans.inbox import PlanInbox
from client.training.hospital_site import prepare
from common.errors import PlanError, PolicyError
from common.imaging import Pipeline
from common.models import build
from common.package import build_package, package_library
from common.package.package_file import ARRAYS, CARD, PAGE, read_package
from common.plans import floors
from common.plans.plan import RunPlan
from common.storage import tensorfile
from common.trust.documents import sign_document
from common.trust.keys import public_of
from common.types import Tensors, prefixed, under
from server.runs.begun_before import refuse_beside
from tests.attacks.conftest import Attack
from tests.attacks.hospitals import CNN, SIX, SVM, Hospitals
from tests.attacks.hostile import HostileCoordinator
from tests.attacks.test_promise_cohort import Ends
from tests.attacks.test_same_again import add_images
from tests.consortium.consortium import config_of
from tests.package.shop import KEY

pytestmark = pytest.mark.usefixtures("many_hospitals")
FOUR, THREE = SIX[:4], SIX[:3]
ODD = FOUR[3]
TREE: dict[str, Any] = CNN | {
    "likeness": False, "model": {"kind": "cnn", "width": 4},
    "federation": {"rounds": 3, "local": {"epochs": 1, "learning_rate": 0.001}},
}  # fmt: skip
RAW = SVM | {"preprocess": [], "likeness": False, "model": {"kind": "svm", "solver": "lbfgs"}}
FRESH, ONE, TWO = 0, 1, 2
"""Fresh weights, and packages of the same so many ulps apart."""


def package_of(folder: Path, tree: dict[str, Any], weights: Tensors) -> str:
    """The digest of a package with these weights, which lies here from now on."""
    config = config_of(folder, tree)
    about = {
        "name": "partner", "publisher": {"name": "partner", "roots": [public_of(KEY).hex()]},
        "labels": config.plan.labels, "model": config.model.model_dump(mode="json"), "shape": config.plan.shape,
        "preprocess": (), "recipe": Pipeline(()).fingerprint(), "fingerprint": Pipeline(()).fingerprint(),
        "threshold": 0.0, "rule": "youden", "calibration": (), "likeness": None, "licence": "CC0-1.0",
        "provenance": {
            "kind": "simulation", "run": "partner", "sites": ["Elsewhere"], "release": "0", "code": "0" * 64,
            "weights": hashlib.sha256(tensorfile.pack(weights, {})).hexdigest(), "exported_s": 0,
        },
    }  # fmt: skip
    arrays = tensorfile.pack(prefixed("weights", weights), {})
    file = build_package(about, {ARRAYS: arrays, CARD: b"card", PAGE: b"page"}, [KEY])
    (folder / "partner.consilium").write_bytes(file)
    return package_library.add(read_package(folder / "partner.consilium"), file).stem


@pytest.fixture
def hospitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hospitals:
    monkeypatch.setenv(package_library.VARIABLE, str(tmp_path / "packages"))
    return Hospitals(tmp_path, dict.fromkeys(FOUR, (20, 8)), TREE)


def plan_of(hospitals: Hospitals, ulps: int, sites: Iterable[str] = FOUR, tree: dict[str, Any] = TREE) -> RunPlan:
    """A signed plan whose training begins next to its fresh weights."""
    beside = {"initial": package_beside(hospitals, ulps)} if ulps else {}
    return hospitals.plan(f"plan.cohort=[{', '.join(sites)}]", tree=tree | beside | {"name": f"begins-{ulps}"})


def package_beside(hospitals: Hospitals, ulps: int) -> str:
    config = config_of(hospitals.folder, TREE)
    fresh = build(config.model_for(1), config.plan.shape, 2).init(1)
    return package_of(hospitals.folder, TREE, {name: w + ulps * np.spacing(w) for name, w in fresh.items()})


def first(
    hospitals: Hospitals, plan: RunPlan, by: Iterable[str] = (), silent: Iterable[str] = ()
) -> tuple[HostileCoordinator, Tensors | None]:
    """The first sum of a training; whoever is silent in it, or has not approved."""
    coordinator = HostileCoordinator(hospitals, hospitals.approve(plan, by), unheard=frozenset(silent))
    coordinator.follow(coordinator.approvals.sites)
    question = coordinator.course.request(coordinator.course.start())
    return coordinator, coordinator.attempt(lambda: coordinator.sum((), question))


def flat(sums: Tensors) -> np.ndarray:
    return np.concatenate([value.ravel() for _, value in sorted(under("delta", sums).items())])


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_where_nobody_looks_two_packages_tell_the_update_of_one_site(
    hospitals: Hospitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the next tests refuse is there."""
    monkeypatch.setattr(near, "refuse_beginning", lambda *_: None)
    _, over_all = first(hospitals, plan_of(hospitals, ONE))
    _, over_three = first(hospitals, plan_of(hospitals, TWO), silent=[ODD])
    assert over_all is not None
    assert over_three is not None
    alone = over_all["weight"][0] - over_three["weight"][0]
    assert alone == 20
    own = own_update(hospitals, plan_of(hospitals, FRESH))
    assert cosine(flat(over_all) - flat(over_three), flat(own)) > 0.99


def own_update(hospitals: Hospitals, plan: RunPlan) -> Tensors:
    """What the odd site adds by itself."""
    approvals = hospitals.approve(plan)
    coordinator = HostileCoordinator(hospitals, approvals)
    request = coordinator.course.request(coordinator.course.start())
    contribution, _ = prepare(hospitals.sites[ODD], plan).site.contribute(request, {})
    return contribution.weighted()


@pytest.mark.parametrize(("before", "after"), [(ONE, TWO), (FRESH, ONE), (ONE, FRESH)])
class TestTwoBeginnings:
    """Of which one at least is a package's, next to the other."""

    def test_a_plan_over_all_but_one_is_not_approved(
        self, hospitals: Hospitals, before: int, after: int, attack: Attack
    ) -> None:
        coordinator, sums = first(hospitals, plan_of(hospitals, before))
        assert sums, coordinator.codes()
        plan = plan_of(hospitals, after, THREE)
        for site in THREE:
            assert f"but for {ODD}" in judge.objection(hospitals.sites[site], plan)
            with attack(f"a beginning over all but one, at {site}", "repeated-question"):
                near.refuse_beginning(PlanInbox(hospitals.sites[site]), plan, dict.fromkeys(THREE))

    def test_the_fourth_approval_is_withheld(self, hospitals: Hospitals, before: int, after: int, ends: Ends) -> None:
        first(hospitals, plan_of(hospitals, before))
        coordinator, loot = first(hospitals, plan_of(hospitals, after), by=THREE)
        ends("a beginning, the fourth approval withheld", coordinator, {"repeated-question": THREE}, loot)

    def test_one_is_called_silent_in_the_second(
        self, hospitals: Hospitals, before: int, after: int, ends: Ends
    ) -> None:
        first(hospitals, plan_of(hospitals, before))
        coordinator, loot = first(hospitals, plan_of(hospitals, after), silent=[ODD])
        ends("a beginning, one called silent in the second", coordinator, {"repeated-question": THREE}, loot)

    def test_one_is_called_silent_in_the_first(self, hospitals: Hospitals, before: int, after: int, ends: Ends) -> None:
        first(hospitals, plan_of(hospitals, before), silent=[ODD])
        coordinator, loot = first(hospitals, plan_of(hospitals, after))
        ends("a beginning, one called silent in the first", coordinator, {"PLAN": THREE}, loot)

    def test_one_has_other_images(self, hospitals: Hospitals, before: int, after: int, ends: Ends) -> None:
        first(hospitals, plan_of(hospitals, before))
        add_images(hospitals, ODD, 1)
        coordinator, loot = first(hospitals, plan_of(hospitals, after))
        ends("a beginning, one with an image more", coordinator, {"repeated-question": FOUR}, loot)

    def test_over_just_the_same_it_is_summed(self, hospitals: Hospitals, before: int, after: int) -> None:
        first(hospitals, plan_of(hospitals, before))
        coordinator, sums = first(hospitals, plan_of(hospitals, after))
        assert sums, coordinator.codes()


def test_fresh_trainings_go_by_the_ledger_alone(hospitals: Hospitals) -> None:
    first(hospitals, plan_of(hospitals, FRESH))
    other = plan_of(hospitals, FRESH, THREE, TREE | {"seeds": [77]})
    coordinator, sums = first(hospitals, other, THREE)
    assert sums, coordinator.codes()


# --- the support vector machine --------------------------------------------------------------------------------------


def signed_all_the_same(hospitals: Hospitals, changes: Callable[[RunPlan], dict[str, Any]], tree: Any) -> RunPlan:
    """A plan that this program draws up for nobody."""
    content = hospitals.plan(tree=tree).content
    training = content.training.model_copy(update=changes(content))
    content = content.model_copy(update={"training": training})
    plan = RunPlan(content, sign_document("plan", content.model_dump(mode="json"), hospitals.roots))
    for site in hospitals.sites.values():
        PlanInbox(site).take_plan(plan.document.encode())
    return plan


def test_no_descent_begins_at_a_point_of_the_plan_makers_choice(hospitals: Hospitals, attack: Attack) -> None:
    crafted = np.random.default_rng(5).standard_normal((1, 784))
    digest = package_of(hospitals.folder, RAW, {"alpha": crafted, "intercept": np.array([1000.0])})
    with attack("a plan whose descent begins at a crafted point", "chosen-point"):
        hospitals.plan(tree=RAW | {"initial": digest})
    plan = signed_all_the_same(hospitals, lambda _: {"initial": digest}, RAW)
    for site in hospitals.sites.values():
        assert "single images" in judge.objection(site, plan)
    coordinator, loot = first(hospitals, plan)
    assert loot is None
    assert set(coordinator.codes().values()) == {"PLAN"}


def test_a_beginning_asks_all(hospitals: Hospitals, attack: Attack) -> None:
    config = config_of(hospitals.folder, TREE | {"initial": "0" * 64, "federation": {"rounds": 3, "fraction": 0.9}})
    with attack("a beginning over a draw", "fraction-too-small"):
        floors.refuse_chosen_point(config)
    with pytest.raises(PolicyError, match="expected 1 with initial"):
        hospitals.plan("federation.fraction=0.9", tree=TREE | {"initial": "0" * 64})


def test_server_run_foresees_both(hospitals: Hospitals) -> None:
    run = hospitals.begun(plan_of(hospitals, ONE))
    over_three = plan_of(hospitals, TWO, THREE).content
    with pytest.raises(PlanError, match=f"could tell what {ODD} adds.*Expected the same sites"):
        refuse_beside(hospitals.home, over_three)
    with pytest.raises(PlanError, match="it began from a package"):
        refuse_beside(hospitals.home, plan_of(hospitals, FRESH, THREE).content)
    over_four = plan_of(hospitals, TWO).content
    refuse_beside(hospitals.home, over_four)
    (run.folder / "rounds.jsonl").write_text(json.dumps({"round": 0, "void": False, "sites": THREE}) + "\n")
    with pytest.raises(PlanError, match=f"began over {', '.join(THREE)}"):
        refuse_beside(hospitals.home, over_four)

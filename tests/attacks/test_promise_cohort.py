"""The coordinator chooses who is in a sum: by a few sums it reads what single hospitals added (A1, A6)."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from client.plans import judge
from client.plans.inbox import PlanInbox
from client.training.hospital_site import prepare
from common.messages.transport import Request
from common.storage import tensorfile
from common.types import Tensors, prefixed, under
from server.evaluation import commands, model_store
from server.runs.run import Run
from tests.attacks.hospitals import CNN, SIX, Hospitals
from tests.attacks.hostile import HostileCoordinator, cosine, declared

Show = Callable[[str], None]
TRIPLES = ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3), (0, 1, 4), (0, 1, 5))
CASES = {name: (30 + 4 * i, 10 + i) for i, name in enumerate(SIX)}


pytestmark = pytest.mark.usefixtures("many_hospitals")


@pytest.fixture(params=[False, True], ids=["no audit", "audit"])
def audit(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def own(hospitals: Hospitals, coordinator: HostileCoordinator, site: str, request: Request) -> Tensors:
    """What a hospital adds to a sum, computed without any of the protocol."""
    home = hospitals.sites[site]
    contribution, _ = prepare(home, judge.approved_plan(home, coordinator.plan.digest)).site.contribute(request, {})
    return contribution.weighted()


def ulps(request: Request, number: int) -> Request:
    """The same training, with a learning rate so many units in the last place higher: another question."""
    rate = float(request.settings["learning_rate"])
    for _ in range(number):
        rate = float(np.nextafter(rate, 1.0))
    return replace(request, settings={**request.settings, "learning_rate": rate})


def singles(sums: dict[tuple[int, ...], Tensors], names: tuple[str, ...]) -> dict[str, Tensors]:
    """What each site added, from sums over three sites each."""
    sites = sorted({i for triple in sums for i in triple})
    matrix = np.array([[i in triple for i in sites] for triple in sums], np.float64)
    inverse = np.linalg.pinv(matrix)
    return {
        names[i]: {
            part: np.tensordot(inverse[row], np.stack([one[part] for one in sums.values()]), 1)
            for part in next(iter(sums.values()))
        }
        for row, i in enumerate(sites)
    }


def test_four_sums_over_three_hospitals_each_a_hair_apart(tmp_path: Path, show: Show) -> None:
    hospitals = Hospitals(tmp_path, CASES, CNN)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    question = coordinator.honest_training()

    def attack() -> dict[str, Tensors]:
        sums = {
            triple: coordinator.sum([SIX[i] for i in triple], ulps(question, number))
            for number, triple in enumerate(TRIPLES)
        }
        return singles(sums, SIX)

    loot = coordinator.attempt(attack) or {}
    for site, stolen in loot.items():
        true = own(hospitals, coordinator, site, question)
        alike = cosine(under("delta", stolen), under("delta", true))
        show(f"A1 four sums: {site}'s own update, cosine {alike:.7f}; {stolen['weight'][0]:.3f} cases of "
             f"{true['weight'][0]:.0f}")  # fmt: skip
        assert alike > 0.999
        assert stolen["weight"] == pytest.approx(true["weight"])
    assert len(loot) == 6


def test_two_colluders_of_six(tmp_path: Path, audit: bool, show: Show) -> None:
    hospitals = Hospitals(tmp_path, CASES, CNN, {"audit": audit})
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"), colluding=SIX[:2])
    question = coordinator.honest_training()
    coordinator.follow(SIX)
    loot = with_colluders(coordinator, question)
    for site, stolen in loot.items():
        true = own(hospitals, coordinator, site, question)
        alike = cosine(under("delta", stolen), under("delta", true))
        show(f"A1 two colluders{', all audit' if audit else ''}: {site}'s own update, cosine {alike:.7f}; "
             f"{stolen['weight'][0]:.3f} cases of {true['weight'][0]:.0f}")  # fmt: skip
        assert alike > 0.999
        assert stolen["weight"] == pytest.approx(true["weight"])
    assert len(loot) == 4


@pytest.mark.parametrize("again", ["a hair apart", "the same"])
def test_one_hospital_is_called_silent_and_asked_again(tmp_path: Path, again: str, show: Show) -> None:
    hospitals = Hospitals(tmp_path, CASES, CNN)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    question = coordinator.honest_training()
    coordinator.unheard = frozenset({"Quito"})
    five = coordinator.attempt(lambda: coordinator.sum(SIX, question))
    coordinator.unheard = frozenset()
    six = coordinator.attempt(lambda: coordinator.sum(SIX, ulps(question, int(again == "a hair apart"))))
    assert five is not None  # a site may be silent
    if six is None:
        show(f"A1 one called silent, then asked {again}: nothing; {coordinator.codes()}")
        assert again == "the same"
        return
    stolen = {part: six[part] - five[part] for part in six}
    true = own(hospitals, coordinator, "Quito", question)
    alike = cosine(under("delta", stolen), under("delta", true))
    show(f"A1 one called silent, then asked {again}: Quito's own update, cosine {alike:.7f}; "
         f"{stolen['weight'][0]:.3f} cases of {true['weight'][0]:.0f}")  # fmt: skip
    assert alike > 0.999


def test_outcomes_of_one_hospital_in_a_training(tmp_path: Path, show: Show) -> None:
    hospitals = Hospitals(tmp_path, CASES, CNN)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    question = replace(coordinator.honest_training(), kind="evaluate")
    tensors = question.tensors
    question = replace(question, settings={"recipe": question.settings["recipe"]})
    first = next(name for name, array in tensors.items() if array.dtype.kind == "f")

    def hair(number: int) -> Request:
        changed = tensors[first].copy()
        for _ in range(number):
            changed.flat[0] = np.nextafter(changed.flat[0], np.float32(1))
        return replace(question, tensors={**tensors, first: changed})

    def attack() -> dict[str, Tensors]:
        sums = {
            triple: coordinator.sum([SIX[i] for i in triple], hair(number)) for number, triple in enumerate(TRIPLES)
        }
        return singles(sums, SIX)

    loot = coordinator.attempt(attack) or {}
    for site, stolen in loot.items():
        true = own(hospitals, coordinator, site, question)
        same = all(np.allclose(stolen[part], true[part], atol=0.01) for part in ("n", "correct", "confusion"))
        show(f"A1 outcomes in a training: {site}'s own: n {stolen['n'][0]:.3f}, correct {stolen['correct'][0]:.3f} "
             f"({true['n'][0]:.0f}, {true['correct'][0]:.0f})")  # fmt: skip
        assert same
    assert len(loot) == 6


def test_outcomes_of_one_hospital_in_an_evaluation(tmp_path: Path, show: Show) -> None:
    hospitals, run = evaluation(tmp_path)
    names = run.plan.content.cohort
    papers, config = declared(hospitals, run)
    coordinator = HostileCoordinator(hospitals, run.plan, colluding=names[:2], decisions=papers, config=config)
    [model] = run.plan.content.models
    question = model.question(model_store.arrays(hospitals.home, model), 0)
    loot = with_colluders(coordinator, question)
    for site, stolen in loot.items():
        true = own(hospitals, coordinator, site, question)
        show(f"A1 evaluation, two colluders: {site}'s own: n {stolen['n'][0]:.3f}, correct {stolen['correct'][0]:.3f} "
             f"({true['n'][0]:.0f}, {true['correct'][0]:.0f})")  # fmt: skip
        assert all(np.allclose(stolen[part], true[part]) for part in ("n", "correct", "confusion"))
    assert len(loot) == 3


@pytest.mark.parametrize("few", [1])
def test_hospitals_with_one_case_cover_nobody(tmp_path: Path, few: int, show: Show) -> None:
    sizes = {name: (60, 20) if name == "Osaka" else (few, 0) for name in SIX}
    hospitals = Hospitals(tmp_path, sizes, CNN)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    training = coordinator.honest_training()
    outcomes = replace(training, kind="evaluate", settings={"recipe": training.settings["recipe"]})
    stolen = coordinator.attempt(lambda: coordinator.sum(SIX, training)) or {}
    true = own(hospitals, coordinator, "Osaka", training)
    alike = cosine(under("delta", stolen), under("delta", true))
    show(f"A6 five hospitals with {few} case: the sum over six and Osaka's own update, cosine {alike:.5f}; "
         f"{stolen['weight'][0]:.3f} cases, of which Osaka's {true['weight'][0]:.0f}")  # fmt: skip
    assert alike > 0.9
    counts = coordinator.attempt(lambda: coordinator.sum(SIX, outcomes)) or {}
    true = own(hospitals, coordinator, "Osaka", outcomes)
    show(f"A6 five hospitals without a validation case: the sum over six is Osaka's own: n {counts['n'][0]:.3f}, "
         f"correct {counts['correct'][0]:.3f} ({true['n'][0]:.0f}, {true['correct'][0]:.0f})")  # fmt: skip
    assert all(np.allclose(counts[part], true[part]) for part in ("n", "correct", "confusion"))


def with_colluders(coordinator: HostileCoordinator, question: Request) -> dict[str, Tensors]:
    """Sums over the colluders and one hospital each, of every hospital that takes part in one."""
    loot = {}
    for site in coordinator.plan.content.cohort:
        if site not in coordinator.colluding:
            stolen = coordinator.attempt(partial(coordinator.sum, [*coordinator.colluding, site], question))
            loot |= {} if stolen is None else {site: stolen}
    return loot


def evaluation(folder: Path) -> tuple[Hospitals, Run]:
    """Five hospitals that have approved the evaluation of a model which they are to run on their validation cases."""
    hospitals = Hospitals(folder, {name: CASES[name] for name in SIX[:5]}, CNN)
    trained = hospitals.approved("likeness=false")
    run = hospitals.begun(trained)
    weights = HostileCoordinator(hospitals, trained).model.init(1)
    about = {"threshold": "None"}
    tensorfile.save(run.folder / "model.safetensors", prefixed("weights", weights), about)
    terms = {"name": "look", "dataset": None, "cohort": "", "purpose": None, "days": 30.0, "root": None}
    plan = commands.draw_up(hospitals.home, Namespace(models=[run.name], fingerprint=None, **terms))
    for site in hospitals.sites.values():
        PlanInbox(site).take_plan(plan.document.encode())
    return hospitals, hospitals.begun(plan)

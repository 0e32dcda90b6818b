"""The coordinator chooses who is in a sum: by a few sums it reads what single hospitals added (A1, A6)."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from common.errors import ConsiliumError
from common.messages.transport import Request
from common.plans.plan import RunPlan
from common.plans.run_work import RunWork
from common.storage import tensorfile
from common.trust.documents import sign_document
from common.types import Tensors, prefixed
from server.evaluation import commands, model_store
from server.runs.run import Run
from tests.attacks.hospitals import CNN, SIX, Hospitals
from tests.attacks.hostile import HostileCoordinator

Show = Callable[[str], None]
Ends = Callable[..., None]
SILENT_THEN = {"a hair apart": "replayed-number", "the same": "replayed-number"}
"""How the coordinator asks a second time, and what the sites refuse it for."""
TRIPLES = ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3), (0, 1, 4), (0, 1, 5))
CASES = {name: (30 + 4 * i, 10 + i) for i, name in enumerate(SIX)}


pytestmark = pytest.mark.usefixtures("many_hospitals")


def ulps(request: Request, number: int) -> Request:
    """The same training, with a learning rate so many units in the last place higher: another question."""
    rate = float(request.settings["learning_rate"])
    for _ in range(number):
        rate = float(np.nextafter(rate, 1.0))
    return replace(request, settings={**request.settings, "learning_rate": rate})


def test_four_sums_over_three_hospitals_each_a_hair_apart(tmp_path: Path, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, CASES, CNN)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    question, before = coordinator.honest_training(), coordinator.remembered()
    loot = triples(coordinator, [ulps(question, number) for number in range(len(TRIPLES))])
    ends("A1 four sums over three sites, an ulp apart", coordinator, {"other-cohort": SIX}, loot)
    assert coordinator.remembered() == before


def test_two_colluders_of_six(tmp_path: Path, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, CASES, CNN)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"), colluding=SIX[:2])
    coordinator.follow(SIX)
    before = coordinator.remembered()
    loot = with_colluders(coordinator, coordinator.honest_training())
    ends("A1 two colluders and one site", coordinator, {"other-cohort": SIX[2:]}, loot)
    assert coordinator.remembered() == before


@pytest.mark.parametrize("again", SILENT_THEN)
def test_one_hospital_is_called_silent_and_asked_again(tmp_path: Path, again: str, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, CASES, CNN)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    question = coordinator.honest_training()
    coordinator.unheard = frozenset({"Quito"})
    assert coordinator.attempt(lambda: coordinator.sum(SIX, question)) is not None  # a site may be silent
    coordinator.unheard = frozenset()
    loot = coordinator.attempt(lambda: coordinator.sum(SIX, ulps(question, int(again == "a hair apart"))))
    ends(f"A1 one site called silent, then asked {again}", coordinator, {SILENT_THEN[again]: SIX}, loot)


def test_outcomes_of_one_hospital_in_a_training(tmp_path: Path, ends: Ends) -> None:
    hospitals = Hospitals(tmp_path, CASES, CNN)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("likeness=false"))
    coordinator.follow(SIX)
    training, before = coordinator.honest_training(), coordinator.remembered()
    question = replace(training, kind="evaluate", settings={"recipe": training.settings["recipe"]})
    first = next(name for name, array in question.tensors.items() if array.dtype.kind == "f")
    hair = [
        {**question.tensors, first: question.tensors[first] * np.float32(1 + i * 1e-6)} for i in range(len(TRIPLES))
    ]
    loot = triples(coordinator, [replace(question, tensors=tensors) for tensors in hair])
    ends("A1 outcomes over three sites in a training", coordinator, {"other-cohort": SIX}, loot)
    assert coordinator.remembered() == before


def test_outcomes_of_one_hospital_in_an_evaluation(tmp_path: Path, ends: Ends) -> None:
    coordinator = coordinator_of_evaluation(tmp_path, colluding=SIX[:2])
    [model] = coordinator.plan.content.models
    question = model.question(model_store.arrays(coordinator.hospitals.home, model), 0)
    loot = with_colluders(coordinator, question)
    ends("A1 evaluation, two colluders and one site", coordinator, {"other-cohort": SIX[2:5]}, loot)


def test_hospitals_with_one_case_cover_nobody(tmp_path: Path, show: Show) -> None:
    hospitals = Hospitals(tmp_path, {name: (60, 60) if name == "Osaka" else (1, 0) for name in SIX}, CNN, least=False)
    plan = hospitals.plan("likeness=false", tree=CNN)
    for name in SIX:
        if name == "Osaka":
            decide(hospitals.sites[name], plan, "approve", "")
            continue
        with pytest.raises(ConsiliumError) as refused:
            decide(hospitals.sites[name], plan, "approve", "")
        assert getattr(refused.value, "cause", "") == "too-few-cases"
    show("A6 five hospitals with one case → too-few-cases at 5, when they are to approve")


def triples(coordinator: HostileCoordinator, questions: list[Request]) -> dict[tuple[int, ...], Tensors]:
    """Sums over three sites each, of all that can be had; six such sums tell what each of six sites added."""
    sums = {}
    for triple, question in zip(TRIPLES, questions, strict=True):
        total = coordinator.attempt(partial(coordinator.sum, [SIX[i] for i in triple], question))
        sums |= {} if total is None else {triple: total}
    return sums


def with_colluders(coordinator: HostileCoordinator, question: Request) -> dict[str, Tensors]:
    """Sums over the colluders and one hospital each, of every hospital that takes part in one."""
    loot = {}
    for site in coordinator.plan.content.cohort:
        if site not in coordinator.colluding:
            stolen = coordinator.attempt(partial(coordinator.sum, [*coordinator.colluding, site], question))
            loot |= {} if stolen is None else {site: stolen}
    return loot


def coordinator_of_evaluation(folder: Path, colluding: Sequence[str] = ()) -> HostileCoordinator:
    """Of five hospitals that have approved the evaluation of a model, which is nobody's but its own invention."""
    hospitals = Hospitals(folder, {name: CASES[name] for name in SIX[:5]}, CNN)
    trained = hospitals.approved("likeness=false")
    run, work = Run.begin(hospitals.home, trained.plan, 0.0), RunWork.of(trained)
    tensorfile.save(run.folder / "model.safetensors", prefixed("weights", work.model.init(1)), {"threshold": "None"})
    run.write_state(replace(run.state, stage="finished"))
    terms = {"name": "look", "dataset": None, "cohort": "", "purpose": None, "days": 30.0, "root": None}
    drawn = commands.draw_up(hospitals.home, Namespace(models=[run.name], fingerprint=None, **terms))
    plan = RunPlan(drawn.content, sign_document("plan", drawn.document.content, hospitals.roots))
    for site in hospitals.sites.values():
        PlanInbox(site).take_plan(plan.document.encode())
    return HostileCoordinator(hospitals, hospitals.approve(plan), colluding)

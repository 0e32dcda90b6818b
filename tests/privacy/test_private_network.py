"""A network under a budget: DP-SGD at the sites, behind secure aggregation, paid for as a whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from client.training import private_sums
from common.algorithms.course import VOID
from common.config import Cnn, Config, Local
from common.errors import PolicyError
from common.models.clipped_gradients import images_together
from common.models.cnn import KerasCnn
from common.models.private_descent import PrivateDescent, _draw, _groups, _images_by_patient
from common.models.training_graphs import graphs
from common.privacy.price_list import GRID, SampledSteps
from common.types import Cases, Tensors, under
from server.rounds import loop
from server.rounds.transcripts import Transcripts
from tests.privacy.private_world import PrivateWorld, network_config
from tests.rounds.world import SHAPE, cases

NETWORK = Cnn(kind="cnn", architecture="plain", width=4)
STEPS = SampledSteps(steps=1, rate=1.0, clip=1.0, sigma=0.0)


@pytest.fixture(scope="module")
def finished() -> tuple[PrivateWorld, loop.LoopState]:
    world = PrivateWorld(network_config())
    return world, world.run(world.secure())


def test_a_network_is_trained_to_the_last_of_its_budget_and_evaluated_once(
    finished: tuple[PrivateWorld, loop.LoopState],
) -> None:
    world, end = finished
    assert len(end.records) == 3
    assert not any(record.void or record.refused for record in end.records)
    assert end.best_round == 2
    for account in world.accounts.values():
        assert [entry.question for entry in account.entries] == ["count/0", "train/1", "train/2", "outcomes/2"]
        assert account.cost("training") == pytest.approx(3.0)
        assert account.cost("validation") == pytest.approx(3.0)


def test_nothing_that_leaves_tells_how_many_cases_a_site_has_or_how_well_it_learns(
    finished: tuple[PrivateWorld, loop.LoopState],
) -> None:
    world, _ = finished
    kinds = world.work.question_kinds(5)
    assert sorted(kinds) == ["noised-count", "noised-outcomes", "noised-train"]
    assert {segment.name.partition("/")[0] for segment in kinds["noised-train"].layout.segments} == {"delta"}


def test_sites_that_audit_follow_a_network_with_noise(tmp_path: Path) -> None:
    world = PrivateWorld(network_config(simulate={"auditors": 5}))
    end = world.run(world.secure(transcripts=Transcripts(tmp_path)))
    assert not any(record.refused or record.void for record in end.records)


def test_a_training_that_was_answered_is_not_answered_again_with_fresh_noise() -> None:
    world = PrivateWorld(network_config())
    course, aggregator = world.work.course, world.secure()
    place = loop.begin(course, aggregator).place
    place = course.after(place, loop.ask(course, aggregator, place))
    assert loop.ask(course, aggregator, place).sums
    again = loop.ask(course, aggregator, place)
    assert not again.sums
    assert set(again.refused.values()) == {"replayed-number"}
    assert all(len(account.entries) == 2 for account in world.accounts.values())


def test_a_site_that_missed_rounds_pays_for_all_with_the_first_that_it_answers_and_each_round_once() -> None:
    world = PrivateWorld(network_config())
    account = world.accounts["a"]
    first, second = (world.schedule.price("noised-train", round) for round in (1, 2))
    account.spend(second)
    once = account.cost("training")
    account.spend(first)
    assert account.cost("training") == once < 3.0
    with pytest.raises(PolicyError, match="is for each once") as refusal:
        account.spend(second)
    assert refusal.value.cause == "replayed-number"


def test_without_a_count_the_run_is_over_and_a_lost_round_is_left_out() -> None:
    course = PrivateWorld(network_config()).work.course
    start = course.start()
    assert course.over(course.after(start, VOID)) or course.after(start, VOID).asks == "evaluate"
    assert course.algorithm.finished(course.after(start, VOID).state)
    counted = replace(start, state=start.state | {"asked": np.array(1), "patients": np.array(9.0)}, round=1)
    after = course.after(counted, VOID)
    assert course.request(after).round == 2
    assert not course.moved(counted, after)


def network(people: int | None = None) -> tuple[KerasCnn, Tensors, Cases]:
    model = KerasCnn(NETWORK, SHAPE, 2)
    own = cases(3, 24)
    if people:
        own = replace(own, people=np.arange(24) % people)
    return model, model.init(1), own


def moved(model: KerasCnn, weights: Tensors, own: Cases, steps: SampledSteps = STEPS) -> np.ndarray:
    """How far one step of gradient descent goes: the sum of the clipped gradients."""
    flat = graphs(NETWORK, SHAPE, 2, None).flat
    descent = PrivateDescent(model._graphs, None, steps, Local(optimizer="sgd"), 1.0, 1.0)
    return np.asarray(flat(weights, "w") - descent.run(flat(weights, "w"), own).numpy(), np.float64)


@pytest.mark.parametrize("people", [None, 6, 1])
def test_a_step_is_the_sum_of_the_gradients_of_each_patient_no_longer_than_the_clip(people: int | None) -> None:
    model, weights, own = network(people)
    clip = 0.05
    apart = np.zeros(0)
    for person in np.unique(own.people) if own.people is not None else range(24):
        here = own.people == person if own.people is not None else np.arange(24) == person
        gradient = whole_gradient(model, weights, Cases(own.images[here], own.labels[here]))
        gradient *= min(1.0, clip / np.linalg.norm(gradient))
        apart = gradient if not len(apart) else apart + gradient
    together = moved(model, weights, own, replace(STEPS, clip=clip))
    assert np.abs(together - apart).max() < 24 * GRID


def whole_gradient(model: KerasCnn, weights: Tensors, own: Cases) -> np.ndarray:
    """Of the mean loss, by a step of plain training."""
    from common.models import Work

    local = Local(optimizer="sgd", batch=len(own), steps=1)
    fitted = model.fit(weights, own, Work(local, 1.0, 0)).weights
    return np.concatenate([np.ravel(weights[name] - fitted[name]) for name in weights]).astype(np.float64)


def test_no_patient_moves_a_step_by_more_than_its_sensitivity_whatever_the_images() -> None:
    model, weights, own = network(8)
    wild = own.images.copy()
    wild[own.people == 5] *= 1e4
    wild[own.people == 6] = np.inf
    own = replace(own, images=wild)
    whole = moved(model, weights, own)
    most = 1.0 + np.sqrt(len(whole)) * GRID
    for person in range(8):
        stays = own.people != person
        rest = Cases(own.images[stays], own.labels[stays], own.people[stays] if own.people is not None else None)
        assert np.linalg.norm(whole - moved(model, weights, rest)) <= most
    assert np.isfinite(whole).all()


def test_the_noise_of_a_step_is_as_wide_as_the_plan_says_and_never_the_same() -> None:
    """One right run in 10^6 fails here."""
    from scipy.stats import chi2

    model, weights, own = network()
    exact = moved(model, weights, own)
    noise = [moved(model, weights, own, replace(STEPS, sigma=3.0)) - exact for _ in range(2)]
    for drawn in noise:
        statistic = float((drawn**2).sum()) / 9.0
        assert chi2.isf(1 - 1e-7, len(drawn)) < statistic < chi2.isf(1e-7, len(drawn))
    assert abs(np.corrcoef(*noise)[0, 1]) < 5.5 / np.sqrt(len(exact))


def test_who_is_in_a_step_is_drawn_by_chance_each_patient_alone() -> None:
    """One right run in 10^6 fails here."""
    drawn = [_draw(400, 0.25) for _ in range(200)]
    counts = np.bincount(np.concatenate(drawn), minlength=400)
    sizes = np.array([len(each) for each in drawn])
    assert abs(counts.sum() - 20_000) < 5.5 * np.sqrt(80_000 * 0.25 * 0.75)
    assert counts.max() < 50 + 6.5 * np.sqrt(200 * 0.25 * 0.75)
    assert 0.5 < sizes.var() / (400 * 0.25 * 0.75) < 2.0
    assert len(_draw(7, 1.0)) == 7


def test_a_patient_with_more_images_than_are_together_has_so_many_drawn_in_each_step() -> None:
    many = images_together(graphs(NETWORK, SHAPE, 2, None).count)
    people = np.repeat([0, 1, 2], [many * 2, many - 1, 2])
    images = _images_by_patient(Cases(np.zeros((len(people), 2, 2, 1), np.float32), people, people))
    groups = [[len(patient) for patient in group] for group in _groups(images, many)]
    assert groups == [[many], [many - 1], [2]]
    assert len({tuple(sorted(next(_groups(images, many))[0])) for _ in range(3)}) > 1


def test_the_coordinator_cannot_have_a_network_trained_without_the_plans_noise() -> None:
    world = PrivateWorld(network_config())
    world.secured["a"].site.steps = replace(STEPS, steps=5)  # whatever made the site, the signed plan decides
    course, aggregator = world.work.course, world.secure()
    place = loop.begin(course, aggregator).place
    place = course.after(place, loop.ask(course, aggregator, place))
    assert loop.ask(course, aggregator, place).sums
    assert world.secured["a"].site.steps == world.schedule.steps
    with pytest.raises(PolicyError, match=r"no steps of DP-SGD"):
        private_sums.weight_change(world.model, world.parts["a"].train, course.request(place), Local(), None)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("model", {"dropout": 0.1}, "model.dropout"),
        ("model", {"multilabel": True}, "classes that exclude each other"),
        ("federation", {"strategy": "scaffold", "local": {"optimizer": "sgd"}}, "federation.strategy"),
        ("federation", {"local": {"private": ["head"]}}, "all layers are shared"),
        ("federation", {"local": {"moments": "averaged"}}, "moments are fresh"),
        ("federation", {"rounds": 1}, "the first counts patients"),
        ("federation", {"fraction": 0.8}, "federation.fraction"),
        ("federation", {"secure": False}, "federation.secure"),
        ("preprocess", [{"step": "normalise"}], "by: image"),
    ],
)
def test_what_a_budget_does_not_cover_is_refused_by_name(section: str, change: object, message: str) -> None:
    tree = network_config().model_dump(mode="json", exclude_unset=True)
    tree[section] = {**tree.get(section, {}), **change} if isinstance(change, dict) else change
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(tree)


def test_weights_that_are_asked_are_what_the_sites_moved_on_average(
    finished: tuple[PrivateWorld, loop.LoopState],
) -> None:
    world, end = finished
    start = under("state", world.work.course.start().tensors())
    assert world.work.course.moved(world.work.course.start(), end.place)
    assert float(end.place.state["patients"]) == pytest.approx(0.25 * 177 / 5, abs=20)
    assert start["patients"] == 0

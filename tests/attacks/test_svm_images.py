"""No image is read from the sums of an honest descent: no three gradients lie on a line, and losses choose the step."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from benchmarks import svm_images
from benchmarks.svm_frequencies import from_moments
from benchmarks.svm_images import Watched, configuration, leftovers, lines, worst_pixels
from common.messages.answer_layout import exchanges
from common.messages.transport import Request
from common.models.svm import LinearSvm
from common.plans import floors
from common.plans.floors import local_floor
from common.types import Cases, Tensors
from server.rounds.transcripts import Transcripts
from tests.attacks.conftest import Attack
from tests.rounds.world import FIVE, World, config


def digits(n: int) -> Cases:
    data = load_digits()
    return Cases((data.images[:n] / 16).astype(np.float32)[..., None], data.target[:n].astype(np.int64) % 2)


def nearest(watched: Watched) -> float:
    points, gradients = watched.gradients()
    return float(worst_pixels(leftovers(points, gradients), flat(watched.cases)).min(initial=np.inf))


def flat(cases: Cases) -> np.ndarray:
    return cases.images.reshape(len(cases), -1)


@pytest.mark.parametrize("C", [0.1, 1.0])
def test_no_three_gradients_of_an_honest_run_lie_on_a_line(C: float) -> None:
    watched = Watched.run(digits(400), configuration(C), 4)
    points, _ = watched.gradients()
    assert len(points) > 5
    assert lines(points) == 2
    kinds = [r.kind for r, _ in watched.asked if r.kind not in ("statistics", "evaluate")]
    assert kinds[:2] == ["gram", "gradient"]
    assert all(kinds[i - 1] == "loss" for i in range(2, len(kinds)) if kinds[i] == "gradient")


def test_gradients_at_the_points_of_one_line_would_show_an_image() -> None:
    """What a run of release 0.1 gave: the attack finds what is there, so that finding nothing means something."""
    watched = Watched.run(digits(400), configuration(1.0))
    model = LinearSvm(watched.config.model_for(1), (8, 8, 1), 2)
    along = []
    for request, _ in watched.asked:
        if request.kind == "loss":
            alpha, intercept = request.tensors["weights/alpha"], request.tensors["weights/intercept"]
            for a, b in zip(alpha, intercept, strict=True):
                sums = model.gradient({"alpha": a, "intercept": b}, watched.cases)
                along.append((np.append(a, b), sums["gradient"][0]))
    found = [leftovers(*map(np.stack, zip(*along[i : i + 4], strict=True))) for i in range(0, len(along), 4)]
    assert worst_pixels(np.concatenate(found), flat(watched.cases)).min() < 0.02


@pytest.mark.skipif(not svm_images.DATA.exists(), reason=f"{svm_images.DATA} is not there")
@pytest.mark.slow
def test_second_moments_at_their_floor_hardly_tell_who_is_in_them_and_all_of_them_do() -> None:
    cases = svm_images.real_cases(4708)
    floor = local_floor(5 * 17 * 18 // 2, 5)
    assert floors.frequencies_for([floor] * 5) == 4
    assert floors.frequencies_for([floor - 1] * 5) == 0
    assert from_moments(cases, 3 * floor, 4) < 0.6
    assert from_moments(cases, 3 * floor, 28) > 0.95  # what release 0.2 asked for


@pytest.mark.skipif(not svm_images.DATA.exists(), reason=f"{svm_images.DATA} is not there")
@pytest.mark.parametrize(("n", "C"), [(200, 0.01), (300, 0.1)])
def test_no_real_image_is_read_from_a_run(n: int, C: float) -> None:
    assert nearest(Watched.run(svm_images.real_cases(n), configuration(C))) >= 0.1


def test_a_gradient_at_several_points_has_no_layout_and_no_answer(attack: Attack, tmp_path: Path) -> None:
    world = World(config("svm", rounds=3, select="last"))
    layouts = exchanges(world.config, world.model, (12, 12, 1), 2, len(FIVE))
    d = 12 * 12 + 1
    shapes = {kind: {s.name: s.shape for s in layouts[kind].layout.segments} for kind in ("loss", "gradient")}
    assert shapes == {"loss": {"loss": (4, 1), "n": (1,)}, "gradient": {"loss": (1,), "gradient": (1, d), "n": (1,)}}
    assert "hessian" not in layouts
    settings = {"recipe": world.pipeline.fingerprint()}
    points = {"weights/alpha": np.zeros((4, 1, d - 1)), "weights/intercept": np.zeros((4, 1))}
    with attack("the gradient at the four points of a line", "WeightsError"):
        world.site("a").contribute(Request("gradient", 0, points, settings), {})
    more = {name: np.concatenate([value] * 2) for name, value in points.items()}
    contribution, _ = world.site("a").contribute(Request("loss", 0, more, settings), {})
    with attack("the loss at more points than four", "WeightsError"):
        layouts["loss"].layout.encode(contribution.weighted(), 1.0, bytes(32))


def test_the_course_asks_losses_and_one_gradient_and_a_gradient_again(tmp_path: Path) -> None:
    world = World(config("svm", rounds=9, select="last"))
    aggregator, place, seen = world.secure(transcripts=Transcripts(tmp_path)), world.course.start(), []
    while place.round < 3:
        request = world.course.request(place)
        seen.append((place.number, request.kind))
        place = world.course.after(place, aggregator.total(request, world.course.cohort(place), 1.0))
    assert seen[:2] == [(5, "gram"), (6, "gradient")]
    assert seen[2:5] == [(8, "loss"), (9, "gradient"), (10, "evaluate")]
    assert place.asks == "train"
    slope = world.course.after(place, aggregator.total(world.course.request(place), tuple(FIVE), 1.0))
    again = world.course.reached(slope, slope.number + 3)
    assert again is not None
    assert (slope.asks, again.asks, again.round) == ("slope", "slope", slope.round + 1)
    one, other = world.course.request(slope), world.course.request(again)
    assert other == replace(one, round=other.round, tensors=other.tensors)
    assert all(np.array_equal(value, other.tensors[name]) for name, value in one.tensors.items())


def with_active(cases: Cases, active: int) -> Tensors:
    """Weights at which so many cases of class 1 are inside the margin, and all of class 0: a direction that tells the
    cases' scores apart, and an intercept between two of them."""
    way = np.random.default_rng(1).normal(size=144)
    scores = np.sort(flat(cases)[cases.labels == 1] @ way)
    bounds = np.concatenate([[scores[0] - 1], scores, [scores[-1] + 1]])
    gap = (bounds[active] + bounds[active + 1]) / 2
    scale = 1e-3  # so flat that all of class 0 stays inside: what is above the gap has s f(x) > 1
    return {"weights/alpha": scale * way[None], "weights/intercept": np.array([1 - scale * gap])}


def test_a_gradient_over_a_handful_of_active_cases_is_refused(attack: Attack) -> None:
    """A point at which all cases of a site but one are outside the margin shows that one's image, over all sites."""
    world = World(config("svm", rounds=3))
    site, cases = replace(world.site("a"), least_active=5), world.parts["a"].train
    settings = {"recipe": world.pipeline.fingerprint()}
    for what, weights in (
        ("all cases of class 1 but three outside the margin", with_active(cases, 3)),
        ("all cases of class 1 but one outside the margin", with_active(cases, 1)),
    ):
        with attack(what, "too-few-active"):
            site.contribute(Request("gradient", 0, weights, settings), {})
        with attack(f"{what}, newton's matrices", "too-few-active"):
            site.contribute(Request("hessian", 0, weights, settings), {})
    for active in (0, 5):
        site.contribute(Request("gradient", 0, with_active(cases, active), settings), {})


def test_other_frequencies_than_the_runs_are_refused(attack: Attack) -> None:
    world = World(config("svm", rounds=3))
    recipe = world.pipeline.fingerprint()
    for what, asked in (
        ("more frequencies", 8),
        ("all frequencies", 12),
        ("none", 0),
        ("a truth", True),
        ("text", "4"),
    ):
        with attack(f"second moments of {what}", "changed-question"):
            world.site("a").contribute(Request("gram", 0, {}, {"recipe": recipe, "frequencies": asked}), {})
    with attack("second moments without a word on frequencies", "changed-question"):
        world.site("a").contribute(Request("gram", 0, {}, {"recipe": recipe}), {})
    contribution, _ = world.site("a").contribute(Request("gram", 0, {}, {"recipe": recipe, "frequencies": 4}), {})
    assert {name: value.shape for name, value in contribution.sums.items()} == {"gram": (153,), "rest": (1,), "n": (1,)}

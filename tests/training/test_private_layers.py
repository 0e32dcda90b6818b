"""Private layers (FedBN, FedPer) are trained at their site, stay there, and are in no sum."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.plans import kept_state
from client.training.site import Site
from common.algorithms import RoundTotal
from common.algorithms.course import Course
from common.config import Config, from_tree
from common.errors import ConfigError, IdentityError
from common.imaging import Pipeline
from common.messages.answer_layout import exchanges
from common.models import build
from common.models.private_layers import PRIVATE, PRIVATE_MOMENTS, private_names
from common.types import Cases, SiteCases, under

SHAPE = (8, 8, 1)
HERE = Path("private.yaml")
SETTINGS = {
    "name": "private", "data": {"kind": "synthetic", "sites": 3, "cases": 40, "size": 16},
    "sites": {"split": "natural"},
    "preprocess": [{"step": "resize", "size": 8}, {"step": "normalise", "by": "image"}],
    "model": {"kind": "cnn", "architecture": "groupnorm", "width": 4}, "likeness": False,
    "federation": {"rounds": 3, "select": "last", "local": {"private": ["norm", "head"], "learning_rate": 0.01}},
}  # fmt: skip


def config(**federation: object) -> Config:
    return from_tree({**SETTINGS, "federation": {**SETTINGS["federation"], **federation}}, HERE)


def site_of(settings: Config, name: str, seed: int) -> Site:
    random = np.random.default_rng(seed)
    labels = np.arange(24) % 2
    images = (random.normal(size=(24, *SHAPE)) + labels[:, None, None, None]).astype(np.float32)
    cases = Cases(images, labels)
    model = build(settings.model, SHAPE, 2)
    return Site(SiteCases(name, cases, cases, cases), Pipeline(settings.preprocess), model, settings.federation.local)


def rounds(settings: Config) -> tuple[dict[str, dict[str, np.ndarray]], Course, dict[str, np.ndarray]]:
    sites = {name: site_of(settings, name, seed) for seed, name in enumerate(("a", "b"))}
    course = Course.of(settings, sites["a"].model, 1, ("a", "b"))
    place, states = course.start(), {name: {} for name in sites}
    while not course.over(place):
        sums: dict[str, np.ndarray] = {}
        for name, site in sites.items():
            contribution, states[name] = site.contribute(course.request(place), states[name])
            for what, value in contribution.weighted().items():
                sums[what] = sums.get(what, 0) + value
        place = course.after(place, RoundTotal(sums, ("a", "b"), ()))
    return states, course, course.algorithm.weights(place.state)


@pytest.mark.parametrize("moments", ["fresh", "averaged"])
def test_what_is_private_differs_from_site_to_site_and_the_shared_model_keeps_its_first_values(moments: str) -> None:
    local = {"private": ["norm", "head"], "moments": moments, "steps": 3}
    states, course, weights = rounds(config(secure=False, local=local))
    first = course.algorithm.weights(course.start().state)
    stays = private_names(first, ("norm", "head"))
    assert {name.partition("/")[0] for name in stays} == {"norm1", "norm2", "norm3", "logits"}
    for name, w in weights.items():
        assert np.array_equal(w, first[name]) == (name in stays)
    own, other = (under(PRIVATE, states[name]) for name in ("a", "b"))
    assert set(own) == stays
    assert not any(np.array_equal(own[name], other[name]) for name in stays)
    assert bool(under(PRIVATE_MOMENTS, states["a"])) == (moments == "averaged")


@pytest.mark.parametrize("moments", ["fresh", "averaged"])
def test_no_sum_has_room_for_what_is_private(moments: str) -> None:
    settings = config(local={"private": ["head"], "moments": moments})
    layout = exchanges(settings, build(settings.model, SHAPE, 2), SHAPE, 2, 3)["train"].layout
    assert not [segment.name for segment in layout.segments if "logits" in segment.name]
    assert [segment.name for segment in layout.segments if "conv1" in segment.name]


def test_an_evaluation_is_of_the_sites_own_layers() -> None:
    states, course, _ = rounds(config(secure=False))
    site, place = site_of(config(), "a", 0), replace(course.start(), asks="evaluate")
    with_own, _ = site.contribute(course.request(place), states["a"])
    without, _ = site.contribute(course.request(place), {})
    assert with_own.sums["loss_sum"] != without.sums["loss_sum"]


def test_alone_there_is_nothing_to_keep_private() -> None:
    from common.algorithms.course import for_one

    assert for_one(config()).federation.local.private == ()


@pytest.mark.parametrize(("changes", "words"), [
    ({"model": {"kind": "cnn", "architecture": "plain"}}, "plain has no normalisation"),
    ({"model": {"kind": "svm"}}, "the SVM has one layer"),
    ({"federation": {"local": {"private": ["head"]}}}, "set select to last"),
    ({"federation": {"select": "last", "patience": 2, "local": {"private": ["head"]}}}, "no patience"),
    ({"federation": {"select": "last", "strategy": "scaffold", "local": {"private": ["head"], "optimizer": "sgd"}}},
     "scaffold"),
    ({"federation": {"select": "last", "local": {"private": ["conv"]}}}, "private"),
    ({"sites": {"split": "natural", "test_on": "common"}}, "expected own"),
])  # fmt: skip
def test_what_cannot_be_private_is_refused_with_words(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_tree({**SETTINGS, **changes}, HERE)


def test_a_hospital_keeps_its_layers_sealed(tmp_path: Path) -> None:
    key, state = b"k" * 32, {f"{PRIVATE}/logits/bias": np.ones(2, np.float32)}
    kept_state.write(tmp_path, key, state)
    assert b"logits" not in (tmp_path / kept_state.FILE).read_bytes()
    assert np.array_equal(kept_state.read(tmp_path, key)[f"{PRIVATE}/logits/bias"], np.ones(2))
    with pytest.raises(IdentityError):
        kept_state.read(tmp_path, b"x" * 32)
    assert kept_state.read(tmp_path / "none", key) == {}

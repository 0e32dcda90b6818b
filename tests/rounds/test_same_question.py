"""One question in two spellings: a word that nobody reads does not make it another one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.errors import PolicyError
from common.messages.answer_layout import question
from common.messages.transport import Answer, Reply, Request
from common.metrics import out_of_distribution
from common.types import Tensors, prefixed
from tests.rounds.world import FIVE, SGD, World, config


@pytest.fixture(scope="module")
def world() -> World:
    return World(config(local=SGD))


def evaluate(world: World) -> Request:
    return Request("evaluate", 0, prefixed("weights", world.model.init(1)), {"recipe": world.pipeline.fingerprint()})


def test_a_model_with_a_word_beside_it_is_not_counted_again_without_one_site() -> None:
    world, mute = World(config(local=SGD)), set[str]()

    def between(name: str, answer: Answer) -> Answer:
        def maybe(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            silent = name in mute and request.kind == "secagg/submit"
            return (Reply({}), state) if silent else answer(request, state)

        return maybe

    aggregator, asked = world.secure(between), evaluate(world)
    assert aggregator.total(asked, tuple(FIVE), 1.0).sites == tuple(FIVE)
    mute.add("c")
    for other in (
        asked,
        replace(asked, settings={**asked.settings, "nonce": 1}),
        replace(asked, tensors={**asked.tensors, "junk/x": np.zeros(1)}),
    ):
        total = aggregator.total(other, tuple(FIVE), 1.0)
        assert not total.sums
        assert set(total.refused.values()) <= {"repeated-question", "changed-question"}
        assert total.refused.keys() == set("abde")


@pytest.mark.parametrize(
    ("kind", "settings", "tensors"),
    [
        ("evaluate", {"nonce": 1}, {}),
        ("evaluate", {"round": 1}, {}),
        ("evaluate", {}, {"junk": np.zeros(1)}),
        ("evaluate", {}, {"control/x": np.zeros(1)}),
        ("evaluate", {}, {"recipe/x": np.zeros(1)}),
        ("evaluate", {}, {"likeness/distances": np.zeros(1)}),
        ("statistics", {"pixels": 0}, {}),
        ("statistics", {"pixels": 0, "likeness": 2}, {}),
        ("statistics", {"pixels": 0, "likeness": True}, {}),
        ("statistics", {"pixels": 0, "likeness": 1.0}, {}),
        ("statistics", {"pixels": "", "likeness": 1}, {}),
        ("statistics", {"pixels": 0, "likeness": 1, "salt": 3}, {}),
        ("statistics", {"pixels": 0, "likeness": 1}, {"recipe/mean": np.zeros(1)}),
    ],
)
def test_more_than_a_question_takes_is_refused(
    kind: str, settings: dict[str, Any], tensors: dict[str, Any], world: World
) -> None:
    asked = replace(evaluate(world), kind=kind)
    tensors = {**(asked.tensors if kind == "evaluate" else {}), **tensors}
    odd = replace(asked, tensors=tensors, settings={**asked.settings, **settings})
    assert question(odd) != question(asked)
    with pytest.raises(PolicyError, match="more or less than it takes") as refused:
        world.site("a").contribute(odd, {})
    assert refused.value.cause == "changed-question"


def test_what_the_course_asks_is_just_what_is_taken(world: World) -> None:
    assert world.site("a").contribute(world.asked(), {})[0].means
    asked = evaluate(world)
    looks = prefixed("likeness", out_of_distribution.sums(world.parts["a"].train.images))
    assert "distances" in world.site("a").contribute(replace(asked, tensors=dict(asked.tensors) | looks), {})[0].sums
    flags = {"pixels": 1, "likeness": 1}
    statistics = Request("statistics", 0, {}, {**asked.settings, **flags})
    assert {"x", "likeness/sum"} <= set(world.site("a").contribute(statistics, {})[0].sums)

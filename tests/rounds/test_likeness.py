"""How the training images look is gathered as sums: the same under masks, and followed by sites that audit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.algorithms.course import STATISTICS_ATTEMPTS, VOID, Course, Place
from common.config import Config
from common.metrics import out_of_distribution
from common.types import under
from server.rounds.transcripts import Transcripts
from tests.rounds.world import SGD, World, config, same_bits


def looking(model: str = "cnn", **told: Any) -> Config:
    return config(model, likeness=True, **{"rounds": 2, "local": SGD} | told)


@pytest.mark.parametrize("model", ["cnn", "svm"])
def test_masked_sums_say_the_same_of_the_images_as_all_images_together(model: str) -> None:
    told = looking(model, rounds=8, select="last") if model == "svm" else looking()
    world = World(told)
    last = world.run(world.secure())
    everything = np.concatenate([part.train.images for part in world.parts.values()])
    whole = out_of_distribution.sums(everything)
    for name, value in whole.items():
        assert np.allclose(last.place.appearance[name], value, atol=1e-6), name
    asked = [r for _, r, _ in world.sent if r.kind == "secagg/submit" and "likeness/n" in r.tensors]
    assert len(asked) == len(world.parts), "distances are the same whatever the model, and asked once"
    validation = np.concatenate([part.validation.images for part in world.parts.values()])
    reference = out_of_distribution.Reference.of(last.place.appearance)
    assert reference is not None
    assert np.array_equal(last.best_counts["distances"], out_of_distribution.histogram(reference.distances(validation)))
    assert same_bits(last.state, World(told).run(World(told).secure()).state)


def test_gathering_it_leaves_the_model_as_it_is() -> None:
    one, other = World(looking()), World(config(rounds=2, local=SGD))
    assert same_bits(one.run(one.secure()).state, other.run(other.secure()).state)


def test_a_site_that_audits_comes_to_the_same_sums(tmp_path: Path) -> None:
    world = World(looking(rounds=3, simulate={"auditors": 2}))
    last = world.run(aggregator := world.secure(transcripts=Transcripts(tmp_path / "t")))
    place = Place.of(under("lineage/place", aggregator.transport.states["a"]))
    assert place.number >= last.place.number - 1
    assert same_bits(place.appearance, last.place.appearance)


def test_where_nobody_answers_the_run_goes_on_without_it() -> None:
    world = World(looking())
    course: Course = world.course
    place = course.start()
    assert place.asks == "statistics"
    for _ in range(STATISTICS_ATTEMPTS):
        assert not course.over(place)
        place = course.after(place, VOID)
    assert place.asks == "train"
    assert out_of_distribution.Reference.of(place.appearance) is None
    site = world.site("a")
    counted, _ = site.answer(course.request(replace(place, asks="evaluate")), {})
    assert counted.sums["distances"].sum() == 0
    # With mean and variance to wait for there is nothing to go on with.
    assert course.over(replace(course.start(), round=STATISTICS_ATTEMPTS))

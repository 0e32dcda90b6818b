"""What sites refuse: named with its code beside silence, and the end of a run that it leaves without a sum."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import DataError, PolicyError, QuorumError
from common.messages.transport import Answer, Reply, Request
from common.refusals import CODES, RefusedError, advice, final, sentence
from common.storage import tensorfile
from common.types import Tensors
from server.report import participation
from server.rounds import checkpoint, loop
from server.rounds.loop import LoopState
from tests.rounds.world import FIVE, SGD, World, config

Which = Callable[[str, Request], bool]
CNN: dict[str, Any] = {"rounds": 4, "local": SGD}


def refusing(which: Which, code: str = "changed-plan") -> Callable[[str, Answer], Answer]:
    """Sites that refuse to submit, where `which` says so of a site and its request."""

    def between(name: str, answer: Answer) -> Answer:
        def maybe(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            if request.kind == "secagg/submit" and which(name, request):
                raise PolicyError(code, "patient 17") if not code.isupper() else DataError("patient 17")
            return answer(request, state)

        return maybe

    return between


def states(world: World, which: Which, code: str = "changed-plan") -> list[LoopState]:
    """Every round's state, up to the end or to the error that ends the run."""
    return list(loop.run(world.course, world.secure(refusing(which, code))))


def submitted(world: World) -> list[str]:
    return [name for name, request, _ in world.sent if request.kind == "secagg/submit"]


def test_a_site_that_refuses_is_named_apart_from_one_that_is_silent() -> None:
    world = World(config(rounds=8, local=SGD), drop=0.3, seed=1)
    standing = loop.begin(world.course, aggregator := world.secure(refusing(lambda name, request: name == "c", "DATA")))
    for _ in range(8):
        standing = loop.run_round(world.course, aggregator, standing)
    for record in standing.records:
        assert not set(record.refused) & {*record.sites, *record.dropped}
        assert {*record.refused, *record.sites, *record.dropped} <= set(FIVE)
        assert record.refused in ({"c": "DATA"}, {})
    assert any(record.refused and record.dropped for record in standing.records)


def test_more_refusals_for_good_than_a_sum_can_spare_end_the_run_at_once_and_fewer_do_not() -> None:
    one = World(config(**CNN))
    last = states(one, lambda name, request: name == "c")[-1]
    assert [record.refused for record in last.records] == [{"c": "changed-plan"}] * 4
    assert last.best_round >= 0
    assert participation.trainers(
        participation.of_rounds(FIVE, [vars(record) for record in last.records], last.best_round)
    ) == ["a", "b", "d", "e"]
    two = World(config(**CNN))
    with pytest.raises(RefusedError, match=r"2 of 5 refused: changed-plan \(a key period .*\), c, d\. "):
        states(two, lambda name, request: name in "cd")
    assert submitted(two) == ["a", "b", "e"]  # asked once


def test_the_svm_cannot_spare_one() -> None:
    world = World(config("svm", rounds=9))
    with pytest.raises(RefusedError, match="1 of 5 refused: changed-plan"):
        states(world, lambda name, request: name == "c")
    assert len(submitted(world)) == 4


def test_what_somebody_can_mend_does_not_end_a_run_and_is_named_when_it_has_failed() -> None:
    world = World(config(**CNN))
    with pytest.raises(QuorumError, match=r"nothing was trained: 4 of 4 rounds .* 5 of 5 refused: DATA \(") as failed:
        states(world, lambda name, request: True, "DATA")
    assert not isinstance(failed.value, RefusedError)
    assert "ilent" not in str(failed.value)
    assert "patient" not in str(failed.value)


def test_a_question_that_is_refused_for_good_ends_a_run_only_where_it_would_come_again() -> None:
    averaging = World(config(**CNN))
    last = states(averaging, lambda name, request: request.round == 0, "repeated-question")[-1]
    assert [record.void for record in last.records] == [True, False, False, False]
    descent = World(config("svm", rounds=9))
    with pytest.raises(RefusedError, match="5 of 5 refused: repeated-question"):
        states(descent, lambda name, request: request.round == 0, "repeated-question")
    assert final({"a": "repeated-question"}, same_again=False) == {}


def test_a_model_that_was_kept_before_the_end_is_not_lost() -> None:
    world = World(config(rounds=9, local=SGD, evaluate_every=1))
    found = states(world, lambda name, request: request.round >= 3, "run-is-over")
    assert [record.round for record in found[-1].records] == [0, 1, 2, 3]
    assert 0 <= found[-1].best_round <= 2
    assert found[-1].refusals == dict.fromkeys(FIVE, "run-is-over")
    assert loop.is_over(world.course, found[-1])
    assert not loop.is_over(world.course, found[-2])


def test_a_refused_evaluation_is_named_in_its_round() -> None:
    world = World(config(**CNN))
    last = states(world, lambda name, request: request.settings["asked"] == "evaluate" and name == "c", "DATA")[-1]
    assert [(record.refused, record.unjudged) for record in last.records] == [({}, {"c": "DATA"})] * 4
    assert all(record.validation["n"] == 48 for record in last.records)


def test_statistics_that_are_refused_for_good_are_asked_once() -> None:
    means = config(**CNN).model_copy(update={"preprocess": config("svm").preprocess})
    world = World(
        config(
            **CNN,
        ).model_validate(means.model_dump() | {"preprocess": [NORMALISE]})
    )
    with pytest.raises(RefusedError, match="5 of 5 refused: repeated-question"):
        states(world, lambda name, request: True, "repeated-question")
    assert submitted(world) == []


NORMALISE = {"step": "normalise", "by": "federated", "per": "pixel"}


def test_lost_likeness_is_remembered_with_its_reason_and_the_run_goes_on() -> None:
    world = World(config(likeness=True, **CNN))
    asked = list[str]()

    def which(name: str, request: Request) -> bool:
        asked.extend([name] if request.settings["asked"] == "statistics" else [])
        return request.settings["asked"] == "statistics"

    last = states(world, which, "repeated-question")[-1]
    assert last.best_round >= 0
    assert last.statistics is not None
    assert last.statistics.refused == dict.fromkeys(FIVE, "repeated-question")
    assert not last.place.appearance["n"]
    assert len(asked) == 5


def test_a_checkpoint_brings_it_back_and_one_of_before_still_reads(tmp_path: Path) -> None:
    world = World(config(likeness=True, **CNN))
    last = states(world, lambda name, request: name == "c")[-1]
    told = replace(last, refusals={"c": "run-is-over"})
    checkpoint.save(tmp_path / "c", told, {}, "digest")
    found = checkpoint.load(tmp_path / "c", tuple(FIVE), "digest")
    assert found is not None
    assert (found[0].records, found[0].statistics, found[0].refusals) == (last.records, last.statistics, told.refusals)
    tensors, header = tensorfile.load(tmp_path / "c")
    standing = json.loads(header["standing"])
    del standing["statistics"], standing["refused"], header["sha256"]
    for record in standing["records"]:
        del record["refused"], record["unjudged"]
    header["standing"] = json.dumps(standing)
    header["sha256"] = checkpoint._sha256(tensors, header)
    (tmp_path / "old").mkdir()
    tensorfile.save(tmp_path / "old" / "c", tensors, header)
    before = checkpoint.load(tmp_path / "old" / "c", tuple(FIVE), "digest")
    assert before is not None
    assert [record.sites for record in before[0].records] == [record.sites for record in last.records]
    assert not any(record.refused for record in before[0].records)


def test_a_sentence_names_sites_where_not_all_refused_and_every_code_with_its_meaning() -> None:
    said = sentence({"b": "DATA", "a": "DATA", "c": "clock"}, 4, {"clock": "an hour late"})
    assert said == "3 of 4 refused: DATA (the site's data set cannot be used as it is), a, b; clock (an hour late), c"
    assert sentence({}, 4) == ""
    assert advice(["repeated-question"]).count("](") == 0
    assert "`" not in advice(CODES)

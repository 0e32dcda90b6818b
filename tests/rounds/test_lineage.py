"""A site that audits recomputes every model from what all sites sent, whoever was away or killed meanwhile."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.plans import question_ledger
from client.plans.inbox import PlanPapers
from client.training.audit_store import AuditNotes, AuditStateStore, FolderStore
from client.training.auditing_site import AuditingSite
from client.training.run_binding import RunBinding
from client.training.secure_site import SecuredSite
from client.training.sent_vector import VectorFile
from client.training.site_storage import SealedStateFile
from common.algorithms.course import VOID, Place
from common.config import Config
from common.errors import StageError, WireError
from common.messages.transport import Answer, Outcome, Reply, Request
from common.secagg.round_messages import Agreement, Seeds, Sum, Survivors
from common.secagg.transcript import read_frames
from common.types import Tensors, under
from server.rounds import checkpoint, loop
from server.rounds.loop import LoopState
from server.rounds.secure_sum import SecureSum
from server.rounds.transcripts import Transcripts
from tests.rounds.world import FIVE, SGD, World, config, same_bits

LUCK = {"drop": 0.12, "slow": 0.08, "seed": 3}


def audited(model: str = "cnn", auditors: int = 2, **told: Any) -> Config:
    return config(model, **{"simulate": {"auditors": auditors}, "local": SGD} | told)


def kept(folder: Path) -> Transcripts:
    return Transcripts(folder / "transcripts")


def where(aggregator: SecureSum, site: str = "a") -> Place:
    """Where a simulated site that audits stands."""
    return Place.of(under("lineage/place", aggregator.transport.states[site]))


def pages_shown(world: World, site: str = "a") -> list[tuple[int, int]]:
    """Numbers of the questions whose pages a site was shown, alone or with a question, and in which rounds."""
    names = {"secagg/audit": "number", "secagg/submit": "page"}
    shown = [(r.settings.get(names.get(r.kind, "")), r.round) for name, r, _ in world.sent if name == site]
    return [(int(number), round) for number, round in shown if number is not None]


def normalised(told: Config) -> Config:
    steps = [{"step": "normalise", "by": "federated", "per": "pixel"}]
    return Config.model_validate(told.model_dump() | {"preprocess": steps})


@pytest.mark.parametrize(
    "told",
    [
        audited(rounds=5),
        audited(rounds=5, strategy="scaffold", epoch_rounds=3),
        audited(rounds=4, strategy="fedadam", evaluate_every=2),
        audited(rounds=4, local={"batch": 16, "steps": 2, "moments": "averaged"}),
        normalised(audited("svm", rounds=25, select="last")),
        audited(rounds=6, fraction=0.8),
    ],
    ids=["fedavg", "scaffold", "fedadam", "averaged-moments", "svm-normalised", "a-share-of-the-sites"],
)
def test_an_auditing_site_ends_at_the_coordinators_model_in_spite_of_dropouts(told: Config, tmp_path: Path) -> None:
    world, unwatched = World(told, **LUCK), World(told, **LUCK)
    last = world.run(aggregator := world.secure(transcripts=kept(tmp_path)))
    for enrolment in unwatched.enrolled:
        unwatched.enrolled[enrolment] = replace(unwatched.enrolled[enrolment], audit=False)
    assert same_bits(last.state, unwatched.run(unwatched.secure()).state)  # to audit changes nothing
    assert any(r.void for r in last.records) or any(r.dropped for r in last.records)
    present = [name for name in ("a", "b") if where(aggregator, name).number >= last.place.number - 1]
    assert present
    for name in present:
        moved = {k: v for k, v in where(aggregator, name).state.items() if k not in ("missed", "counted")}
        assert same_bits(moved, {k: last.state[k] for k in moved})
    assert "lineage" not in "".join(aggregator.transport.states["c"])


def test_a_site_that_was_away_is_shown_what_it_missed_before_it_is_asked_again(tmp_path: Path) -> None:
    world = World(audited(rounds=4, auditors=1))

    def between(name: str, answer: Answer) -> Answer:
        def away(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            if name == "a" and request.round == 1:
                return Reply({"message": np.zeros(0, np.uint8)}), state
            return answer(request, state)

        return away

    last = world.run(aggregator := world.secure(between, kept(tmp_path)))
    assert last.records[1].dropped == ("a",)
    assert last.records[2].dropped == ()
    assert (8, 2) in pages_shown(world)  # round 1's training, in round 2
    assert same_bits(where(aggregator).state, last.state)


def resumed(told: Config, folder: Path, luck: dict[str, float]) -> LoopState:
    """One round in a process of its own, as `simulate.py` goes on."""
    world = World(told, **luck)
    aggregator = world.secure(transcripts=(keep := kept(folder)))
    found = checkpoint.load(folder / "c", tuple(FIVE), "digest")
    keep.discard(since=found[0].place.number if found else 0)
    if found:
        aggregator.transport.states.update(found[1])
    standing = next(loop.run(world.course, aggregator, found[0] if found else None))
    checkpoint.save(folder / "c", standing, aggregator.transport.states, "digest")
    return standing


@pytest.mark.parametrize("strategy", ["scaffold", "fedavgm"])
def test_a_simulation_resumed_from_any_checkpoint_is_audited_to_the_same_bits(strategy: str, tmp_path: Path) -> None:
    told = audited(rounds=5, strategy=strategy)
    expected = World(told, **LUCK)
    last = expected.run(expected.secure(transcripts=kept(tmp_path / "whole")))
    for _ in range(5):
        standing = resumed(told, tmp_path, LUCK)
    assert same_bits(standing.state, last.state)


def test_a_page_goes_with_the_next_question_and_the_last_one_by_itself(tmp_path: Path) -> None:
    world = World(audited(rounds=3, auditors=2))
    world.run(world.secure(transcripts=kept(tmp_path)))
    alone = [(name, r.settings["number"]) for name, r, _ in world.sent if r.kind == "secagg/audit"]
    *before, last = [number for number, _ in kept(tmp_path).numbered()]
    assert alone == [("a", last), ("b", last)]
    for name in FIVE:
        assert [number for number, _ in pages_shown(world, name)] == ([*before, last] if name in "ab" else [])


def test_a_coordinator_that_ends_before_the_last_page_was_shown_shows_it_in_its_next_process(tmp_path: Path) -> None:
    world, keep = real(tmp_path, audited(rounds=3, auditors=1)), kept(tmp_path)
    standing = loop.begin(world.course, aggregator := world.secure(transcripts=keep))
    while not loop.is_over(world.course, standing):
        standing = loop.run_round(world.course, aggregator, standing)
    assert not same_bits(Place.of(FolderStore(tmp_path / "a").load("place")).tensors(), standing.place.tensors())
    world.secure(transcripts=keep).finish(1.0)
    assert same_bits(Place.of(FolderStore(tmp_path / "a").load("place")).tensors(), standing.place.tensors())


def test_a_site_that_comes_late_is_shown_all_from_the_first_question_on(tmp_path: Path) -> None:
    told = audited(rounds=5, strategy="fedavgm", auditors=1)
    world, late = World(told), World(told)
    world.enrolled["a"] = replace(world.enrolled["a"], audit=False)
    standing = loop.begin(world.course, early := world.secure(transcripts=kept(tmp_path)))
    for _ in range(2):
        standing = loop.run_round(world.course, early, standing)
    last = late.run(aggregator := late.secure(transcripts=kept(tmp_path)), standing)
    assert [number for number, _ in pages_shown(late)] == [number for number, _ in kept(tmp_path).numbered()]
    assert same_bits(where(aggregator).state, last.state)
    turned = {n: v + 1e-6 if n == "weights/dense/bias" else v for n, v in last.state.items()}
    place = replace(last.place, round=4, state=turned)
    assert loop.ask(late.course, aggregator, place).refused == {"a": "replayed-number"}


def test_a_late_site_believes_no_model_without_the_sums_before_it(tmp_path: Path) -> None:
    world, late = World(audited(rounds=5, auditors=1)), World(audited(rounds=5, auditors=1))
    world.enrolled["a"] = replace(world.enrolled["a"], audit=False)
    standing = loop.begin(world.course, early := world.secure())
    standing = loop.run_round(world.course, early, standing)
    asked = loop.ask(late.course, late.secure(transcripts=kept(tmp_path)), standing.place)
    assert asked.refused == {"a": "missing-transcript"}


def test_rounds_that_came_to_nothing_need_no_transcript(tmp_path: Path) -> None:
    world = World(audited(rounds=5, auditors=1))
    place = replace(world.course.start(), round=2)
    loop.ask(world.course, aggregator := world.secure(transcripts=kept(tmp_path)), place)
    aggregator.finish(1.0)
    assert where(aggregator).asks == "evaluate"


# --- a round that failed late ---------------------------------------------------------------------------------------


def test_a_round_that_failed_after_shares_were_released_is_accounted_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world, silent = World(audited(rounds=3, auditors=1)), {"secagg/release"}

    def between(name: str, answer: Answer) -> Answer:
        def maybe(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            if name in ("d", "e") and request.round == 0 and request.kind in silent:
                return Reply({"message": np.zeros(0, np.uint8)}), state
            return answer(request, state)

        return maybe

    with caplog.at_level(logging.WARNING, "consilium"):
        last = world.run(aggregator := world.secure(between, kept(tmp_path)))
    assert [r.void for r in last.records] == [True, False, False]
    assert "a: 'train' of round 0 was void after shares were released" in caplog.text
    assert "none are shown of d, e" in caplog.text
    assert same_bits(where(aggregator).state, last.state)


# --- a coordinator that is killed -----------------------------------------------------------------------------------


class Killed(BaseException):
    """What ends the coordinator's process."""


def ask_and_die(world: World, aggregator: SecureSum, kind: str) -> None:
    """Ask the first question; the coordinator ends when the last answer to a step of this kind was spooled."""
    exchange = aggregator.transport.exchange

    def dying(requests: Mapping[str, Request], timeout_s: float) -> Iterator[tuple[str, Outcome]]:
        yield from exchange(requests, timeout_s)
        if any(request.kind == kind for request in requests.values()):
            raise Killed

    aggregator.transport.exchange = dying  # type: ignore[method-assign]
    with pytest.raises(Killed):
        loop.ask(world.course, aggregator, world.course.start())


def test_a_sum_that_was_made_before_the_coordinator_was_killed_is_taken_up_and_not_asked_for_again(
    tmp_path: Path,
) -> None:
    whole = World(audited(rounds=3, auditors=1))
    expected = whole.run(whole.secure(transcripts=kept(tmp_path / "whole")))
    world, keep = real(tmp_path, audited(rounds=3, auditors=1)), kept(tmp_path)
    standing = next(loop.run(world.course, world.secure(transcripts=keep)))
    loop.ask(world.course, world.secure(transcripts=keep), standing.place)  # killed before the checkpoint was written
    sent = len(world.sent)
    last = world.run(world.secure(transcripts=keep), standing)
    again = [r for _, r, _ in world.sent[sent:] if r.kind == "secagg/submit" and r.settings["asked"] == "train"]
    assert {r.round for r in again} == {2}
    assert same_bits(last.state, expected.state)
    assert same_bits(Place.of(FolderStore(tmp_path / "a").load("place")).state, last.state)


def test_a_spool_that_was_cut_off_after_the_survivors_agreed_tells_that_the_round_is_void(tmp_path: Path) -> None:
    world, keep = World(audited(rounds=3, auditors=1)), kept(tmp_path)
    ask_and_die(world, world.secure(transcripts=keep), "secagg/release")
    whole = (tmp_path / "transcripts" / ".0000-train").read_bytes()
    for cut, void in ((len(whole) - 10, False), (len(whole) - 600, True), (len(whole) // 2, None)):
        (tmp_path / "transcripts" / ".0000-train").write_bytes(whole[:cut])
        keep.salvage(world.consortium.pins)
        found = keep.read(world.asked(), world.consortium.pins)
        assert (None if found is None else found.total is None) == void
        assert not list((tmp_path / "transcripts").glob(".*"))
        (tmp_path / "transcripts" / "0000-train").unlink(missing_ok=True)


def test_a_round_in_which_the_coordinator_was_killed_is_void_and_the_run_goes_on_under_audit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "transcripts"
    world, keep = real(tmp_path, audited(rounds=3, auditors=1)), kept(tmp_path)
    first = world.secure(transcripts=keep)
    ask_and_die(world, first, "secagg/release")
    with (folder / ".0000-train").open("rb+") as file:
        file.truncate((folder / ".0000-train").stat().st_size - 500)  # in the middle of the releases
    second = replace(world.secure(transcripts=keep), lost_round=0)
    with caplog.at_level(logging.WARNING, "consilium"):
        last = world.run(second, loop.begin(world.course, second))
    assert [r.void for r in last.records] == [True, False, False]
    assert "a: 'train' of round 0 was void after shares were released" in caplog.text
    assert same_bits(Place.of(FolderStore(tmp_path / "a").load("place")).state, last.state)


# --- a site that is killed ------------------------------------------------------------------------------------------


class Real(World):
    """Sites that keep all they need on their disks, and are started anew for every message."""

    folder: Path

    def answer(self, name: str) -> Answer:
        (room := self.folder / name).mkdir(exist_ok=True)
        enrolment, own = self.enrolled[name], self.site(name)
        store, begun = SealedStateFile(room / "state", enrolment.sealing_key), self.binding(name)
        binding = RunBinding(begun.plan, begun.decision, PlanPapers(room, begun.plan.content.dataset))

        def restarted(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            secured = SecuredSite(
                own, enrolment, binding, store, question_ledger.in_folder(room), VectorFile(room / "masked")
            )
            answers = AuditingSite(secured, room).answer if enrolment.audit else secured.answer
            return answers(request, state)

        return restarted


def real(folder: Path, told: Config) -> Real:
    world = Real(told)
    world.folder = folder
    return world


def test_a_site_that_restarts_before_every_message_follows_from_its_files(tmp_path: Path) -> None:
    world = real(tmp_path, audited(rounds=3, auditors=1, strategy="scaffold"))
    last = world.run(aggregator := world.secure(transcripts=kept(tmp_path)))
    assert same_bits(Place.of(FolderStore(tmp_path / "a").load("place")).state, last.state)
    assert not any(name.startswith("lineage") for name in aggregator.transport.states["a"])
    assert not list((tmp_path / "b").glob("lineage-*"))
    assert AuditNotes.load(FolderStore(tmp_path / "a")).owed == {}


def test_a_message_that_comes_a_second_time_owes_the_site_nothing(tmp_path: Path) -> None:
    world = real(tmp_path, audited(rounds=3, auditors=1))
    last = list[Request]()

    def between(name: str, answer: Answer) -> Answer:
        def again(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            if name == "a" and request.kind == "secagg/submit" and last:
                with pytest.raises(StageError):
                    answer(last[-1], state)
            if name == "a" and request.kind == "secagg/release":
                last.append(request)
            return answer(request, state)

        return again

    assert not any(r.void for r in world.run(world.secure(between, kept(tmp_path))).records)


def test_transcripts_stay_for_the_whole_run_and_hold_no_vector(tmp_path: Path) -> None:
    world = World(audited(rounds=4, auditors=1))
    world.run(world.secure(transcripts=kept(tmp_path)))
    pages = [path for _, path in kept(tmp_path).numbered()]
    assert len(pages) == 8
    for page in pages:
        with page.open("rb") as file:
            kinds = [message[4] for message in read_frames(file)][4:]
        assert kinds == [Survivors.KIND, *[Agreement.KIND] * 5, Seeds.KIND, Sum.KIND]


# --- pieces ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "state"])
def test_a_transcript_in_pieces_is_put_together_in_order_alone(kind: str, tmp_path: Path) -> None:
    shelf = FolderStore(tmp_path) if kind == "folder" else AuditStateStore({})
    assert shelf.add(0, b"ab") == 2
    assert shelf.add(2, b"cd") == 4
    for wrong in (3, 5, 2):
        with pytest.raises(WireError, match="expected 4"):
            shelf.add(wrong, b"x")
    with shelf.transcript() as file:
        assert file.read() == b"abcd"
    assert shelf.add(0, b"new") == 3
    shelf.clear()
    with pytest.raises(WireError, match="expected 0"):
        shelf.add(3, b"x")


def test_a_transcript_crosses_in_pieces_where_it_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.rounds.audit_feed.PIECE_BYTES", 5000)
    world = World(audited(rounds=2, auditors=1))
    last = world.run(aggregator := world.secure(transcripts=kept(tmp_path)))
    pieces = [r for name, r, _ in world.sent if r.kind == "secagg/audit"]
    assert len(pieces) > 8
    assert max(p.tensors["message"].size for p in pieces) == 5000
    assert same_bits(where(aggregator).state, last.state)


# --- the course -----------------------------------------------------------------------------------------------------


def test_a_place_survives_the_way_over_arrays() -> None:
    world = World(normalised(audited()))
    place = replace(world.course.start(), normalisation={"mean": np.ones((2, 2)), "variance": np.ones((2, 2))}, round=3)
    back = Place.of(place.tensors())
    assert (back.asks, back.round, back.number) == (place.asks, place.round, place.number)
    assert same_bits(back.state, place.state)
    assert same_bits(back.normalisation, place.normalisation)
    for wrong in ({}, {"asks": np.array(7), "round": np.array(1)}, {"asks": np.array([1, 2]), "round": np.array(0)}):
        with pytest.raises(WireError):
            Place.of(wrong)


def test_the_questions_numbers_rise_along_the_course() -> None:
    course = World(normalised(audited(rounds=3))).course
    place, numbers = course.start(), []
    while not course.over(place):
        numbers.append(place.number)
        place = course.after(place, VOID)
    assert numbers == list(range(5))  # nobody ever answered with mean and variance
    place = replace(place, asks="train", round=0)
    assert [course.reached(place, n) is not None for n in (5, 6, 8, 11, 14)] == [True, False, True, True, False]


def test_auditors_need_secure_aggregation() -> None:
    with pytest.raises(Exception, match="auditors recompute the masked sums"):
        audited(secure=False)

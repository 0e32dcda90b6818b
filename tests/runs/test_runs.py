"""A run at the coordinator: its folder, and that it goes on from whatever moment it was killed at."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from client.app import ContextState
from client.plans.decide import decide
from client.setup import enrol
from client.training import hospital_site
from common.errors import PlanError, RunError
from common.messages.transport import Answer, InMemory, Reply, Request
from common.plans.plan import RunPlan
from common.types import Tensors
from server.consortium import membership
from server.rounds.round_record import RoundRecord
from server.runs import driver
from server.runs.run import Run
from server.superlink.exchange_progress import ExchangeProgress
from tests.consortium.consortium import NAMES, SVM, Consortium

RECORD = RoundRecord(0, 1.0, 10, 20, NAMES, (), False, None, {"auc": 0.5})


@pytest.fixture(autouse=True)
def every_hospital_keeps_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all of them share a process; in life each has one, which keeps one plan's images."""
    prepared = lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__)
    monkeypatch.setattr(hospital_site, "read_once", prepared)


@pytest.fixture(autouse=True)
def void_rounds_are_not_mended_by_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LONGEST_PAUSE_S", 0.01)


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path / "life")


class Hospitals(InMemory):
    """All hospitals of a consortium in this process: they keep their state in their folders, as in life."""

    def __init__(self, consortium: Consortium, plan: RunPlan) -> None:
        super().__init__({name: self.answer(name) for name in consortium.sites})
        self.consortium, self.plan = consortium, plan
        self.there = set(consortium.sites)
        self.submitted: list[tuple[str, int, str]] = []
        """Who sent its numbers in which round, and of what kind."""

    def answer(self, name: str) -> Answer:
        def answer(request: Request, state: Tensors) -> Any:
            site = self.consortium.sites[name]
            node = hospital_site.hospital_site(site, self.plan.digest)
            reply, _ = node.answer(request, ContextState(Context(7, 0, {}, RecordDict(), {})))
            if request.kind == "secagg/submit" and request.settings["asked"] != "statistics":
                self.submitted.append((name, request.round, str(request.settings["asked"])))
            return reply, state

        return answer

    def online(self) -> tuple[str, ...]:
        return tuple(name for name in self.sites() if name in self.there)


# --- the folder -----------------------------------------------------------------------------------------------------


def test_a_run_waits_then_runs_then_is_over(consortium: Consortium) -> None:
    plan = consortium.plan()
    run = Run.begin(consortium.home, plan, 3600)
    assert (run.name, run.plan, run.state.stage, run.rounds(), run.progress()) == (plan.name, plan, "waiting", [], None)
    assert 3590 < run.state.begin_at_s - time.time() <= 3600
    run.write_state(replace(run.state, stage="running", cohort=NAMES, attempts=2))
    assert (run.state.stage, run.state.cohort, run.state.attempts) == ("running", NAMES, 2)
    run.end("failed", "why")
    assert (run.state.stage, run.state.why, run.state.cohort) == ("failed", "why", NAMES)
    assert run.state.ended_s > 0


def test_of_one_plan_there_is_one_run(consortium: Consortium) -> None:
    plan = consortium.plan()
    Run.begin(consortium.home, plan, 0)
    with pytest.raises(PlanError, match="there is a run of this plan already"):
        Run.begin(consortium.home, plan, 0)


def test_a_run_is_found_by_as_much_of_its_name_as_is_unique(consortium: Consortium) -> None:
    home = consortium.home
    with pytest.raises(PlanError, match="none yet; submit one: python -m server run PLAN"):
        Run.find(home)
    one, other = (Run.begin(home, consortium.plan(f"name={name}"), 0) for name in ("lungs", "liver"))
    assert [Run.find(home, name).name for name in ("", "lu", "liver", one.plan.digest[:10])] == [
        other.name, one.name, other.name, one.name,
    ]  # fmt: skip
    with pytest.raises(PlanError, match=f"2 of that name; there is: {one.name}, {other.name}"):
        Run.find(home, "l")
    (home.folder / "runs" / "half").mkdir()  # killed before the plan was written
    assert [run.name for run in Run.all(home)] == [one.name, other.name]


def test_a_damaged_state_is_named_and_not_taken_for_a_new_run(consortium: Consortium) -> None:
    run = consortium.begun(consortium.plan())
    (run.folder / "state.json").write_text('{"stage": "run', encoding="utf-8")
    with pytest.raises(RunError, match=r"state\.json: damaged"):
        _ = run.state


def test_one_process_at_a_time_conducts_a_run(consortium: Consortium) -> None:
    run = consortium.begun(consortium.plan())
    assert run.lock.holder() is None
    hold = f"""
import sys
from pathlib import Path
from server.consortium.home import Home
from server.runs.run import Run
with Run.find(Home(Path({str(consortium.home.folder)!r}))).lock.hold():
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert run.lock.holder() == other.pid
        with pytest.raises(RunError, match="another process conducts it"), run.lock.hold():
            pass
        other.kill()
    assert run.lock.holder() is None
    with run.lock.hold():
        assert run.lock.holder() == os.getpid()


@pytest.mark.parametrize("torn", ["", '{"round": 1, "sec', '{"round": 1}', "\n\n", "\0\0\0", "\xff"])
def test_half_a_line_costs_no_other(torn: str, consortium: Consortium) -> None:
    run = consortium.begun(consortium.plan())
    run.remember([RECORD])
    with (run.folder / "rounds.jsonl").open("ab") as file:
        file.write(torn.encode("latin-1"))
    run.remember([RECORD, *(replace(RECORD, round=number) for number in (1, 2))])
    assert [told["round"] for told in run.rounds()] == [0, 1, 2]
    whole = run.rounds()[2]
    assert {name: whole[name] for name in ("round", "seconds", "sites", "validation")} == {
        "round": 2, "seconds": 1.0, "sites": list(NAMES), "validation": {"auc": 0.5},
    }  # fmt: skip


def test_what_is_being_waited_for_is_there_to_look_at_and_never_in_the_way(consortium: Consortium) -> None:
    run = consortium.begun(consortium.plan())
    asking = ExchangeProgress("secagg/submit", 3, ("Lisbon",), 1.0, 2.0, {"Osaka": "DATA"})
    run.write_progress(asking)
    assert run.progress() == asking
    (run.folder / "progress.json").write_bytes(b"\0\0")  # after a power cut
    assert run.progress() is None
    (run.folder / "progress.json").unlink()
    (run.folder / "progress.json").mkdir()
    run.write_progress(asking)  # it cannot be written, and the run goes on


def test_decisions_under_older_keys_count_no_more(consortium: Consortium) -> None:
    run = consortium.begun(consortium.plan())
    lisbon = consortium.sites["Lisbon"]
    membership.admit(consortium.home, enrol.rekey(lisbon, ""), consortium.roots, new_keys=True)
    membership.revoke(consortium.home, "Osaka", consortium.roots)
    assert set(run.decisions()) == {"Nairobi"}
    decide(lisbon, run.plan, "approve", "")
    consortium.bring("Lisbon", run.plan)
    assert set(run.decisions()) == {"Lisbon", "Nairobi"}


# --- conducting it --------------------------------------------------------------------------------------------------


def test_a_run_is_conducted_to_its_end(consortium: Consortium) -> None:
    run = consortium.begun(consortium.plan())
    driver.carry_out(run, Hospitals(consortium, run.plan))
    assert (run.state.stage, run.state.why) == ("finished", "")
    result = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    assert [told["round"] for told in run.rounds()] == [0, 1, 2, 3]
    assert result["rounds"] == run.rounds()
    assert (result["plan"], result["sites"], result["dataset"]) == (run.plan.digest, list(NAMES), "chest")
    assert result["best_round"] == 3
    assert 0 <= result["validation"]["auc"] <= 1


def test_a_run_in_which_no_site_trained_has_failed_and_says_why(consortium: Consortium) -> None:
    run = consortium.begun(consortium.plan("preprocess=[]"))
    way = Hospitals(consortium, run.plan)
    way._answers = dict.fromkeys(NAMES, silent)
    driver.carry_out(run, way)
    assert run.state.stage == "failed"
    assert "nothing was trained: 4 of 4 rounds did not have the answers they need" in run.state.why
    assert all(told["void"] for told in run.rounds())
    assert not (run.folder / "model.safetensors").exists()


def silent(request: Request, state: Tensors) -> Any:
    return Reply({}), state


def test_no_round_is_begun_while_too_few_are_connected(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LOOK_EVERY_S", 0.01)
    run = consortium.begun(consortium.plan())
    way = Hospitals(consortium, run.plan)
    way.there = {"Lisbon"}
    thread = threading.Thread(target=driver.carry_out, args=(run, way))
    thread.start()
    while (asking := run.progress()) is None:
        time.sleep(0.01)
    assert (asking.kind, asking.waiting) == ("gather", ("Nairobi", "Osaka"))
    assert way.submitted == []
    way.there = set(NAMES)
    thread.join(60)
    assert run.state.stage == "finished"
    assert not any(told["void"] for told in run.rounds())


def test_a_round_that_would_be_void_without_one_of_the_sites_waits_for_it_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(driver, "LONGEST_PAUSE_S", 60.0)
    four = SVM | {"data": SVM["data"] | {"sites": 4}}
    consortium = Consortium(tmp_path / "life", (*NAMES, "Quito"), tree=four)
    run = consortium.begun(consortium.plan(tree=four))
    way = Hospitals(consortium, run.plan)
    way.there = set(NAMES)  # enough for a secure sum, and too few for an SVM's
    thread = threading.Thread(target=driver.carry_out, args=(run, way))
    thread.start()
    while (asking := run.progress()) is None:
        time.sleep(0.01)
    assert (asking.kind, asking.waiting) == ("gather", ("Quito",))
    assert way.submitted == []
    way.there = {*NAMES, "Quito"}
    thread.join(60)
    assert run.state.stage == "finished"
    assert not any(told["void"] for told in run.rounds())


def test_a_run_whose_rounds_are_done_waits_for_nobody(consortium: Consortium) -> None:
    run = consortium.begun(consortium.plan())
    way = Hospitals(consortium, run.plan)
    driver.carry_out(run, way)
    result = (run.folder / "result.json").read_bytes()
    (run.folder / "result.json").unlink()
    run.write_state(replace(run.state, stage="running"))
    asked, way.there = list(way.submitted), set()
    driver.carry_out(run, way)  # would wait for ever
    assert run.state.stage == "finished"
    assert (run.folder / "result.json").read_bytes() == result
    assert way.submitted == asked


def test_a_defect_is_not_called_the_end_of_a_run(consortium: Consortium) -> None:
    run = consortium.begun(consortium.plan())

    class Defective(Hospitals):
        def exchange(self, requests: Any, timeout_s: float) -> Iterator[Any]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        driver.carry_out(run, Defective(consortium, run.plan))
    assert run.state.stage == "running"  # the keeper begins it again


# --- killed, and resumed --------------------------------------------------------------------------------------------


class Snapshots:
    """Copies of a whole consortium at every moment at which the coordinator could be killed: before each write."""

    def __init__(self, life: Path, after: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.life, self.after, self.taken = life, after, list[Path]()
        replaced, opened = Path.replace, Path.open

        def replace_(path: Path, target: Any) -> Path:
            if life / "consortium" in path.parents:
                self.take()
            return replaced(path, target)

        def open_(path: Path, mode: str = "r", *more: Any, **further: Any) -> Any:
            page = path.parent.name == "transcripts" and "w" in mode  # nothing has been asked yet
            if page or (path.name == "rounds.jsonl" and "a" in mode):
                self.take()
            return opened(path, mode, *more, **further)

        monkeypatch.setattr(Path, "replace", replace_)
        monkeypatch.setattr(Path, "open", open_)

    def take(self) -> None:
        copy = self.after / str(len(self.taken))
        shutil.copytree(self.life, copy)
        self.taken.append(copy)


def weights_of(run: Run) -> str:
    return str(json.loads((run.folder / "result.json").read_text(encoding="utf-8"))["weights_sha256"])


@pytest.mark.slow
def test_a_run_killed_between_any_two_writes_loses_no_completed_round_and_sends_nothing_twice(
    consortium: Consortium, tmp_path: Path
) -> None:
    run = consortium.begun(consortium.plan())
    with pytest.MonkeyPatch.context() as patched:
        snapshots = Snapshots(consortium.folder, tmp_path / "after", patched)
        driver.carry_out(run, way := Hospitals(consortium, run.plan))
    assert len(snapshots.taken) >= 4 * 4  # begun, two copies and a line for each round
    outcomes = dict[int, set[str]]()
    for folder in snapshots.taken:
        world = consortium.at(folder)
        again = Run.find(world.home)
        if again.last_round in (1, 2):  # as in the rounds before and after
            continue
        done = len(again.rounds())
        before = [told for told in way.submitted if told[1] < done or (told[1] == done == again.last_round)]
        driver.carry_out(again, resumed := Hospitals(world, again.plan))
        assert again.state.stage == "finished", again.state.why
        assert [told["round"] for told in again.rounds()] == [0, 1, 2, 3]
        void = [told["round"] for told in again.rounds() if told["void"]]
        assert void in ([], [again.last_round], [done])
        assert not {told for told in before if told[2] != "evaluate"} & set(resumed.submitted)
        outcomes.setdefault(void[0] if void else -1, set()).add(weights_of(again))
    assert outcomes[-1] == {weights_of(run)}  # killed between two rounds: as if nothing had been
    assert set(outcomes) == {-1, 0, 3}
    assert all(len(weights) == 1 for weights in outcomes.values())  # killed in a round: as if it had been void


def test_one_damaged_copy_of_the_checkpoint_costs_a_run_nothing_and_two_end_it(
    consortium: Consortium, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = consortium.begun(consortium.plan())
    driver.carry_out(run, Hospitals(consortium, run.plan))
    run.write_state(replace(run.state, stage="running"))
    weights = weights_of(run)
    for name in ("federated.checkpoint", "federated.checkpoint.copy"):
        (file := run.folder / name).write_bytes(file.read_bytes()[:-100])
        with caplog.at_level(logging.WARNING, "consilium"):
            driver.carry_out(run, way := Hospitals(consortium, run.plan))
        assert f"{file}: " in caplog.text
        assert (run.state.stage, weights_of(run), way.submitted) == ("finished", weights, [])
    for name in ("federated.checkpoint", "federated.checkpoint.copy"):
        (run.folder / name).write_bytes(b"")
    driver.carry_out(run, Hospitals(consortium, run.plan))
    assert run.state.stage == "failed"
    assert "Delete this checkpoint and its copy" in run.state.why


# --- a full disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    (disk := tmp_path / "disk").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_at_the_coordinator_pauses_a_run_and_loses_nothing(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(driver, "FULL_DISK_S", 0.02)
    consortium = Consortium(tmp_path / "life")
    run = consortium.begun(consortium.plan())
    expected = consortium.at(shutil.copytree(consortium.folder, tmp_path / "expected"))
    driver.carry_out(undisturbed := Run.find(expected.home), Hospitals(expected, run.plan))
    on_disk = replace(run, folder=Path(shutil.copytree(run.folder, small_disk / run.name)))
    waits, filler = list[bool](), small_disk / "filler"

    class Filling(Hospitals):
        def exchange(self, requests: Any, timeout_s: float) -> Iterator[Any]:
            """Fills the disk whenever sites are asked."""
            with suppress(OSError), filler.open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            return super().exchange(requests, timeout_s)

    def room_is_made(seconds: float) -> None:
        waits.append(filler.exists())
        assert len(waits) < 1000
        filler.unlink(missing_ok=True)

    monkeypatch.setattr(driver.time, "sleep", room_is_made)
    with caplog.at_level(logging.ERROR, "consilium"):
        driver.carry_out(on_disk, Filling(consortium, run.plan))
    assert on_disk.state.stage == "finished", on_disk.state.why
    assert sum(waits) >= 4
    assert "the disk is full" in caplog.text
    assert weights_of(on_disk) == weights_of(undisturbed)
    assert [told["round"] for told in on_disk.rounds()] == [0, 1, 2, 3]

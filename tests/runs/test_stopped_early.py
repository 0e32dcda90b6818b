"""A coordinator that is stopped between a released sum and what it writes of it: what was summed is not lost, and what
nobody was shown is not carried. Real folders; kills at the writes, and in the middle of a release."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.training import hospital_site
from common.errors import PlanError, PolicyError
from common.plans import carry
from server.rounds import checkpoint
from server.runs import driver
from server.runs.carrying import foresee_anew
from server.runs.run import Run
from server.runs.unsaved_sums import all_sums
from tests.runs.test_carrying import CNN, FOUR, THREE, Life, parts
from tests.runs.test_runs import Hospitals


@pytest.fixture(autouse=True)
def every_hospital_keeps_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    monkeypatch.setattr(driver, "LONGEST_PAUSE_S", 0.01)


class Killed(BaseException):
    """What no handler of the coordinator catches."""


class KilledInRelease(Hospitals):
    """The coordinator is killed when all shares of its first sum have come, and nothing was done with them."""

    def exchange(self, requests: Any, timeout_s: float) -> Iterator[Any]:
        yield from super().exchange(requests, timeout_s)
        if any(request.kind == "secagg/release" for request in requests.values()):
            raise Killed


def killed_at_save(number: int) -> Callable[..., None]:
    """In the place of the checkpoint of this number."""
    saves = [number]

    def save(*arguments: Any) -> None:
        saves[0] -= 1
        if saves[0] < 0:
            raise Killed
        saved(*arguments)

    saved = checkpoint.save
    return save


def stopped(life: Life, at_save: int) -> Run:
    """A run of four, killed at a checkpoint and then stopped."""
    run = life.begun_with(life.drawn_up(FOUR))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoint, "save", killed_at_save(at_save))
        with pytest.raises(Killed):
            driver.carry_out(run, life.hospitals(run))
    run.end("stopped", "stopped by the coordinator.")
    return run


@pytest.mark.slow
def test_what_was_summed_in_a_round_that_was_never_written_is_read_from_its_transcripts(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    run = stopped(life, at_save=1)  # statistics are on the disk; of the first round nothing is
    assert set(carry.fingerprints(run.summed)) == {"recipe", "likeness"}
    plan = life.drawn_up(THREE)
    assert parts(plan) == {"recipe", "likeness", "gram"}
    assert "second moments" in life.foresight_words
    assert set(carry.fingerprints(run.summed)) == parts(plan)
    again = life.begun_with(plan)
    driver.carry_out(again, life.hospitals(again))
    assert again.state.stage == "finished", again.state.why


@pytest.mark.parametrize(
    "where", [pytest.param("after the sites were shown it", marks=pytest.mark.slow), "in the middle of the release"]
)
def test_a_sum_that_nobody_was_surely_shown_is_asked_again_of_the_same_sites_and_of_no_others(
    where: str, tmp_path: Path
) -> None:
    life = Life(tmp_path / "life")
    if where.startswith("after"):
        run = stopped(life, at_save=0)
    else:
        run = life.begun_with(life.drawn_up(FOUR))
        there = life.hospitals(run)
        with pytest.raises(Killed):
            driver.carry_out(run, KilledInRelease(there.consortium, run.plan))
        run.end("stopped")
    assert all_sums(run).unseen == ("likeness", "recipe")
    with pytest.raises(PlanError, match=rf"Run {run.name} was stopped .* tell Quito.s.*plan.cohort=.Lisbon, Nairobi"):
        life.foresight(THREE)
    anew = life.drawn_up(THREE, anew=True)  # and who is not told by the coordinator says no before it signs
    with pytest.raises(PolicyError, match=f"summed in run {run.name}, and it was over Lisbon") as refusal:
        decide(life.sites["Nairobi"], anew, "approve", "")
    assert refusal.value.cause == "repeated-question"
    again = life.lived(FOUR)
    assert "these same sites are asked once more" in life.foresight_words
    assert again.state.stage == "finished", again.state.why
    assert parts(life.drawn_up(THREE)) == {"recipe", "likeness", "distances", "gram"}


@pytest.mark.slow
def test_a_stopped_run_is_looked_through_once_and_one_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    run = stopped(life, at_save=1)
    first = all_sums(run)
    written = (run.folder / "summed.safetensors").stat().st_mtime_ns
    assert carry.fingerprints(all_sums(run).arrays) == carry.fingerprints(first.arrays)
    assert (run.folder / "summed.safetensors").stat().st_mtime_ns == written
    run.write_state(replace(run.state, stage="running"))  # it was not stopped after all
    driver.carry_out(run, life.hospitals(run))
    assert run.state.stage == "finished", run.state.why
    assert carry.fingerprints(run.summed)["gram"] == carry.fingerprints(first.arrays)["gram"]


def test_a_restored_site_refuses_to_be_asked_anew_by_its_ledger_alone(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    run = life.lived(FOUR)
    lisbon = life.sites["Lisbon"]
    for path in PlanInbox(lisbon).room(run.plan.digest).iterdir():
        if path.name not in ("plan.json", "decision.json"):  # what a backup has
            path.unlink()
    with pytest.raises(PolicyError, match=f"{run.name}, and it was over Lisbon, Nairobi, Osaka, Quito"):
        decide(lisbon, life.drawn_up(THREE, anew=True), "approve", "")
    assert decide(lisbon, life.drawn_up(FOUR, anew=True), "approve", "").verdict == "approve"
    assert not decide(lisbon, life.drawn_up(THREE), "approve", "").commitment.knows  # carried: nothing is asked


@pytest.mark.slow
def test_the_coordinator_who_asks_anew_reads_who_will_refuse(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    run = life.lived(FOUR, *CNN)
    life.foresight(THREE)
    words = foresee_anew(life.home, life.ahead).words
    assert f"Lisbon, Nairobi, Osaka answered in run {run.name}, over Lisbon, Nairobi, Osaka, Quito" in words
    assert "They refuse when they are to approve (repeated-question)" in words
    life.foresight(FOUR)
    assert "approve only where their images are as they were then" in foresee_anew(life.home, life.ahead).words

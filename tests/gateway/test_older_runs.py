"""A run that an older release began cannot be continued: the coordinator ends it and says why."""

from dataclasses import replace
from pathlib import Path

import pytest

from server.runs import driver
from server.runs.run import Run
from server.service.scheduler import Scheduler
from tests.consortium.consortium import NAMES, Consortium
from tests.gateway.running_gateway import Door
from tests.runs.test_runs import Hospitals

WHY = "a run of release 0.1 or 0.2 cannot be continued"


def of_an_older_release(consortium: Consortium) -> Run:
    run = Run.begin(consortium.home, consortium.plan(), 0.0)
    run.write_state(replace(run.state, stage="running", cohort=NAMES, flower_run=7, attempts=1))
    return run


def test_a_run_of_an_older_release_is_ended_with_the_reason(door: Door, tmp_path: Path) -> None:
    run = of_an_older_release(consortium := Consortium(tmp_path))
    scheduler = Scheduler(consortium.home, door.control)
    scheduler._watch(run)
    assert run.state.stage == "failed"
    assert WHY in run.state.why
    assert "python -m server run PLAN" in run.state.why
    assert (run.state.attempts, run.state.flower_run) == (1, 7)  # nothing was begun


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'[{"content": {"site": "Lisbon"}}]'])
def test_a_run_whose_approvals_are_damaged_is_ended_and_stops_no_other(
    content: bytes, door: Door, tmp_path: Path
) -> None:
    run = of_an_older_release(consortium := Consortium(tmp_path))
    (run.folder / "approvals.json").write_bytes(content)
    Scheduler(consortium.home, door.control)._watch(run)
    assert run.state.stage == "failed"
    assert run.state.why


def test_a_process_that_is_handed_such_a_run_asks_no_site(tmp_path: Path) -> None:
    run = of_an_older_release(consortium := Consortium(tmp_path))
    driver.carry_out(run, way := Hospitals(consortium, run.plan))
    assert run.state.stage == "failed"
    assert WHY in run.state.why
    assert way.submitted == []

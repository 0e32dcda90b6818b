"""A run whose process has not shown up: begun again, and given more time each time."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from server.service import scheduler
from server.service.scheduler import Scheduler
from tests.consortium.consortium import NAMES, Consortium
from tests.gateway.running_gateway import Door


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # of Flower's bundling
def test_a_process_that_is_slow_to_start_is_not_ended_each_time_before_it_has(door: Door, tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    run, keeper = consortium.begun(consortium.plan()), Scheduler(consortium.home, door.control)
    run.write_state(replace(run.state, stage="running", cohort=NAMES))
    keeper._submit(run)  # at a SuperLink without a SuperExec: nobody starts it

    def attempts_after(seconds: float) -> int:
        keeper._submitted_s[run.name] = time.monotonic() - seconds
        keeper._watch(run)
        return run.state.attempts

    late_s = scheduler.GONE_AFTER_S + 1
    assert attempts_after(scheduler.GONE_AFTER_S - 5) == 1
    assert attempts_after(late_s) == 2
    assert attempts_after(late_s) == 2  # the second has twice as long
    assert attempts_after(2 * late_s) == 3
    run.write_state(replace(run.state, attempts=1000))
    assert attempts_after(scheduler.MOST_GONE_AFTER_S + 1) == 1001

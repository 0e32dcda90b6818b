"""Is the coordinator at work? Its processes, its sites, its runs, its disk, and what expires."""

import time
from collections.abc import Iterator

from common.monitoring import disk_space
from common.monitoring.check_result import CheckResult, Checks
from server.consortium import expiry
from server.consortium.home import Home
from server.processes import process_table
from server.runs.run import Run
from server.runs.run_state import OVER
from server.runs.service_state import describe_service
from server.runs.status import describe_run, site_statuses, why


def _service(home: Home) -> Iterator[CheckResult]:
    if problem := describe_service(home):
        yield CheckResult(False, problem.rstrip("."))
        return
    down = [state.name for state in process_table.process_states(home.live / "log") if not state.pid]
    if down:
        yield CheckResult(False, f"{', '.join(down)} down, and started again and again: {home.live / 'log'} says why")
    else:
        yield CheckResult(True, "all processes are up")


def _sites(home: Home) -> Iterator[CheckResult]:
    now, statuses = time.time(), site_statuses(home)
    bad = [one for one in statuses if not one.is_connected or one.error]
    for one in bad:
        yield CheckResult(True, why(one, now, now), "Telephone the hospital." if not one.is_connected else "See there.")
    yield CheckResult(True, f"{len(statuses) - len(bad)} of {len(statuses)} sites are connected and well")


def _runs(home: Home) -> Iterator[CheckResult]:
    live = [run for run in Run.all(home) if run.state.stage not in OVER]
    for run in live:
        yield CheckResult(True, describe_run(run).rstrip("."))
    if not live:
        yield CheckResult(True, "none is going on")


def _disk(home: Home) -> Iterator[CheckResult]:
    return disk_space.look(home.folder)


def _expiry(home: Home) -> Iterator[CheckResult]:
    now, ending = time.time(), 0
    for one in expiry.all_of(home):
        if (days := one.days_before(now)) is not None:
            ending += 1
            yield CheckResult(days > 0, one.words(now).rstrip("."), one.todo)
    if not ending:
        yield CheckResult(True, "nothing within 30 days")


CHECKS: Checks[Home] = {"service": _service, "sites": _sites, "runs": _runs, "disk": _disk, "expiry": _expiry}

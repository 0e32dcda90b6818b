"""Is this site at work? Its resident process, its plans, its disk, and what expires; nothing of it asks the network."""

import time
from collections.abc import Iterator

from client.home import Home
from client.plans.inbox import PlanInbox
from client.plans.plan_state import plan_state
from common.cli.progress import duration
from common.monitoring import disk_space
from common.monitoring.check_result import CheckResult, Checks
from common.storage.files import glance
from common.trust.roster import refuse_expired

LATE_S, SOON_S = 60.0, 30 * 86_400
"""The resident process says every ten seconds that it is there."""


def _resident(home: Home) -> Iterator[CheckResult]:
    if not is_at_work(home):
        yield CheckResult(False, "the resident process is not running", "python -m client run")
        return
    resident = glance(home.resident) or {}
    if problem := resident.get("problem"):
        yield CheckResult(False, str(problem).rstrip("."))
    else:
        yield CheckResult(True, f"connected to {home.address}, {resident.get('what', '')}")


def _plans(home: Home) -> Iterator[CheckResult]:
    for state in [plan_state(home, plan) for plan in PlanInbox(home).plans()]:
        if state.is_open and state.objection:
            yield CheckResult(False, f"plan {state.name} cannot go on here: {state.objection}".rstrip("."))
        elif state.state == "undecided":
            yield CheckResult(True, f"plan {state.name} waits for a decision", f"python -m client plans {state.name}")
    yield CheckResult(True, "all others are decided")


def _roster(home: Home) -> Iterator[CheckResult]:
    roster = home.roster
    refuse_expired(roster, time.time())
    rest = roster.expires_s - time.time()
    ask = "The coordinator renews it: python -m server renew." if rest < SOON_S else ""
    yield CheckResult(True, f"version {roster.version}, {duration(rest)} left", ask)


def _witness(home: Home) -> Iterator[CheckResult]:
    if home.witness_refused.exists():
        yield CheckResult(False, "the coordinator showed two histories", "python -m client witness, and docs/audit.md")
    else:
        yield CheckResult(True, "one history of the coordinator's log was seen")


def _disk(home: Home) -> Iterator[CheckResult]:
    return disk_space.look(home.folder)


def is_at_work(home: Home) -> bool:
    """Whether the resident process says that it is there."""
    return bool(time.time() - (glance(home.resident) or {}).get("at_s", 0.0) < LATE_S)


CHECKS: Checks[Home] = {
    "resident process": _resident, "plans": _plans, "roster": _roster, "witness": _witness, "disk": _disk,
}  # fmt: skip

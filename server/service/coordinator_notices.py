"""What people at the coordinator are told by mail or webhook, once each, and anew when it comes again.

    a roster, certificate or authority that expires in 30, 7 or 1 days, or has
    a run that has waited for the same answers for an hour, whose last rounds were void, or that failed
    a member that was not heard for a day

Names of sites and runs are in it, no number of any site.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from common.errors import ConsiliumError
from common.notices.notice_sending import Notice, send_by_all
from common.storage.files import read_json, write_json
from server.consortium import expiry
from server.consortium.home import Home
from server.runs.run import Run
from server.runs.status import describe_run, site_statuses

DAY_S, HOUR_S = 86_400.0, 3_600.0
STUCK_S, SILENT_S, FAILED_S = HOUR_S, DAY_S, 30 * DAY_S
VOID_ROUNDS = 3
LONGEST = 100
"""Characters of a subject."""


def concerns(home: Home, now_s: float) -> Iterator[tuple[str, str]]:
    """What somebody has to see to, and a name for it that stays the same while it is the same."""
    for one in expiry.all_of(home):
        if (days := one.days_before(now_s)) is not None:
            yield f"expiry {one.at_s:.0f} {days} {one.what}", one.words(now_s)
    for run in Run.all(home):
        state = run.state
        if state.stage == "running":
            progress, rounds = run.progress(), run.rounds()
            if progress and progress.waiting and now_s - progress.since_s >= STUCK_S:
                yield f"waits {run.name} {progress.since_s:.0f}", describe_run(run)
            if len(rounds) >= VOID_ROUNDS and all(record["void"] for record in rounds[-VOID_ROUNDS:]):
                yield f"void {run.name}", f"The last {VOID_ROUNDS} rounds were void. {describe_run(run)}"
        elif state.stage == "failed" and now_s - state.ended_s < FAILED_S:
            yield f"failed {run.name}", describe_run(run)
    for status in site_statuses(home):
        if status.heard_s and not status.is_connected and now_s - status.heard_s >= SILENT_S:
            yield f"silent {status.site} {status.heard_s:.0f}", f"Site {status.site}: {status.absence(now_s)}."


def send_notices(home: Home, now_s: float) -> str:
    """Tell what was not told yet; what went wrong, if something did: it is tried again.

    Args:
        now_s: seconds since 1970.
    """
    try:
        settings = home.settings
        if not settings.notices.ways:
            return ""
        path, problems = home.live / "notices.json", []
        before = read_json(path) or {}
        after: dict[str, list[str]] = {}
        for name, words in concerns(home, now_s):
            subject = f"{settings.consortium}: {' '.join(words.split())[:LONGEST]}"
            facts = {"consortium": settings.consortium, "about": name.split()[0]}
            notice = Notice(subject, f"{words}\n\npython -m server status\n", facts)
            after[name], whys = send_by_all(settings.notices, partial(_beside, home), notice, before.get(name, ()))
            problems += [f"{home.folder / 'consortium.yaml'}: {why}" for why in whys]
            for way in set(after[name]) - set(before.get(name, ())):
                home.log.record("notice sent", facts={"by": way, "about": name.split()[0]})
        if after != before:
            write_json(path, after, durably=False)
        return " ".join(problems)
    except (ConsiliumError, OSError) as error:
        return str(error)


def _beside(home: Home, path: Path) -> Path:
    """A path of consortium.yaml: beside it, unless it is absolute."""
    return home.folder / path.expanduser()

"""Where everything stands, as the coordinator knows it: every site, what a run is waiting for and why, runs before."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from common import refusals
from common.cli.progress import duration
from common.storage.files import glance
from server.consortium import expiry
from server.consortium.home import Home
from server.runs import run_refusals
from server.runs.run import Run
from server.runs.run_state import OVER
from server.runs.service_state import describe_service, is_service_running
from server.runs.site_releases import describe_other
from server.runs.site_reports import SiteReports
from server.runs.waiting_words import describe_absence, describe_beginning

CONNECTED_S = 45.0
"""A site that was not heard for so long is called not connected: it says something every ten seconds."""
LOST_S = 1.0
"""Connections are opened again, so one is called lost after so long without another."""
SILENT_S = 8.0
"""A site that has nothing to do asks again as soon as it was answered, after 4 s at most."""
STEPS = {
    "gather": "to be there and ready",
    "secagg/present": "to say whether it is there",
    "secagg/join": "to make keys",
    "secagg/share": "to deal shares",
    "secagg/take": "to open shares",
    "secagg/submit": "to compute and send its masked vector",
    "secagg/agree": "to sign whose vectors are added",
    "secagg/release": "to release its shares",
    "secagg/follow": "to say whether it audits",
    "secagg/audit": "to audit the round",
    "evaluation/figures": "to publish its figures",
}
ACTIVITIES = {
    "connecting": "connecting",
    "idle": "idle",
    "reading": "reading",
    "unfit": "cannot take part in",
    "working": "computing",
    "sending": "sending",
    "waiting": "waiting",
    "stopped": "stopped",
}


Connection = Literal["connected", "silent", "lost", "stopped", "away"]


@dataclass(frozen=True)
class MemberStatus:
    """One site, as the coordinator knows it."""

    site: str
    connection: Connection
    """silent: its connection is there, and nothing comes; lost: it broke off; stopped: the site said goodbye."""
    heard_s: float | None
    """When it was last heard, seconds since 1970; None: never."""
    since_s: float | None
    """Since when it has been connected without a break."""
    doing: str
    error: str
    """Code of what is wrong there; empty if nothing."""
    decision: str
    awaited_for: str
    """What the run is waiting for it to do; empty if it is not waited for."""

    @property
    def is_connected(self) -> bool:
        """Whether the site is there."""
        return self.connection in ("connected", "silent")

    def absence(self, now: float) -> str:
        """Why it is not there, as far as that is known."""
        if self.heard_s is None:
            return "never heard"
        how = {"lost": "lost its line, ", "stopped": "was stopped, "}.get(self.connection, "")
        return f"{how}last heard {ago(now, self.heard_s)} ago"


def site_statuses(home: Home, run: Run | None = None) -> list[MemberStatus]:
    """How every active member fares."""
    contacts, reports = glance(home.live / "heard.json") or {}, SiteReports(home)
    now = time.time()
    progress = run.progress() if run and run.state.stage == "running" else None
    decisions = run.decisions() if run else {}
    last_refused = last_refusals(run) if run and run.state.stage == "running" else {}
    statuses = []
    for site in home.identities():
        report, contact = reports.newest(site), contacts.get(site, {})
        connection = _connection(contact, report, now)
        is_awaited = progress is not None and site in progress.waiting
        refusal = (progress.refused.get(site, "") if progress else "") or last_refused.get(site, "")
        doing = " ".join(filter(None, (ACTIVITIES.get(report.get("what", ""), ""), report.get("detail", ""))))
        statuses.append(
            MemberStatus(
                site, connection, contact.get("at_s"), contact.get("since_s"),
                doing if connection in ("connected", "silent") else "",
                report.get("error", "") or refusal, decisions[site].verdict if site in decisions else "",
                STEPS.get(progress.kind, progress.kind) if progress and is_awaited else "",
            )
        )  # fmt: skip
    return statuses


def _connection(contact: Mapping[str, Any], report: Mapping[str, Any], now: float) -> Connection:
    """What is known of a site's connection, from when it was heard and what it said last."""
    last: float | None = contact.get("at_s")
    if last is None or now - last >= CONNECTED_S:
        return "away"
    if report.get("what") == "stopped" and report["at_s"] >= last:
        return "stopped"
    if not contact.get("short"):  # Flower's own node, which opens its connections as it likes
        return "connected"
    if contact.get("lost_s") is not None and now - contact["lost_s"] >= LOST_S:
        return "lost"
    asks = report.get("what") in ("idle", "waiting")
    return "silent" if asks and now - last > SILENT_S else "connected"


def live_runs(home: Home) -> list[Run]:
    """All that are not over: first those that go on, then those that wait; the oldest first."""
    live = [run for run in Run.all(home) if run.state.stage not in OVER]
    return sorted(live, key=lambda run: run.state.stage != "running")


def current_run(home: Home) -> Run | None:
    """The oldest run that goes on; else the first that waits for decisions; else none."""
    return next(iter(live_runs(home)), None)


def describe_run(run: Run) -> str:
    """Where a run stands, and which site it is waiting for and why, in a sentence or two."""
    state, plan = run.state, run.plan.content
    if state.stage == "waiting":
        return describe_beginning(run)
    if state.stage != "running":
        return f"Run {run.name}: {state.stage}{': ' + state.why if state.why else ''}"
    what = "models evaluated" if plan.models else "rounds done"
    text = f"Run {run.name}: {len(run.rounds())} of {run.plan.rounds} {what}. {_describe_slack(run)}"
    text += describe_refusals(run)
    return f"{text}{describe_waiting(run)}".strip()


def _describe_slack(run: Run) -> str:
    """That no site may be silent, where just so many approved as every sum needs; with a blank behind it."""
    from common.secagg.key_period_plan import threshold

    many, approvals = len(run.plan.content.cohort), len(run.state.cohort)
    if not approvals or approvals == many or approvals > threshold(many):
        return ""
    spare = approvals - threshold(approvals)
    way = f"; draw it up for these {approvals} to allow {spare} dropout{'s' * (spare > 1)}" if spare else ""
    return f"{approvals} of {many} approved: every site must answer every time{way}. "


def describe_refusals(run: Run) -> str:
    """Who refused in the last round and why, with a blank behind it; empty if nobody."""
    codes = last_refusals(run)
    sentence = refusals.sentence(codes, len(run.state.cohort), run_refusals.words(run))
    return f"In the last, {sentence}. {refusals.advice(codes.values())} " if codes else ""


def last_refusals(run: Run) -> dict[str, str]:
    """By site, the code by which it refused in the last round."""
    rounds = run.rounds()
    return dict(rounds[-1].get("refused", {})) if rounds else {}


def describe_waiting(run: Run) -> str:
    """What a running run is waiting for, and why; empty if for nobody."""
    progress, now = run.progress(), time.time()
    if not progress or not progress.waiting:
        return ""
    waiting = [status for status in site_statuses(run.home, run) if status.site in progress.waiting]
    reasons = "; ".join(why(status, progress.since_s, now) for status in waiting)
    limit = f", {duration(progress.until_s - now)} at most" if progress.until_s > now else ""
    rest = f" {describe_absence(run, progress.waiting)}" if run.is_waiting_for_sites else ""
    return f"Waiting{limit} for {reasons}.{rest}"


def why(status: MemberStatus, since_s: float, now: float) -> str:
    """Why a site is waited for."""
    if not status.is_connected:
        return f"{status.site} ({status.absence(now)}: is its client running, and does the network let it out?)"
    if status.error:
        meaning = refusals.CODES.get(status.error)
        words = f": {meaning.happened}; {meaning.advice}" if meaning else ": docs/errors.md"
        return f"{status.site} (error {status.error} there{words})"
    return f"{status.site} {status.awaited_for} (since {ago(now, since_s)}; it is {status.doing or 'connected'})"


def status_as_json(home: Home) -> dict[str, Any]:
    """Everything that `server status` shows, for programs; times in seconds since 1970."""
    runs, now = live_runs(home), time.time()
    run = next(iter(runs), None)
    sites = [
        asdict(one) | {"is_connected": one.is_connected, "absence": "" if one.is_connected else one.absence(now)}
        for one in site_statuses(home, run)
    ]
    words = [{"name": one.name, "stage": one.state.stage, "words": describe_run(one)} for one in runs]
    return {
        "at_s": now,
        "service_running": is_service_running(home),
        "problem": describe_service(home),
        "sites": sites,
        "run": words[0] if words else None,
        "runs": words,
        "expiring": expiry.warnings(home, now),
        "releases": describe_other(home, home.identities()),
    }


def ago(now: float, then_s: float | None) -> str:
    """How long ago something was, for people."""
    return "–" if then_s is None else duration(max(0.0, now - then_s))


def typical_round_s(rounds: list[dict[str, Any]]) -> float:
    """Seconds that a round takes, judged by the last five."""
    recent = sorted(float(r["seconds"]) for r in rounds[-5:])
    return recent[len(recent) // 2] if recent else 0.0

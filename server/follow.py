"""What people see of a run: following it, the state of every site, and the history."""

import time
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from common.files import glance, read_json
from common.progress import duration
from server.board import FolderBoard
from server.home import Home
from server.runs import OVER, Run

LOOK_EVERY_S = 0.3
CONNECTED_S = 45.0
"""A site that was not heard for so long is called not connected: it says something every ten seconds."""
SAY_AFTER_S = 5.0
"""Waiting for a site is worth a line after so long."""
ASKED = {
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
}
DOING = {
    "connecting": "connecting",
    "idle": "idle",
    "reading": "reading",
    "unfit": "cannot take part in",
    "working": "computing",
    "sending": "sending",
    "waiting": "waiting",
    "stopped": "stopped",
}


@dataclass(frozen=True)
class SiteStatus:
    """One site, as the coordinator knows it."""

    site: str
    connected: bool
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


def sites(home: Home, run: Run | None = None) -> list[SiteStatus]:
    """All active members."""
    heard, board, now = glance(home.live / "heard.json") or {}, FolderBoard(home), time.time()
    asking = run.progress() if run and run.state.stage == "running" else None
    decisions = run.decisions() if run else {}
    found = []
    for site in home.identities():
        told, at = board.heard(site), heard.get(site, {})
        last = at.get("at_s")
        connected = last is not None and now - last < CONNECTED_S
        awaited = asking is not None and site in asking.waiting
        refused = asking.refused.get(site, "") if asking else ""
        doing = " ".join(filter(None, (DOING.get(told.get("what", ""), ""), told.get("detail", ""))))
        found.append(
            SiteStatus(
                site, connected, last, at.get("since_s"), doing if connected else "", told.get("error", "") or refused,
                decisions[site].verdict if site in decisions else "",
                ASKED.get(asking.kind, asking.kind) if asking and awaited else "",
            )
        )  # fmt: skip
    return found


def status(home: Home, console: Console) -> None:
    """One line a site, and what the run is waiting for."""
    live = [run for run in Run.all(home) if run.state.stage not in OVER]
    run = next((r for r in live if r.state.stage == "running"), live[0] if live else None)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("site", "connected", "doing", "plan", "waited for", "error"):
        table.add_column(column, no_wrap=column == "site")
    now = time.time()
    for one in sites(home, run):
        if one.connected:
            link = f"[green]yes[/], {ago(now, one.since_s)}"
        else:
            link = "[red]no[/]" + (f", last heard {ago(now, one.heard_s)} ago" if one.heard_s else ", never heard")
        plan = {"approve": "approved", "refuse": "refused", "": "undecided" if run else "–"}[one.decision]
        table.add_row(one.site, link, one.doing or "–", plan, one.awaited_for or "–", f"[red]{one.error}[/]")
    console.print(table)
    processes = home.live / "log" / "processes.json"
    if not running(home):
        console.print("[red]The coordinator's processes are not running:[/] python -m server start")
    elif told := glance(processes):
        names = ", ".join(f"{name} up {ago(now, p.get('since_s'))}" for name, p in _processes(told).items())
        console.print(f"Processes: {names}.", highlight=False)
    console.print(standing(run) if run else "No run is going on.", highlight=False)


def standing(run: Run) -> str:
    """Where a run stands, and which site it is waiting for and why, in a sentence or two."""
    state, plan, rounds, now = run.state, run.plan.content, run.rounds(), time.time()
    if state.stage == "waiting":
        undecided = sorted(set(plan.cohort) - set(run.decisions()))
        rest = max(0.0, state.begin_at_s - now)
        return f"Run {run.name} waits for the decision of {', '.join(undecided) or 'nobody'}, {duration(rest)} at most."
    if state.stage != "running":
        return f"Run {run.name}: {state.stage}{': ' + state.why if state.why else ''}"
    total = plan.training.federation.rounds
    text = f"Run {run.name}: {len(rounds)} of {total} rounds done."
    asking = run.progress()
    if not asking or not asking.waiting:
        return text
    reasons = "; ".join(why(one, asking.since_s, now) for one in sites(run.home, run) if one.site in asking.waiting)
    limit = f", {duration(asking.until_s - now)} at most" if asking.until_s > now else ""
    return f"{text} Waiting{limit} for {reasons}."


def why(one: SiteStatus, since_s: float, now: float) -> str:
    """Why a site is waited for."""
    if not one.connected:
        last = f"not heard for {ago(now, one.heard_s)}" if one.heard_s else "never heard"
        return f"{one.site} ({last}: is its client running, and does the network let it out?)"
    if one.error:
        return f"{one.site} (error {one.error} there: docs/errors.md)"
    return f"{one.site} {one.awaited_for} (since {ago(now, since_s)}; it is {one.doing or 'connected'})"


def follow(run: Run, console: Console) -> int:
    """Print what happens until the run is over; exit status 0 only where it finished."""
    shown, last, waiting_said = 0, "", 0.0
    while True:
        state, rounds = run.state, run.rounds()
        for record in rounds[shown:]:
            console.print(_line(run, record, rounds), highlight=False)
        shown = len(rounds)
        if state.stage in OVER:
            return _over(run, console)
        if not running(run.home) and last != "down":
            console.print("[yellow]The coordinator's processes are not running:[/] python -m server start")
            last = "down"
        elif state.stage != last and running(run.home):
            console.print(standing(run), highlight=False)
            last = state.stage
        asking = run.progress()
        if state.stage == "running" and asking and asking.waiting and asking.since_s != waiting_said:
            late = time.time() - asking.since_s > SAY_AFTER_S + _usual(rounds)
            console.print(standing(run), highlight=False) if late else None
            waiting_said = asking.since_s if late else waiting_said
        time.sleep(LOOK_EVERY_S)


def history(home: Home, console: Console) -> None:
    """A line a run."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("run", "made", "sites", "rounds", "validation AUC", "how it ended"):
        table.add_column(column, no_wrap=column == "run")
    for run in Run.all(home):
        state, plan, result = run.state, run.plan.content, read_json(run.folder / "result.json") or {}
        made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(plan.made_s))
        auc = result.get("validation", {}).get("auc")
        ended = state.stage + (f": {state.why}" if state.why else "")
        rounds = f"{len(run.rounds())} of {plan.training.federation.rounds}"
        table.add_row(run.name, made, str(len(state.cohort or plan.cohort)), rounds,
                      "–" if auc is None else f"{auc:.3f}", ended)  # fmt: skip
    console.print(table)


def running(home: Home) -> bool:
    """Whether `server start` is at work: it says so every second."""
    told = glance(home.live / "keeper.json")
    return bool(told) and time.time() - told["at_s"] < 10.0


def ago(now: float, then_s: float | None) -> str:
    """How long ago, for people."""
    return "–" if then_s is None else duration(max(0.0, now - then_s))


def _line(run: Run, record: dict[str, Any], rounds: list[dict[str, Any]]) -> str:
    total = run.plan.content.training.federation.rounds
    text = f"round {record['round'] + 1} of {total}"
    if record["void"]:
        return f"{text}: void, too few answered (silent: {', '.join(record['dropped'])})"
    if (auc := record["validation"].get("auc")) is not None:
        text += f", validation AUC {auc:.3f}"
    if record["dropped"]:
        text += f", without {', '.join(record['dropped'])}"
    left = _usual(rounds) * (total - record["round"] - 1)
    return f"{text}, {record['seconds']:.1f} s" + (f", about {duration(left)} left" if left else "")


def _usual(rounds: list[dict[str, Any]]) -> float:
    """Seconds that a round takes, after those before."""
    recent = sorted(float(r["seconds"]) for r in rounds[-5:])
    return recent[len(recent) // 2] if recent else 0.0


def _over(run: Run, console: Console) -> int:
    state = run.state
    if state.stage != "finished":
        console.print(f"[red]Run {run.name} {state.stage}[/]: {state.why}")
        return 1
    result = read_json(run.folder / "result.json")
    auc = result["validation"].get("auc")
    figure = f"validation AUC {auc:.3f} over all sites" if auc is not None else "no validation AUC"
    console.print(
        f"Finished: best round {result['best_round'] + 1}, {figure}. Research software, not a medical device."
    )
    console.print(f"Written to {run.folder}: report.html, model.safetensors, result.json", highlight=False)
    return 0


def _processes(told: Any) -> dict[str, Any]:
    return {p["name"]: p for p in told} if isinstance(told, list) else dict(told)

"""What people see of a run in a terminal: following it, the state of every site, and the history."""

import time
from typing import Any

from rich.console import Console
from rich.text import Text

from common import refusals
from common.cli.progress import duration
from common.cli.terminal import Sheet
from common.storage.files import read_json
from server.consortium import expiry
from server.consortium.home import Home
from server.processes import process_table
from server.runs import run_refusals
from server.runs.run import Run
from server.runs.run_history import run_history
from server.runs.run_state import OVER
from server.runs.service_state import describe_service, is_service_running
from server.runs.site_releases import describe_other
from server.runs.status import (
    MemberStatus,
    ago,
    describe_run,
    live_runs,
    site_statuses,
    typical_round_s,
)

LOOK_EVERY_S = 0.3
ANNOUNCE_AFTER_S = 5.0
"""Waiting for a site is worth a line after so long."""


def status(home: Home, console: Console) -> None:
    """One line a site, and what the run is waiting for."""
    runs = live_runs(home)
    table = Sheet("site", "connected", "doing", "plan", "waited for", "error",
                  prose=("connected", "doing", "waited for", "error"))  # fmt: skip
    now = time.time()
    by_run = [(run, {one.site: one for one in site_statuses(home, run)}) for run in runs]
    for one in site_statuses(home, *runs[:1]):
        plans = [_decision(run, sites[one.site]) for run, sites in by_run if one.site in run.plan.content.cohort]
        waits = [f"{sites[one.site].awaited_for} ({run.name})" for run, sites in by_run if sites[one.site].awaited_for]
        cells = "; ".join(plans) or "–", "; ".join(waits) or "–", Text(one.error, "red")
        table.add(one.site, _connected(one, now), one.doing or "–", *cells)
    console.print(table)
    if problem := describe_service(home):
        console.print(Text(problem, "red"))
    children = process_table.process_states(home.live / "log")
    if children and is_service_running(home):
        names = ", ".join(f"{c.name} {f'up {ago(now, c.since_s)}' if c.pid else 'down'}" for c in children)
        console.print(f"Processes: {names}.", highlight=False)
    for warning in expiry.warnings(home, now):
        console.print(Text(warning, "yellow"))
    if others := describe_other(home, home.identities()):
        console.print(others, highlight=False)
    for run in runs:
        console.print(describe_run(run), highlight=False)
    if not runs:
        console.print("No run is going on.", highlight=False)


def follow(run: Run, console: Console) -> int:
    """Print what happens until the run is over; exit status 0 only where it finished."""
    printed_rounds, last_stage = 0, ""
    announced_since_s = 0.0
    """When the exchange began for which it was printed who is waited for."""
    while True:
        state, rounds = run.state, run.rounds()
        for record in rounds[printed_rounds:]:
            console.print(_line(run, record, rounds), highlight=False)
        printed_rounds = len(rounds)
        if state.stage in OVER:
            return _over(run, console)
        if not is_service_running(run.home) and last_stage != "down":
            console.print(Text("The coordinator's processes are not running:", "yellow"), "python -m server start")
            last_stage = "down"
        elif state.stage != last_stage and is_service_running(run.home):
            console.print(describe_run(run), highlight=False)
            last_stage = state.stage
        progress = run.progress()
        is_new = progress is not None and bool(progress.waiting) and progress.since_s != announced_since_s
        if state.stage == "running" and progress and is_new:
            late_s = progress.since_s + typical_round_s(rounds) + ANNOUNCE_AFTER_S
            if time.time() > late_s:
                console.print(describe_run(run), highlight=False)
                announced_since_s = progress.since_s
        time.sleep(LOOK_EVERY_S)


def history(home: Home, console: Console) -> None:
    """Print all runs, a line for each."""
    table = Sheet("run", "made", "sites", "rounds", "validation AUC", "how it ended", prose=("how it ended",))
    for one in run_history(home):
        made_at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.made_s))
        ending = one.stage + (f": {one.why}" if one.why else "")
        table.add(one.name, made_at, str(one.sites), f"{one.rounds} of {one.planned}",
                  "–" if one.auc is None else f"{one.auc:.3f}", ending)  # fmt: skip
    console.print(table)


def _decision(run: Run, one: MemberStatus) -> str:
    """What a site said to a run's plan."""
    return f"{ {'approve': 'approved', 'refuse': 'refused', '': 'undecided'}[one.decision] } ({run.name})"


def _connected(one: MemberStatus, now: float) -> Text:
    if one.is_connected:
        return Text.assemble(("yes", "green"), f", {ago(now, one.since_s)}")
    return Text.assemble(("no", "red"), f", {one.absence(now)}")


def _line(run: Run, record: dict[str, Any], rounds: list[dict[str, Any]]) -> str:
    total, models = run.plan.rounds, run.plan.content.models
    number = record["round"]
    text = f"{f'{models[number].name}, model' if models else 'round'} {number + 1} of {total}"
    if record["void"]:
        return f"{text}: void, too few answered ({_absent(run, record)})"
    if (auc := record["validation"].get("auc")) is not None:
        text += f", validation AUC {auc:.3f}"
    if record["dropped"] or record.get("refused"):
        text += f", {_absent(run, record)}"
    if unjudged := _refusals(run, record, "unjudged"):
        text += f", the evaluation {unjudged}"
    rest_s = typical_round_s(rounds) * (total - record["round"] - 1)
    return f"{text}, {record['seconds']:.1f} s" + (f", about {duration(rest_s)} left" if rest_s else "")


def _absent(run: Run, record: dict[str, Any]) -> str:
    """Who is not in a round's sum, and why."""
    silent = f"silent: {', '.join(record['dropped'])}" if record["dropped"] else ""
    return "; ".join(filter(None, (_refusals(run, record, "refused"), silent))) or "none silent"


def _refusals(run: Run, record: dict[str, Any], which: str) -> str:
    codes = {
        site: code for site, code in record.get(which, {}).items() if which == "refused" or site in record["sites"]
    }
    return refusals.sentence(codes, len(run.state.cohort), run_refusals.words(run))


def _over(run: Run, console: Console) -> int:
    state = run.state
    if state.stage != "finished":
        console.print(Text.assemble((f"Run {run.name} {state.stage}", "red"), f": {state.why}"))
        return 1
    if run.plan.content.models:
        console.print("Finished: models evaluated. Research software, not a medical device.")
        console.print(f"Written to {run.folder}: report.html, result.json", highlight=False)
        return 0
    from server.report import sentences  # which brings the arithmetic of figures

    result = read_json(run.folder / "result.json")
    auc = result["validation"].get("auc")
    figure = f"validation AUC {auc:.3f} over all sites" if auc is not None else "no validation AUC"
    console.print(
        f"Finished: best round {result['best_round'] + 1}, {figure}. Research software, not a medical device."
    )
    for remark in sentences.remarks(result):
        console.print(Text(remark, "yellow"))
    console.print(f"Written to {run.folder}: report.html, model.safetensors, result.json", highlight=False)
    return 0

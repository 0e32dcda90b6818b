"""What people see of a run in a terminal: following it, the state of every site, and the history."""

import time
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from common.cli.progress import duration
from common.storage.files import read_json
from server.consortium.home import Home
from server.processes import process_table
from server.runs.run import OVER, Run
from server.runs.status import ago, current, past, running, sites, standing, usual_s

LOOK_EVERY_S = 0.3
SAY_AFTER_S = 5.0
"""Waiting for a site is worth a line after so long."""


def status(home: Home, console: Console) -> None:
    """One line a site, and what the run is waiting for."""
    run = current(home)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("site", "connected", "doing", "plan", "waited for", "error"):
        table.add_column(column, no_wrap=column == "site")
    now = time.time()
    for one in sites(home, run):
        link = f"[green]yes[/], {ago(now, one.since_s)}" if one.connected else f"[red]no[/], {one.last(now)}"
        plan = {"approve": "approved", "refuse": "refused", "": "undecided" if run else "–"}[one.decision]
        table.add_row(one.site, link, one.doing or "–", plan, one.awaited_for or "–", f"[red]{one.error}[/]")
    console.print(table)
    if not running(home):
        console.print("[red]The coordinator's processes are not running:[/] python -m server start")
    elif children := process_table.process_states(home.live / "log"):
        names = ", ".join(f"{c.name} {f'up {ago(now, c.since_s)}' if c.pid else 'down'}" for c in children)
        console.print(f"Processes: {names}.", highlight=False)
    console.print(standing(run) if run else "No run is going on.", highlight=False)


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
            late = time.time() - asking.since_s > SAY_AFTER_S + usual_s(rounds)
            console.print(standing(run), highlight=False) if late else None
            waiting_said = asking.since_s if late else waiting_said
        time.sleep(LOOK_EVERY_S)


def history(home: Home, console: Console) -> None:
    """A line a run."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("run", "made", "sites", "rounds", "validation AUC", "how it ended"):
        table.add_column(column, no_wrap=column == "run")
    for one in past(home):
        made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.made_s))
        ended = one.stage + (f": {one.why}" if one.why else "")
        table.add_row(one.name, made, str(one.sites), f"{one.rounds} of {one.planned}",
                      "–" if one.auc is None else f"{one.auc:.3f}", ended)  # fmt: skip
    console.print(table)


def _line(run: Run, record: dict[str, Any], rounds: list[dict[str, Any]]) -> str:
    total, models = run.plan.rounds, run.plan.content.models
    number = record["round"]
    text = f"{f'{models[number].name}, model' if models else 'round'} {number + 1} of {total}"
    if record["void"]:
        return f"{text}: void, too few answered (silent: {', '.join(record['dropped'])})"
    if (auc := record["validation"].get("auc")) is not None:
        text += f", validation AUC {auc:.3f}"
    if record["dropped"]:
        text += f", without {', '.join(record['dropped'])}"
    left = usual_s(rounds) * (total - record["round"] - 1)
    return f"{text}, {record['seconds']:.1f} s" + (f", about {duration(left)} left" if left else "")


def _over(run: Run, console: Console) -> int:
    state = run.state
    if state.stage != "finished":
        console.print(f"[red]Run {run.name} {state.stage}[/]: {state.why}")
        return 1
    if run.plan.content.models:
        console.print("Finished: models evaluated. Research software, not a medical device.")
        console.print(f"Written to {run.folder}: report.html, result.json", highlight=False)
        return 0
    result = read_json(run.folder / "result.json")
    auc = result["validation"].get("auc")
    figure = f"validation AUC {auc:.3f} over all sites" if auc is not None else "no validation AUC"
    console.print(
        f"Finished: best round {result['best_round'] + 1}, {figure}. Research software, not a medical device."
    )
    console.print(f"Written to {run.folder}: report.html, model.safetensors, result.json", highlight=False)
    return 0

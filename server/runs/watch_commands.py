"""The commands that look at runs, and end one: follow, status, history, stop."""

import argparse
import json
import time
from dataclasses import asdict

from common.cli import terminal
from common.cli.command import Command
from server.consortium.arguments import add_home, add_run
from server.consortium.home import Home
from server.runs import run_display
from server.runs.run import Run
from server.runs.run_history import run_history
from server.runs.run_state import OVER
from server.runs.status import status_as_json

FOLLOW = """Follow a run that was submitted before. Ctrl-C ends the following, not the run.

  python -m server follow"""

STATUS = """One line a site: connected or not, since when, what it is doing; and what the run is waiting for.

  python -m server status"""

HISTORY = """All runs, with how they ended.

  python -m server history"""

STOP = """End a run; its checkpoint and its rounds stay. Without a name, the latest one.

  python -m server stop pneumonia-1a2b3c4d"""


def _follow(options: argparse.Namespace) -> int:
    return run_display.follow(Run.find(Home.at(options.home), options.name), terminal.console())


def _json_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")
    add_home(parser)


def _status(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    if options.json:
        print(json.dumps(status_as_json(home), indent=1))
    else:
        run_display.status(home, terminal.console())
    return 0


def _history(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    if options.json:
        print(json.dumps([asdict(run) for run in run_history(home)], indent=1))
    else:
        run_display.history(home, terminal.console())
    return 0


def _stop(options: argparse.Namespace) -> int:
    run = Run.find(Home.at(options.home), options.name)
    options.act.plan = run.name
    run.request_stop()
    for _ in range(100):
        if run.state.stage in OVER:
            print(f"Run {run.name}: {run.state.stage}.")
            return 0
        time.sleep(0.1)
    print(f"Run {run.name} will be stopped as soon as `python -m server start` is running.")
    return 0


COMMANDS = {
    "follow": Command(FOLLOW, add_run, _follow,
                      "the run goes on; follow it again with the same command."),
    "status": Command(STATUS, _json_arguments, _status),
    "history": Command(HISTORY, _json_arguments, _history),
    "stop": Command(STOP, add_run, _stop),
}  # fmt: skip

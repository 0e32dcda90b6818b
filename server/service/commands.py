"""The command that keeps the coordinator's processes alive: start."""

import argparse

from common.cli.command import Command
from server.consortium.arguments import add_home
from server.consortium.home import Home

START = """Keep the coordinator's processes alive: Flower's SuperLink and SuperExec on loopback, and the
gateway, the only one that is reachable from outside. Runs that were going on go on. Ctrl-C ends all of them.

  python -m server start"""


def _start(options: argparse.Namespace) -> int:
    from server.service import start  # Flower takes a second to import

    home = Home.at(options.home)
    options.act.outcome = "done"  # by Ctrl-C, which is how it is stopped
    return start.start(home)


COMMANDS = {
    "start": Command(START, add_home, _start,
                     "all processes have ended; runs go on at the next start."),
}  # fmt: skip

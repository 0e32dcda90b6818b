"""Commands that are written down: that they began, and how they ended."""

import argparse
from collections.abc import Callable
from dataclasses import replace

from common.audit.log import Act, Log
from common.cli.command import Command

LogOf = Callable[[argparse.Namespace], Log | None]


def recorded(command: Command, what: str, log_of: LogOf) -> Command:
    """The same command, written down. It finds the `Act` in its options, as `act`, to add what it comes to know.

    Args:
        what: its name in the log.
        log_of: where to; None: nowhere yet, as for the command that makes the folder, which is written down at its end.
    """

    def run(options: argparse.Namespace) -> int:
        if log := log_of(options):
            with log.act(what) as options.act:
                return _ran(options)
        options.act = Act()
        status = _ran(options)
        if status == 0 and (log := log_of(options)):
            log.record(what, facts=options.act.facts)
        return status

    def _ran(options: argparse.Namespace) -> int:
        status = command.run(options)
        options.act.outcome = "failed" if status and options.act.outcome is None else options.act.outcome or "done"
        return status

    return replace(command, run=run)

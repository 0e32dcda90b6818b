"""A coordinator's commands.

    python -m server init NAME --address HOST:PORT    make a consortium
    python -m server admit REQUEST                    put a hospital on the roster, and write its welcome
    python -m server start                            keep the coordinator's processes alive
    python -m server run PLAN                         ask the sites for a training, and follow it
    python -m server evaluate MODEL…                  finished models on every site's validation cases
    python -m server status                           who is connected, doing what, and who is waited for
    python -m server dashboard                        the same as a page that keeps itself up to date
    python -m server compare RUN RUN…                 runs beside each other, simulated or real
    python -m server export RUN                       a finished run as one signed package to share
    python -m server catalogue [ACTION]               what partners offer: data sets, models, plans
    python -m server history · stop · revoke · renew
    python -m server root new · seal                  a root key on a machine of its own, under a passphrase
    python -m server cosign PAPER                     read what several roots sign together, and sign it
    python -m server pending · take PAPER             what waits for other roots; take it back, and go on
    python -m server audit show · verify · export     what was done here, and by whom

All take --home DIR, the coordinator's folder (default: consortium). docs/deploy.md goes through everything in order.
"""

from common.cli import interrupt

if __name__ == "__main__":
    interrupt.arm()  # before the rest is imported, which takes seconds

import argparse
from collections.abc import Sequence

from common.audit import acts, log_view
from common.audit.log import Log
from common.cli.command import dispatch
from server.catalogue import commands as catalogue
from server.comparison.commands import COMMANDS as COMPARISON
from server.consortium import cosign_commands, publishing
from server.consortium.arguments import add_home
from server.consortium.commands import COMMANDS as CONSORTIUM
from server.consortium.home import Home
from server.dashboard.commands import COMMANDS as DASHBOARD
from server.evaluation.commands import COMMANDS as EVALUATION
from server.export import commands as export
from server.runs import commands as runs
from server.service.commands import COMMANDS as SERVICE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of the coordinator; its exit status."""
    return dispatch("python -m server", __doc__, COMMANDS, arguments)


def _log(options: argparse.Namespace) -> Log | None:
    """The log in which a command is recorded; none where there is no consortium yet."""
    return Home(options.home).log if (options.home / "consortium.yaml").exists() else None


AUDIT = log_view.command("server", add_home, lambda options: Home.at(options.home).log)

COMMANDS = {
    "init": CONSORTIUM["init"],
    "admit": CONSORTIUM["admit"],
    "fingerprint": CONSORTIUM["fingerprint"],
    "start": SERVICE["start"],
    "run": runs.COMMANDS["run"],
    "follow": runs.COMMANDS["follow"],
    "status": runs.COMMANDS["status"],
    "dashboard": DASHBOARD["dashboard"],
    "history": runs.COMMANDS["history"],
    "compare": COMPARISON["compare"],
    "export": export.COMMANDS["export"],
    "evaluate": EVALUATION["evaluate"],
    "catalogue": catalogue.COMMANDS["catalogue"],
    "stop": runs.COMMANDS["stop"],
    "revoke": CONSORTIUM["revoke"],
    "renew": CONSORTIUM["renew"],
    **cosign_commands.COMMANDS,
    "take": cosign_commands.take_command(publishing.FINISH | runs.FINISH | export.FINISH | catalogue.FINISH),
    "audit": AUDIT,
}
"""All commands, in the order in which they are listed."""

ACTS = {
    "init": "init",
    "admit": "admit",
    "start": "start",
    "run": "sign plan",
    "evaluate": "sign plan",
    "stop": "stop run",
    "revoke": "revoke",
    "renew": "renew",
    "export": "export model",
    "take": "take signatures",
}
"""Commands that are recorded in the audit log, and as what."""

COMMANDS |= {name: acts.recorded(COMMANDS[name], act, _log) for name, act in ACTS.items()}

if __name__ == "__main__":
    interrupt.program(main)

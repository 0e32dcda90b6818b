"""A coordinator's commands.

    python -m server init NAME --address HOST:PORT    make a consortium
    python -m server admit REQUEST                    put a hospital on the roster, and write its welcome
    python -m server fingerprint                      the consortium's, to read out
    python -m server start                            keep the coordinator's processes alive
    python -m server install-service                  the same as a service of the system, from its start on
    python -m server run PLAN                         ask the sites for a training, and follow it
    python -m server evaluate MODEL…                  finished models on every site's validation cases
    python -m server status                           who is connected, doing what, and who is waited for
    python -m server dashboard                        the same as a page that keeps itself up to date
    python -m server health · metrics                 is it at work, as an exit status; and for Prometheus
    python -m server compare RUN RUN…                 runs beside each other, simulated or real
    python -m server export RUN                       a finished run as one signed package to share
    python -m server figures RUN                      its figures for TensorBoard, MLflow, or as a table
    python -m server dossier RUN                      what its record answers of CLAIM, TRIPOD+AI, the AI Act; SBOM
    python -m server catalogue [ACTION]               what partners offer: data sets, models, plans
    python -m server history · follow · stop · revoke · renew · move
    python -m server root new · seal                  a root key on a machine of its own, under a passphrase
    python -m server cosign PAPER                     read what several roots sign together, and sign it
    python -m server pending · take PAPER             what waits for other roots; take it back, and go on
    python -m server backup · drill · restore         the coordinator's folder kept elsewhere
    python -m server audit show · verify · export     what was done here, and by whom

All take --home DIR, the coordinator's folder (default: consortium). docs/deploy.md goes through everything in order.
"""

from common.cli import interrupt

if __name__ == "__main__":
    interrupt.arm()  # before the rest is imported, which takes seconds

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from common.cli.command import Command, CommandTable, dispatch

if TYPE_CHECKING:
    from common.audit.log import Log


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of the coordinator; its exit status."""
    return dispatch("python -m server", __doc__, COMMANDS, arguments)


def _log(options: argparse.Namespace) -> "Log | None":
    """The log in which a command is recorded; none where there is no consortium yet."""
    from server.consortium.home import Home

    return Home(options.home).log if (options.home / "consortium.yaml").exists() else None


def _audit_command() -> Command:
    from common.audit import log_view
    from server.consortium.arguments import add_home
    from server.consortium.home import Home

    return log_view.command("server", add_home, lambda options: Home.at(options.home).log)


def _take_command() -> Command:
    from server.catalogue import commands as catalogue
    from server.consortium import cosign_commands, publishing
    from server.export import commands as export
    from server.runs import commands as runs

    return cosign_commands.take_command(publishing.FINISH | runs.FINISH | export.FINISH | catalogue.FINISH)


def _recorded(name: str, command: Command) -> Command:
    if name not in ACTS:
        return command
    from common.audit import acts

    return acts.recorded(command, ACTS[name], _log)


COMMANDS = CommandTable(
    {
        "init": "server.consortium.commands",
        "admit": "server.consortium.commands",
        "fingerprint": "server.consortium.commands",
        "start": "server.service.commands",
        "install-service": "server.service.install_command",
        "run": "server.runs.commands",
        "follow": "server.runs.watch_commands",
        "status": "server.runs.watch_commands",
        "health": "server.monitoring.commands",
        "metrics": "server.monitoring.commands",
        "dashboard": "server.dashboard.commands",
        "history": "server.runs.watch_commands",
        "compare": "server.comparison.commands",
        "export": "server.export.commands",
        "figures": "server.export.figure_commands",
        "dossier": "server.export.dossier_commands",
        "evaluate": "server.evaluation.commands",
        "catalogue": "server.catalogue.commands",
        "stop": "server.runs.watch_commands",
        "revoke": "server.consortium.commands",
        "renew": "server.consortium.commands",
        "move": "server.consortium.commands",
        "root": "server.consortium.cosign_commands",
        "cosign": "server.consortium.cosign_commands",
        "pending": "server.consortium.cosign_commands",
        "take": _take_command,
        "audit": _audit_command,
        "backup": "server.backup.commands",
        "drill": "server.backup.commands",
        "restore": "server.backup.commands",
    },
    _recorded,
)
"""Where every command is."""

ACTS = {
    "init": "init",
    "admit": "admit",
    "start": "start",
    "run": "sign plan",
    "evaluate": "sign plan",
    "stop": "stop run",
    "revoke": "revoke",
    "renew": "renew",
    "move": "move",
    "export": "export model",
    "take": "take signatures",
    "backup": "backup",
    "drill": "backup drill",
}
"""Commands that are recorded in the audit log, and as what."""

if __name__ == "__main__":
    interrupt.program(main)

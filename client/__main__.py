"""A hospital's commands.

    python -m client init NAME              make this site's keys and its request to join a consortium
    python -m client fingerprint            of that request, to read out
    python -m client join WELCOME           pin the welcome that comes back
    python -m client check                  is everything ready: keys, network, clock, disk, images
    python -m client plans                  what the consortium asks for, and what was decided
    python -m client approve · refuse PLAN
    python -m client page                   the same and more in a browser: plans, images, models, privacy, the log
    python -m client run                    take part: one process that runs for weeks
    python -m client health · metrics       is it at work, as an exit status; and for Prometheus
    python -m client install-service        the same as a service of the system, from the machine's start on
    python -m client rekey                  move this site to new keys
    python -m client move FILE             the coordinator's new address, signed by its roots
    python -m client accept-key SITE        another member's new key, whose old one is lost

    python -m client import SOURCE          take images into encrypted custody
    python -m client pacs ACTION            the hospital's image archive: add, list, test, find
    python -m client custody ACTION         the keys of what is in custody
    python -m client patients ACTION        a patient withdraws, a label was wrong
    python -m client backup DEST            to another disk: encrypted, incremental; list, verify, drill, prune
    python -m client restore DEST           bring this site back from a backup

    python -m client access ACTION          people, roles, and the policy that two of them sign
    python -m client audit ACTION           what was done here, and by whom
    python -m client catalogue [ACTION]     what partners offer: data sets, models, plans
    python -m client privacy show           what the patients have paid under budgets of privacy, and what is left
    python -m client witness                what was seen of the coordinator's log, here and at other sites

    python -m client check configs/demo.yaml          is the data of a configuration ready to train on?
    python -m client preview image.dcm --config C     one image after every step of the preprocessing
    python -m client encoders [add FILE]              pretrained encoders on this machine
    python -m client packages [add MODEL]             models for a training to begin from
    python -m client predict MODEL IMAGE…             run a shared model on images of this site
    python -m client compare MODEL                    what a federated model is worth here, beside one trained alone

Commands of a site take --home DIR, the site's folder (default: site), and --as KEY, the key of who gives them; the help
of each ends with the roles that may. docs/deploy.md goes through everything in order.
"""

from common.cli import interrupt

if __name__ == "__main__":
    interrupt.arm()  # before the rest is imported, which takes seconds

import argparse
import os
from collections.abc import Callable, Sequence

from common.cli.command import Command, CommandTable, dispatch

RUN = """Take part: one process that keeps a connection to the coordinator, for ever, and answers what approved
plans ask. It can be stopped and started at any moment.

  python -m client run

Everything goes out over one TLS connection to the coordinator's address; nothing has to be opened to the
inside. For a service that starts with the machine, see docs/deploy.md."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    return dispatch("python -m client", __doc__, COMMANDS, arguments)


def _run_command() -> Command:
    from client.home import home_option

    def run(options: argparse.Namespace) -> int:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from client import service  # Flower and TensorFlow with it: seconds that no other command should wait for

        home, options.act.outcome = options.here, "done"  # by Ctrl-C, which is how it is stopped
        return service.run(home)

    return Command(RUN, home_option, run, "the site has said goodbye; runs go on at its next start.")


def _page_command() -> Command:
    from client.page.commands import command

    return command(COMMANDS)


def _guarded(name: str, command: Command) -> Command:
    from client.access.command_guard import guard

    return guard(name, command)


PLACES: dict[str, str | Callable[[], Command]] = {
    "init": "client.setup.commands",
    "fingerprint": "client.setup.commands",
    "join": "client.setup.commands",
    "rekey": "client.setup.commands",
    "accept-key": "client.setup.commands",
    "move": "client.setup.commands",
    "check": "client.setup.commands",
    "plans": "client.plans.commands",
    "approve": "client.plans.commands",
    "refuse": "client.plans.commands",
    "witness": "client.plans.commands",
    "page": _page_command,
    "run": _run_command,
    "install-service": "client.setup.service_command",
    "health": "client.monitoring.commands",
    "metrics": "client.monitoring.commands",
    "compare": "client.comparison.commands",
    "predict": "client.prediction.commands",
    "packages": "client.prediction.package_commands",
    "preview": "client.dataset.commands",
    "encoders": "client.encoders.commands",
    "catalogue": "client.catalogue.commands",
    "import": "client.pacs.import_from_pacs",
    "pacs": "client.pacs.commands",
    "custody": "client.custody.commands",
    "patients": "client.patients.commands",
    "backup": "client.backup.commands",
    "restore": "client.backup.commands",
    "access": "client.access.commands",
    "audit": "client.access.commands",
    "privacy": "client.privacy.commands",
}
"""Where every command is. Who may give it, client/access/permissions.py says."""
COMMANDS: CommandTable = CommandTable(PLACES, _guarded)
UNGUARDED: CommandTable = CommandTable(PLACES, lambda name, command: command)
"""For a worker, whose command the gate has checked."""

if __name__ == "__main__":
    interrupt.program(main)

"""The command `install-service` of `python -m server`: the coordinator's processes as a service of the system."""

import argparse

from common.cli import systemd_unit
from common.cli.command import Command
from common.cli.systemd_unit import ServiceUnit
from server.consortium.arguments import add_home

INSTALL = """Let this machine run `server start` from its start on: a hardened unit of systemd in its own account.

  python -m server install-service --home /var/lib/consilium/consortium --print
  sudo python -m server install-service --home /var/lib/consilium/consortium

The account is made where it is missing; it owns the folder, and everything that the coordinator writes is in there."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    systemd_unit.add_options(parser, "consilium-coordinator")
    add_home(parser)


def _run(options: argparse.Namespace) -> int:
    home = options.home.absolute()
    words = ("server", "start", "--home", str(home))
    unit = ServiceUnit(options.name, "Consilium coordinator", words, home, options.account)
    return systemd_unit.install(unit, only_print=options.only_print)


COMMANDS = {"install-service": Command(INSTALL, _arguments, _run)}

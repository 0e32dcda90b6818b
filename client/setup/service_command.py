"""The command `install-service` of `python -m client`: the resident process as a service of the system."""

import argparse
from pathlib import Path

from client.home import home_option
from common.cli import systemd_unit
from common.cli.command import Command
from common.cli.systemd_unit import ServiceUnit

INSTALL = """Let this machine run `client run` from its start on: a hardened unit of systemd, in an account of its own.

  python -m client install-service --home /var/lib/consilium/site --print
  sudo python -m client install-service --home /var/lib/consilium/site

The account is made where it is missing; it owns the folder, and everything that the site writes is in there. --key
names the key of the person, an operator and nothing else, as whom it runs (docs/access.md); else HOME/me.key counts."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", type=Path, metavar="FILE", help="the key of an operator")
    systemd_unit.add_options(parser, "consilium-site")
    home_option(parser)


def _run(options: argparse.Namespace) -> int:
    home = options.home.absolute()
    environment = (("CONSILIUM_PERSON", str(options.key.absolute())),) if options.key else ()
    words = ("client", "run", "--home", str(home))
    unit = ServiceUnit(options.name, "Consilium site", words, home, options.account, environment)
    return systemd_unit.install(unit, only_print=options.only_print)


COMMANDS = {"install-service": Command(INSTALL, _arguments, _run)}

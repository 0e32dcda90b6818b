"""The command that serves the live page: dashboard."""

import argparse

from common.cli.command import Command
from server.consortium.arguments import add_home
from server.consortium.home import Home

DASHBOARD = """A page for the browser: rounds as they happen, each site, what is waited for. It changes nothing.

  python -m server dashboard                     prints a link that works once
  python -m server dashboard --set-password      asks for a password, for those who come back

It listens on this machine alone; from another, come through ssh: docs/dashboard.md."""


def _dashboard_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8765, metavar="N", help="where the page is (8765)")
    parser.add_argument("--listen", default="127.0.0.1", metavar="IP", help="address of this machine (127.0.0.1)")
    parser.add_argument("--set-password", action="store_true", help="ask for a password for the page, and set it")
    add_home(parser)


def _dashboard(options: argparse.Namespace) -> int:
    from common.web.page_server import ask_password  # the web server takes a while to import
    from server.dashboard.dashboard_app import login_of, serve

    home = Home.at(options.home)
    return ask_password(login_of(home)) if options.set_password else serve(home, options.listen, options.port)


COMMANDS = {
    "dashboard": Command(DASHBOARD, _dashboard_arguments, _dashboard,
                         "the page is closed; runs go on."),
}  # fmt: skip

"""The command `page` of `python -m client`: the hospital's page, in the browser of the person whose key it is."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from client.home import home_option
from common.cli.command import Command

if TYPE_CHECKING:
    from common.web.page_server import Server

LOOPBACK = "127.0.0.1"
PAGE = """A page for your browser: the plans that wait, in plain words, with approve and refuse; images, models, the
budget of privacy, what was seen of the coordinator, the log. You need no other command to decide on a plan.

  python -m client page                     prints a link that works once
  python -m client page --as ana.key        with your key; its passphrase is asked here, at the terminal
  python -m client page --hosted page.yaml  for several people, whom the hospital's identity provider knows (OIDC)

It is your own process with your own key: it can do what your role may, and nobody else can through it. It listens on
this machine alone, and ends with Ctrl-C. docs/hospital-page.md has the rest."""


def command(commands: Mapping[str, Command]) -> Command:
    """The command.

    Args:
        commands: all of `python -m client`, which the page gives.
    """

    def run(options: argparse.Namespace) -> int:
        from client.page.hospital_app import hospital_server  # the web server takes a while to import
        from client.page.site_commands import SiteCommands
        from common.web.page_server import serve, show_link

        if options.hosted is not None:
            return _serve_hosted(options, commands)
        person, screen = SiteCommands(options.home, options.signer, commands), sys.stdout
        build = lambda port: hospital_server(person, port, lambda url: show_link(url, screen))  # noqa: E731
        return serve(build, LOOPBACK, options.port)

    return Command(PAGE, _arguments, run, "the page is closed; the site goes on.")


def _serve_hosted(options: argparse.Namespace, commands: Mapping[str, Command]) -> int:
    from client.page.hosted import HostedPage, hosted_server
    from common.web.page_server import serve

    settings = HostedPage.load(options.hosted)

    def build(port: int) -> "Server":
        return hosted_server(settings, options.home, commands, port, lambda url: print(f"The page: {url}", flush=True))

    return serve(build, settings.listen, settings.port)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8766, metavar="N", help="where the page is (8766)")
    parser.add_argument("--hosted", type=Path, metavar="FILE", help="for several people, by the identity provider")
    home_option(parser)

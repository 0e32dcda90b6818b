"""A page's process: where it listens, and what it says at its start."""

import getpass
import ipaddress
import logging
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import uvicorn

from common.cli import interrupt
from common.errors import ConfigError, RunError
from common.web.http_limits import LimitedHttp
from common.web.login import Login
from common.web.page_app import PageApp

LOOPBACK = ("localhost", "127.0.0.1", "::1")
CONNECTIONS = 200


@dataclass(frozen=True)
class PageAddress:
    """Where a page is: on loopback without TLS, or for other machines with it.

    Args:
        name: the machine's, for others.
        tls: the folder of `server.crt` and `server.key`, for others.
    """

    listen: str
    port: int
    name: str = ""
    tls: Path = Path()

    @property
    def is_local(self) -> bool:
        """Whether this machine alone reaches it.

        Raises:
            ConfigError: no address of a machine.
        """
        if self.listen == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.listen).is_loopback
        except ValueError:
            raise ConfigError(f"--listen {self.listen}: expected an IP address of this machine.") from None

    @property
    def hosts(self) -> frozenset[str]:
        """Names under which it may be asked for."""
        names = LOOPBACK if self.is_local else (*LOOPBACK, self.listen, self.name)
        return frozenset(map(str.lower, names))

    @property
    def url(self) -> str:
        """As people type it."""
        host = f"[{self.listen}]" if ":" in self.listen else self.listen
        return f"http://{host}:{self.port}/" if self.is_local else f"https://{self.name}:{self.port}/"


def ask_password(login: Login) -> int:
    """Ask for a password at the terminal, twice, and set it.

    Raises:
        ConfigError: no terminal, two passwords, or too short a one.
    """
    if not sys.stdin.isatty():
        raise ConfigError("a password is asked for at a terminal, and this is none.")
    password = getpass.getpass("Password for the page: ")
    if password != getpass.getpass("The same again: "):
        raise ConfigError("these were two different passwords. Nothing was changed.")
    login.set_password(password)
    print("Set. Whoever was logged in is no more.")
    return 0


def serve(build: Callable[[int], "Server"], listen: str, port: int) -> int:
    """Serve a page until Ctrl-C or SIGTERM.

    Args:
        build: makes the server for the port that is listened on.

    Raises:
        RunError: the port is taken.
    """
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    with _bind(listen, port) as listener:
        page_server = build(listener.getsockname()[1])
        with interrupt.in_order(page_server.end) as signals:
            page_server.run(sockets=[listener])
    return signals.status


class Server(uvicorn.Server):
    """uvicorn's, which leaves signals to whoever runs it: its own way reports some of them to nobody."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the command has its own way with them."""
        yield

    def end(self) -> None:
        """Come to an end; the second time, without waiting for connections."""
        self.force_exit = self.should_exit
        self.should_exit = True


def server(page: PageApp, address: PageAddress, say: Callable[[str], None]) -> Server:
    """The page's server; its `run` serves until `end`.

    Args:
        say: called with a link to the page: at once, and where it works only once, each time that one was used.
    """

    def tell() -> None:
        say(
            address.url if page.login.has_password or not page.has_links else f"{address.url}?token={page.login.link()}"
        )

    page.on_link_used = tell
    tls = None if address.is_local else address.tls
    config = uvicorn.Config(
        page.app(), http=LimitedHttp, ws="none", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=2,
        ssl_certfile=tls and tls / "server.crt", ssl_keyfile=tls and tls / "server.key",
    )  # fmt: skip
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    page_server = Server(config)
    page.stopping = lambda: page_server.should_exit
    tell()
    return page_server


def show_link(url: str, screen: TextIO | None = None) -> None:
    """Show a link at the terminal."""
    print(f"A link that works once: {url}", file=screen, flush=True)


def _bind(listen: str, port: int) -> socket.socket:
    if not 0 <= port < 2**16:
        raise RunError(f"--port {port}: expected a number from 0 to 65535.")
    try:
        return socket.create_server((listen, port), family=socket.AF_INET6 if ":" in listen else socket.AF_INET)
    except OSError as error:
        raise RunError(f"{listen}:{port}: {error.strerror}. Another port: --port.") from None

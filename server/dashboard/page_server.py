"""The live page's process: where it listens, and what it says at its start."""

import getpass
import ipaddress
import logging
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from common.cli import interrupt
from common.errors import ConfigError, RunError
from server.consortium.home import Home
from server.dashboard.dashboard_app import DashboardApp
from server.dashboard.login import Login
from server.gateway.http_limits import LimitedHttp

LOOPBACK = ("localhost", "127.0.0.1", "::1")
CONNECTIONS = 200


def ask_password(home: Home) -> int:
    """Ask for a password at the terminal, twice, and set it.

    Raises:
        ConfigError: no terminal, two passwords, or too short a one.
    """
    if not sys.stdin.isatty():
        raise ConfigError("a password is asked for at a terminal, and this is none.")
    password = getpass.getpass("Password for the live page: ")
    if password != getpass.getpass("The same again: "):
        raise ConfigError("these were two different passwords. Nothing was changed.")
    Login(home).set_password(password)
    print("Set. Whoever was logged in is no more.")
    return 0


def serve(home: Home, listen: str, port: int) -> int:
    """Serve the page until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: no address of this machine, or more than this machine is to reach it without a password.
        RunError: the port is taken.
    """
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    local = _is_local(listen)
    if not local and not Login(home).has_password:
        raise ConfigError(f"--listen {listen} lets other machines in, so set a password: --set-password.")
    listener = _bind(listen, port)
    page_server = server(
        home, listen, listener.getsockname()[1], lambda url: print(f"A link that works once: {url}", flush=True)
    )
    if not local:
        print(
            "Other machines can reach this page, with TLS by the consortium's own certificate. It is safer on loopback,"
        )
        print("reached through `ssh -L` (docs/dashboard.md).")
    with listener, interrupt.in_order(page_server.end) as signals:
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


def server(home: Home, listen: str, port: int, say: Callable[[str], None]) -> Server:
    """The page's server; its `run` serves until `end`.

    Args:
        say: called with a link to the page: at once, and where it works only once, each time that one was used.
    """
    local, login = _is_local(listen), Login(home)
    names = LOOPBACK if local else (*LOOPBACK, listen, home.settings.address.rpartition(":")[0].strip("[]"))
    host = f"[{listen}]" if ":" in listen else listen
    url = f"http://{host}:{port}/" if local else f"https://{names[-1]}:{port}/"

    def tell() -> None:
        say(url if login.has_password else f"{url}?token={login.link()}")

    dashboard = DashboardApp(
        home, login, frozenset(map(str.lower, names)), secure=not local, cookie=f"consilium-{port}", on_link_used=tell
    )
    tls = home.folder / "tls"
    config = uvicorn.Config(
        dashboard.app(), http=LimitedHttp, ws="none", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=2,
        ssl_certfile=None if local else tls / "server.crt", ssl_keyfile=None if local else tls / "server.key",
    )  # fmt: skip
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    page_server = Server(config)
    dashboard.stopping = lambda: page_server.should_exit
    tell()
    return page_server


def _is_local(listen: str) -> bool:
    if listen == "localhost":
        return True
    try:
        return ipaddress.ip_address(listen).is_loopback
    except ValueError:
        raise ConfigError(f"--listen {listen}: expected an IP address of this machine.") from None


def _bind(listen: str, port: int) -> socket.socket:
    try:
        return socket.create_server((listen, port), family=socket.AF_INET6 if ":" in listen else socket.AF_INET)
    except OSError as error:
        raise RunError(f"{listen}:{port}: {error.strerror}. Another port: --port.") from None

"""The live page of a consortium in a real folder, on a real port."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import httpx

from common.storage.files import write_json
from common.web.page_server import Server
from server.consortium.home import Home
from server.dashboard.dashboard_app import server

PASSWORD = "correct horse battery staple"  # noqa: S105 of a test


class ServedPage:
    """A page's server in a thread.

    Args:
        build: makes the server, given the port and whom to tell links.
    """

    def __init__(self, build: Callable[[int, Callable[[str], None]], Server], port: int = 0) -> None:
        self.links = list[str]()
        self.line = socket.create_server(("127.0.0.1", port))
        self.port = int(self.line.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = build(self.port, self.links.append)
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.line]})

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self.server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.line.close()

    def client(self) -> httpx.Client:
        """Somebody who is not logged in."""
        return httpx.Client(base_url=self.url, headers={"accept": "text/html"}, timeout=60)

    @contextmanager
    def inside(self) -> Iterator[httpx.Client]:
        """Somebody who is."""
        with self.client() as client:
            assert client.get(self.links[-1]).status_code == 303
            yield client


class Page(ServedPage):
    """The coordinator's."""

    def __init__(self, home: Home, port: int = 0) -> None:
        self.home = home
        super().__init__(lambda port, say: server(home, "127.0.0.1", port, say), port)


def alive(home: Home, **lost_s: float) -> None:
    """What running processes write: all sites were heard a moment ago, but those whose line was lost so long ago."""
    now = time.time()
    (home.live / "doing").mkdir(parents=True, exist_ok=True)
    write_json(home.live / "keeper.json", {"at_s": now + 300, "problem": ""})
    heard = {}
    for site in home.identities():
        heard[site] = {"at_s": now + 300, "since_s": now - 3600, "short": True}
        if site in lost_s:
            heard[site] |= {"at_s": now - lost_s[site], "lost_s": now - lost_s[site]}
        write_json(home.live / "doing" / f"{site}.json", {"what": "waiting", "at_s": now, "detail": "", "error": ""})
    write_json(home.live / "heard.json", heard)

"""Everything that goes to the coordinator goes through the proxy of site.yaml, with its user and password."""

import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from flwr.proto.fleet_pb2 import ActivateNodeRequest

from client.connection import fleet_client
from client.connection.fast_path import FastPath
from client.connection.fleet_client import Clock, Endpoint
from client.connection.gateway_client import GatewayClient
from client.connection.proxy import connect, of_site, proxy_for
from client.plans.sync import gateway_of
from client.setup import address_check
from client.site_settings import read
from common.errors import ConfigError, LinkError
from tests.gateway.running_gateway import Door

USER, PASSWORD = "a@b", "s/e:c ret"
AUTHORIZATION = f"Proxy-Authorization: Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}".lower()


class HospitalProxy:
    """A real proxy: CONNECT, for whoever is named in the request, and bytes both ways."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                site, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(site,), daemon=True).start()

    def _serve(self, site: socket.socket) -> None:
        with site, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (byte := site.recv(1)):
                head += byte
            self.heads.append(head.decode())
            if AUTHORIZATION not in head.decode().lower():
                site.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port))) as there:
                site.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=self._copy, args=(there, site), daemon=True)
                back.start()
                self._copy(site, there)
                back.join()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65_536):
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[HospitalProxy]:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    found = HospitalProxy()
    yield found
    found.close()


def own(folder: Path, url: str, password: str = PASSWORD) -> str:
    """What a site.yaml with this proxy comes to."""
    secret = folder / "proxy.password"
    secret.write_text(password, encoding="utf-8")
    secret.chmod(0o600)
    text = f"site: lisbon\nproxy: {{url: '{url}', user: '{USER}', password: proxy.password}}\n"
    return of_site(read(folder / "site.yaml", text.encode()), folder)


def test_documents_and_flower_go_through_it(door: Door, proxy: HospitalProxy, tmp_path: Path) -> None:
    through, site = own(tmp_path, proxy.url), door.consortium.sites["Lisbon"]
    with GatewayClient(door.address, door.home.authority, "Lisbon", site.identity, through) as board:
        assert board.board() == {"for": "Lisbon"}
    endpoint = Endpoint(door.address, door.home.authority, door.key("Lisbon"), through)
    assert PASSWORD not in repr(endpoint)
    with fleet_client.fleet(endpoint, Clock()) as fleet, suppress(httpx.HTTPStatusError):
        fleet.ActivateNode(ActivateNodeRequest(public_key=endpoint.public_key, heartbeat_interval=30))
    short = FastPath(endpoint, Clock())
    with suppress(Exception):  # it may have to be registered first: that it came there is what counts
        short.take("")
    short.close()
    assert len(proxy.heads) == 3
    assert all(head.startswith(f"CONNECT {door.address} HTTP/1.1") for head in proxy.heads)


def test_a_site_s_own_commands_and_its_check_go_through_it(door: Door, proxy: HospitalProxy) -> None:
    site = door.consortium.sites["Lisbon"]
    settings = site.folder / "site.yaml"
    before = settings.read_text(encoding="utf-8")
    (site.folder / "proxy.password").write_text(PASSWORD, encoding="utf-8")
    (site.folder / "proxy.password").chmod(0o600)
    try:
        words = f"\nproxy: {{url: '{proxy.url}', user: '{USER}', password: proxy.password}}\n"
        settings.write_text(before + words, encoding="utf-8")
        (site.folder / "address").write_text(door.address, encoding="utf-8")
        with gateway_of(site) as board:
            board.board()
        (line,) = address_check.look(site)
        assert line.ok, line
        assert line.what.endswith(f"through the proxy {proxy.url}")
        assert len(proxy.heads) == 2
    finally:
        settings.write_text(before, encoding="utf-8")


def test_a_proxy_that_refuses_is_named_without_its_password(door: Door, proxy: HospitalProxy, tmp_path: Path) -> None:
    through, site = own(tmp_path, proxy.url, "another"), door.consortium.sites["Lisbon"]
    with (
        GatewayClient(door.address, door.home.authority, "Lisbon", site.identity, through) as board,
        pytest.raises(LinkError, match=f"the proxy {proxy.url}, which site.yaml names: check it") as caught,
    ):
        board.board()
    assert "another" not in str(caught.value)
    with pytest.raises(OSError, match=r"does not let it through .*407") as refusal:
        connect("127.0.0.1", 1, 5, through)
    assert "another" not in str(refusal.value)


def test_the_environment_s_user_and_password_are_handed_over_too(
    door: Door, proxy: HospitalProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", own(tmp_path, proxy.url))
    host, _, port = door.address.rpartition(":")
    connect(host, int(port), 5).close()
    assert len(proxy.heads) == 1


def test_site_yaml_counts_before_the_environment(proxy: HospitalProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://other:1")
    monkeypatch.setenv("NO_PROXY", "fl.example.org")
    assert proxy_for("fl.example.org", "http://a:b@[2001:db8::1]:3128") == "http://[2001:db8::1]:3128"
    assert proxy_for("fl.example.org") == ""


def test_a_password_in_the_address_or_open_to_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"proxy\.url"):
        read(tmp_path / "site.yaml", b"site: a\nproxy: {url: 'http://ana:secret@proxy:3128'}\n")
    own(tmp_path, "http://proxy:3128")
    (tmp_path / "proxy.password").chmod(0o644)
    settings = read(
        tmp_path / "site.yaml", b"site: a\nproxy: {url: 'http://p:1', user: ana, password: proxy.password}\n"
    )
    with pytest.raises(ConfigError, match="others can read it"):
        of_site(settings, tmp_path)

"""A coordinator with its door: a consortium in a real folder, a real SuperLink, the gateway before it in a thread.

The SuperLink is started as the coordinator starts it; the board is kept in memory.
"""

import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supercore.interceptors import SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from common.errors import LinkError, PlanError
from server.consortium import certificate, membership
from server.consortium.home import Home
from server.gateway import app as gateway
from server.gateway.routes import SiteApi
from server.processes.supervisor import ManagedProcess, Supervisor
from server.superlink import control
from tests.consortium.consortium import Consortium
from tests.superlink.superlink import SuperLink, free_port

START_S = 60.0


class MemorySiteApi:
    """What sites said, in memory."""

    def __init__(self) -> None:
        self.decisions: list[tuple[str, dict[str, Any]]] = []
        self.activities: list[tuple[str, dict[str, Any]]] = []

    def roster_and_plans(self, site: str) -> dict[str, Any]:
        return {"for": site}

    def take_decision(self, site: str, content: dict[str, Any]) -> dict[str, Any]:
        if content.get("plan") == "over":
            raise PlanError("plan over: it is over, or the site was not asked.")
        if content.get("plan") == "full":
            raise OSError(28, "No space left on device")
        self.decisions.append((site, content))
        return {"taken": content}

    def take_activity(self, site: str, content: dict[str, Any]) -> dict[str, Any]:
        self.activities.append((site, content))
        return {}

    def log_head(self, site: str, content: dict[str, Any]) -> dict[str, Any]:
        return {"for": site}

    catalogue = take_offer = take_package_piece = package_piece = log_head


class _AsCoordinator(SuperLink):
    """The SuperLink of a coordinator's folder, which asks its SuperExec for a secret."""

    def __init__(self, home: Home) -> None:
        self.port, self.ca = home.settings.superlink_port, home.authority
        self._secret = (home.live / "flower" / "superexec.secret").read_bytes()

    def _runtime(self) -> RuntimeHttpClient:
        signing = SuperExecAuthHttpInterceptor(
            master_secret=self._secret, protected_methods={"/flwr.proto.Runtime/AcquireTask"}
        )
        return RuntimeHttpClient.from_server_address(self.address, False, self.ca.read_bytes(), [signing])


class Serving:
    """A gateway in a thread."""

    def __init__(self, home: Home, site_api: SiteApi) -> None:
        self.server: uvicorn.Server = gateway.server(home, site_api)
        self._thread = threading.Thread(target=self.server.run)

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self.server.started:
            assert self._thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


class Door:
    """All of it. Its hospitals are registered at the SuperLink, `Osaka` was revoked after that."""

    def __init__(self, folder: Path) -> None:
        self.consortium = Consortium(folder)
        self.home, self.port = self.consortium.home, free_port()
        settings = self.home.folder / "consortium.yaml"
        changed = yaml.safe_load(settings.read_text(encoding="utf-8"))
        changed |= {"listen": "127.0.0.1", "port": self.port, "superlink_port": free_port()}
        settings.write_text(yaml.safe_dump(changed), encoding="utf-8")
        self.site_api = MemorySiteApi()
        certificate.ensure_local(self.home)
        started = control.commands(self.home.folder, self.home.settings.superlink_port)["superlink"]
        self.control = control.ControlApi(self.home.folder, self.home.settings.superlink_port)
        self.supervisor = Supervisor(
            [ManagedProcess("superlink", started.command, started.env, self.superlink_answers)], self.home.live / "log"
        )
        self.serving = Serving(self.home, self.site_api)
        self.nodes: dict[str, int] = {}

    def start(self) -> None:
        self.supervisor.start()
        for site, request in self.home.requests().items():
            self.nodes[site] = self.control.register(request.node)
        self.serving.start()
        membership.revoke(self.home, "Osaka", self.home.root_keys())

    def stop(self) -> None:
        self.serving.stop()
        self.control.close()  # the SuperLink waits for its connections to be closed
        self.supervisor.stop()

    def superlink_answers(self) -> bool:
        try:
            self.control.nodes()
            return True
        except LinkError:
            return False

    @property
    def address(self) -> str:
        """The gateway's."""
        return f"127.0.0.1:{self.port}"

    @property
    def as_coordinator(self) -> SuperLink:
        """The SuperLink itself, for a test that speaks as a ServerApp."""
        return _AsCoordinator(self.home)

    def key(self, site: str) -> ec.EllipticCurvePrivateKey:
        """A site's node key."""
        return self.consortium.sites[site].node_key

    def fleet(self, key: ec.EllipticCurvePrivateKey, address: str = "") -> FleetHttpClient:
        """Flower's own client with Flower's own signatures, through the gateway."""
        return FleetHttpClient.from_server_address(
            address or self.address, False, self.home.authority.read_bytes(),
            [NodeAuthHttpInterceptor(key, key.public_key())],
        )  # fmt: skip

    def goodbye(self, site: str) -> None:
        """A site's node leaves: another process of the site may come at once, which else would wait for a minute."""
        with self.fleet(self.key(site)) as fleet, suppress(httpx.HTTPStatusError):  # it has left already
            fleet.DeactivateNode(DeactivateNodeRequest(node_id=self.nodes[site]))

    def client(self) -> httpx.Client:
        """A stranger who has the certificate and nothing else."""
        return httpx.Client(base_url=f"https://{self.address}", verify=self.tls())

    def tls(self) -> ssl.SSLContext:
        """Trusts the consortium's authority."""
        return ssl.create_default_context(cafile=str(self.home.authority))

    def line(self) -> ssl.SSLSocket:
        """A connection for bytes as they are."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return self.tls().wrap_socket(raw, server_hostname="127.0.0.1")

    def say(self, *pieces: bytes) -> bytes:
        """Bytes as they are; what came back until the other side closed, or said all."""
        with self.line() as line:
            return talk(line, *pieces)


def talk(line: ssl.SSLSocket, *pieces: bytes) -> bytes:
    """Send, then read one answer to its end, or what there is when the other side closes."""
    answer = b""
    try:
        for piece in pieces:
            line.sendall(piece)
        while chunk := line.recv(65536):
            answer += chunk
            head, _, body = answer.partition(b"\r\n\r\n")
            for header in head.lower().split(b"\r\n"):
                if header.startswith(b"content-length:") and len(body) >= int(header[15:]):
                    return answer
    except (ConnectionError, ssl.SSLError):
        pass  # closed in the middle
    return answer

"""A real SuperLink for tests: a process of its own with TLS, node authentication and a database on disk.

with SuperLink(tmp_path) as link:           # started, ready
    node = link.register(key)               # an ECDSA P-384 key of a site
    with link.run() as grid:                # a run whose ServerApp is the test itself: Flower's own Grid
        message = Message(content, node, "query.echo", ttl=60)
    link.kill(), link.start()               # on the same port and database
"""

import datetime
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Self

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import run_from_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid, http_grid

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}
ROOT = Path(__file__).parents[2]
START_S = 60
# A reply is announced before its content has arrived; Flower's grid would look again after a second.
http_grid.pull_objects = partial(http_grid.pull_objects, initial_backoff=0.02, backoff_cap=0.5)
BUNDLE = {
    "pyproject.toml": b"""
[project]
name = "nothing"
version = "1.0.0"
dependencies = ["flwr==1.42.0"]
[tool.flwr.app]
publisher = "tests"
[tool.flwr.app.components]
serverapp = "nothing:app"
clientapp = "nothing:app"
""",
    "nothing.py": b"",
    "README.md": b"A run whose ServerApp is a test.\n",
}


def authority(folder: Path, name: str = "ca", host: str = "127.0.0.1") -> Path:
    """A throwaway authority and a server's certificate: NAME.crt (returned), NAME-server.crt, NAME-server.key."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    ski = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    common = x509.CertificateBuilder().issuer_name(issuer).not_valid_before(now - day).not_valid_after(now + day)
    ca = (
        common.subject_name(issuer)
        .public_key(ca_key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(ski, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host)), x509.DNSName("localhost")])
    server = (
        common.subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.crt").write_bytes(ca.public_bytes(Encoding.PEM))
    (folder / f"{name}-server.crt").write_bytes(server.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}-server.key").write_bytes(private)
    return folder / f"{name}.crt"


def free_port() -> int:
    """A port of this machine that nothing listens at."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class SuperLink:
    """One SuperLink on loopback. Its folder holds certificates, database and log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.ca = authority(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "server.superlink", "--isolation", "process"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--database", str(self.folder / "state.db")]
        command += ["--ssl-certfile", str(self.folder / "ca-server.crt"), "--ssl-ca-certfile", str(self.ca)]
        command += ["--ssl-keyfile", str(self.folder / "ca-server.key"), "--enable-supernode-auth"]
        command += ["--disable-runtime-dependency-installation"]
        self._log = (self.folder / "superlink.log").open("ab")
        env = {**os.environ, **QUIET, "FLWR_HOME": str(self.folder / "flwr")}
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=self._log, stderr=self._log, env=env)
        deadline = time.monotonic() + START_S
        with self._control() as control:
            while True:
                try:
                    control.ListNodes(ListNodesRequest())
                    return
                except httpx.TransportError:
                    assert self._process.poll() is None, (self.folder / "superlink.log").read_text(encoding="utf-8")
                    assert time.monotonic() < deadline, "the SuperLink did not start"
                    time.sleep(0.1)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None and self._log is not None:
            self._process.kill()
            self._process.wait()
            self._log.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def register(self, key: ec.EllipticCurvePrivateKey) -> int:
        """Admit a site's key; the id of its node."""
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with self._control() as control:
            return int(control.RegisterNode(RegisterNodeRequest(public_key=public)).node_id)

    def unregister(self, node: int) -> None:
        """Take a site's key away."""
        with self._control() as control:
            control.UnregisterNode(UnregisterNodeRequest(node_id=node))

    def status(self, node: int) -> str:
        """What the SuperLink thinks of a node: registered, online, offline."""
        with self._control() as control:
            return {n.node_id: str(n.status) for n in control.ListNodes(ListNodesRequest()).nodes_info}[node]

    @contextmanager
    def run(self, files: Mapping[str, bytes] = BUNDLE) -> Iterator[HttpGrid]:
        """A run of a bundle of these files that is going on; the test speaks as its ServerApp."""
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # Flower's, about pathspec
            bundle, _ = build_fab_from_files(files)
        with self._control() as control:
            run_id = control.StartRun(StartRunRequest(fab=Fab(content=bundle))).run_id
        with self._runtime() as runtime:
            token = runtime.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])).token
        grid = HttpGrid(self.address, root_certificates=self.ca.read_bytes(), token=token)
        heart = HeartbeatSender(make_task_heartbeat_fn_http(grid._runtime_client))
        told = grid._runtime_client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = told.task_id, told.run.run_id
        TaskIdentity.node_id = told.context.node_id
        grid.set_run(run_from_proto(told.run))
        heart.start()
        try:
            yield grid
        finally:
            heart.stop()
            grid.close()
            self.stop(run_id)

    def stop(self, run_id: int) -> None:
        """End a run, if it has not ended."""
        with self._control() as control, suppress(httpx.HTTPStatusError):
            control.StopRun(StopRunRequest(run_id=run_id))

    def _control(self) -> ControlHttpClient:
        return ControlHttpClient.from_server_address(self.address, False, self.ca.read_bytes(), interceptors=[])

    def _runtime(self) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(self.address, False, self.ca.read_bytes(), interceptors=[])

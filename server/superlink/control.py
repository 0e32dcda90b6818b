"""Flower's SuperLink as the coordinator runs it: how it is started, what it is asked, and the bundle that a run needs.

It listens on loopback alone. Its Control and Runtime APIs ask for nothing more than the certificate, so whoever is on
this machine can use them; the gateway lets nothing of them through.
"""

import os
import secrets
import sys
import sysconfig
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.control.control_http_client import ControlHttpClient

from common.errors import ConfigError, LinkError
from common.storage.files import write_secret

FLOWER = "1.42.0"
POLL_S = 0.5
"""How often the SuperExec asks for a run to begin."""
MOST_RUNS = 1000
LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).parents[2]

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessCommand:
    """What a process is started with."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    """On top of this process's own."""


def commands(home: Path, port: int) -> dict[str, ProcessCommand]:
    """How to start `superlink` and `superexec` for a coordinator's folder; makes the secret that they share.

    Raises:
        ConfigError: another release of Flower, or one whose commands are not installed.
    """
    _prepare()
    folder, tls = home / "live" / "flower", home / "tls"
    programs = Path(sysconfig.get_path("scripts"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # the database has what sites send, as they sent it
    secret = folder / "superexec.secret"
    with suppress(ConfigError):  # it is there
        write_secret(secret, secrets.token_bytes(32))
    for name in ("flower-superexec", "flwr-serverapp"):
        if not (programs / name).exists():
            raise ConfigError(f"{programs / name}: not found. Install flwr=={FLOWER} into the environment in use.")
    env = {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_HOME": str(folder / "home"),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": str(POLL_S),
        # The SuperExec starts `flwr-serverapp` by name, and that imports `server` by name.
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "PYTHONUNBUFFERED": "1",
    }
    superlink = (
        sys.executable, "-m", "server.superlink", "--host", LOOPBACK, "--port", str(port), "--isolation", "process",
        "--ssl-certfile", str(tls / "local.crt"), "--ssl-keyfile", str(tls / "local.key"),
        "--ssl-ca-certfile", str(tls / "ca.crt"), "--enable-supernode-auth", "--database", str(folder / "state.db"),
        "--superexec-auth-secret-file", str(secret), "--disable-runtime-dependency-installation",
    )  # fmt: skip
    superexec = (
        str(programs / "flower-superexec"), "--runtime-api-address", f"{LOOPBACK}:{port}",
        "--root-certificates", str(tls / "ca.crt"), "--superexec-auth-secret-file", str(secret),
    )  # fmt: skip
    # Each look of ours at nodes and runs would be two lines in its log.
    return {
        "superlink": ProcessCommand(superlink, env | {"FLWR_LOG_LEVEL": "WARNING"}),
        "superexec": ProcessCommand(superexec, env),
    }


def bundle() -> bytes:
    """What Flower wants a run to consist of. There is no code in it: both sides import what they have installed."""
    project = f"""
[project]
name = "consilium"
version = "1.0.0"
description = "Names what the coordinator and the sites have installed; holds no code."
dependencies = ["flwr=={FLOWER}"]
[tool.flwr.app]
publisher = "consilium"
[tool.flwr.app.components]
serverapp = "server.app:app"
clientapp = "client.app:app"
[tool.flwr.app.config]
home = ""
plan = ""
"""
    return build_fab_from_files({"pyproject.toml": project.encode(), "README.md": b"There is no code in here.\n"})[0]


@dataclass(frozen=True)
class RegisteredNode:
    """A site's node, as the SuperLink has it."""

    id: int
    online: bool
    since_s: float | None
    """When it last came or left, seconds since 1970; None if it never came."""


class ControlApi:
    """Flower's Control API of the SuperLink on this machine.

    Raises:
        LinkError: every method, when the SuperLink does not answer, or refuses.
        ConfigError: another release of Flower, or no certificate of the authority.
    """

    def __init__(self, home: Path, port: int) -> None:
        _prepare()
        path, self._address = home / "tls" / "ca.crt", f"{LOOPBACK}:{port}"
        try:
            self._client = ControlHttpClient.from_server_address(self._address, False, path.read_bytes(), [])
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else "expected a certificate, PEM"
            raise ConfigError(f"{path}: {what}. It is made by `python -m server init`.") from None

    def register(self, key: str) -> int:
        """Let a node in; its id. One that is in already keeps its own.

        Args:
            key: its ECDSA public key in OpenSSH's form.

        Raises:
            ConfigError: for anything else, and for a key that was taken out: it never comes back.
        """
        try:
            public = load_ssh_public_key(key.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ConfigError(f"node key {key[:20]!r}…: expected an ECDSA public key in OpenSSH's form.") from None
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if node := self.nodes().get(pem):
            return node.id
        try:
            return int(self._ask(lambda: self._client.RegisterNode(RegisterNodeRequest(public_key=pem))).node_id)
        except LinkError as error:
            if "already in use" not in str(error):
                raise
            raise ConfigError(
                "node key: it was let in before and taken out, and Flower lets no key in twice. The site needs new "
                "keys: python -m client rekey, and here: python -m server admit REQUEST --new-keys."
            ) from None

    def unregister(self, node: int) -> None:
        """Let a node in no more, for ever: Flower does not take its key a second time."""
        self._ask(lambda: self._client.UnregisterNode(UnregisterNodeRequest(node_id=node)))

    def nodes(self) -> dict[bytes, RegisteredNode]:
        """All that are let in, by public key (PEM, as Flower's header has it)."""
        infos = self._ask(lambda: self._client.ListNodes(ListNodesRequest())).nodes_info
        return {
            bytes(n.public_key): RegisteredNode(
                int(n.node_id), n.status == "online",
                _seconds(n.last_activated_at if n.status == "online" else n.last_deactivated_at),
            )
            for n in infos
            if n.status != "unregistered"
        }  # fmt: skip

    def submit(self, content: bytes, settings: Mapping[str, str]) -> int:
        """Begin a run of a bundle with values for its run-config; the run's id."""
        request = StartRunRequest(fab=Fab(content=content), override_config=user_config_to_proto(dict(settings)))
        return int(self._ask(lambda: self._client.StartRun(request)).run_id)

    def runs(self) -> dict[int, str]:
        """The latest runs: pending, starting, running, finished:completed, finished:stopped, finished:failed (why)."""
        entries = self._ask(lambda: self._client.ListRuns(ListRunsRequest(limit=MOST_RUNS))).run_dict
        return {
            int(run): status.status
            + (f":{status.sub_status}" if status.sub_status else "")
            + (f" ({status.details})" if status.details else "")
            for run, status in ((run, entry.status) for run, entry in entries.items())
        }

    def stop(self, run: int) -> None:
        """End a run. One that is over stays as it is."""
        if not self.runs().get(run, "finished").startswith("finished"):
            self._ask(lambda: self._client.StopRun(StopRunRequest(run_id=run)))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except httpx.HTTPStatusError as error:
            why = f"{error.response.status_code} {error.response.text[:300]}"
            raise LinkError(f"Flower's SuperLink at {self._address} refused: {why}") from None
        except (httpx.HTTPError, ValueError) as error:
            raise LinkError(
                f"Flower's SuperLink at {self._address} does not answer ({str(error)[:200] or type(error).__name__}). "
                "`python -m server start` keeps it running; what it says is in live/log/superlink.log."
            ) from None


def _prepare() -> None:
    """Keep proxies out of the way, and refuse another release of Flower."""
    for name in ("no_proxy", "NO_PROXY"):
        # Flower's httpx would send what is for this very machine to a proxy that the environment names.
        if (proxies := os.environ.get(name, "")) != "*" and LOOPBACK not in proxies:
            os.environ[name] = f"{proxies},{LOOPBACK}".lstrip(",")
    if (release := version("flwr")) != FLOWER:
        raise ConfigError(
            f"flwr {release} is installed, expected {FLOWER}: its inner modules are used, and change with every "
            f"release. Install it: pip install flwr=={FLOWER}"
        )


def _seconds(moment: str) -> float | None:
    return datetime.fromisoformat(moment).timestamp() if moment else None

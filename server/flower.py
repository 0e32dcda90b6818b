"""The coordinator's edge to Flower: the round loop's transport over a Flower grid, and the ServerApp.

FlowerTransport  requests to nodes, replies from them; only bytes of common/wire.py travel
app              what `flwr run` starts at the coordinator
simulate()       Flower's own simulation engine (Ray), around any function that takes a transport
"""

import importlib.util
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar, cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.server.superlink.fleet.vce.backend.backend import BackendConfig
from flwr.serverapp import Grid, ServerApp

from common import config as configuration
from common import tensorfile, wire
from common.enrolment import Consortium
from common.errors import ConfigError, QuorumError, WireError
from common.models import quiet
from common.transport import NONE, Misfortunes, Reply, Request
from common.types import Tensors
from server import training
from server.training import About

log = logging.getLogger("consilium")
T = TypeVar("T")

POLL_S = 0.02
"""Flower's own `send_and_receive` waits 3 s between two looks."""
AT_ONCE = 8
"""Replies that are fetched at a time: Flower hands over whole all that it is asked for."""
GATHERING_S = 120.0
"""How long to wait for the sites to come online."""


class FlowerTransport:
    """The sites behind a Flower grid. A node's error is logged with its reason, and is silence to the round loop.

    Args:
        grid: as Flower hands it to a ServerApp.
        sites: how many sites take part; the constructor waits until they are online and have said their names.
        timeout_s: for that introduction, in which a site may first have to read all its images.
        misfortunes: what a simulation adds.
        stop: once it is set, waiting ends in KeyboardInterrupt.

    Raises:
        QuorumError: fewer sites than expected introduced themselves.
        ConfigError: two nodes of one name.
    """

    def __init__(
        self,
        grid: Grid,
        sites: int,
        timeout_s: float,
        misfortunes: Misfortunes = NONE,
        stop: threading.Event | None = None,
    ) -> None:
        self._grid, self._misfortunes = grid, misfortunes
        self._stop = stop or threading.Event()
        self.states: dict[str, Tensors] = {}
        """What simulated sites keep, for the checkpoint; real sites keep their own and never send it."""
        self._known: dict[str, Tensors] = {}
        """The state that each simulated site has, as far as it was sent or received."""
        self._last_refusal = ""
        self._nodes, self.about = self._introductions(sites, timeout_s)

    def sites(self) -> tuple[str, ...]:
        """Names of all sites, sorted."""
        return tuple(self._nodes)

    def exchange(self, requests: Mapping[str, Request], timeout_s: float) -> Iterator[tuple[str, Reply]]:
        """Send each site its request, all of one round; what came in time, site and reply, as it comes."""
        reached = {site: r for site, r in requests.items() if not self._misfortunes.away(site, r.round)}
        # One record for all that are asked the same: Flower then sends its pieces once.
        messages = {key: _record(wire.encode_request(r)) for key, r in {id(r): r for r in reached.values()}.items()}
        contents = {
            self._nodes[site]: RecordDict({"message": messages[id(request)], **self._state_for(site)})
            for site, request in reached.items()
        }
        names = {self._nodes[site]: site for site in reached}
        for node, content in self._ask("query.answer", contents, timeout_s):
            site = names[node]
            try:
                reply = wire.decode_reply(_bytes(content, "message"))
                if "state" in content:
                    self.states[site] = self._known[site] = tensorfile.unpack(_bytes(content, "state"))[0]
            except WireError as error:
                log.warning("site %s: a reply that cannot be used: %s", site, error)
                continue
            if not self._misfortunes.silent(site, reached[site].round):
                yield site, reply

    def _state_for(self, site: str) -> dict[str, ArrayRecord]:
        """After a resume, the next message to a simulated site brings back what it had kept."""
        state = self.states.get(site)
        if not state or state is self._known.get(site):
            return {}
        self._known[site] = state
        return {"state": _record(tensorfile.pack(state, {}))}

    def _introductions(self, expected: int, timeout_s: float) -> tuple[dict[str, int], tuple[About, ...]]:
        deadline = time.monotonic() + GATHERING_S
        while len(nodes := sorted(self._grid.get_node_ids())) < expected and time.monotonic() < deadline:
            self._pause()
        answers = self._ask("query.introduce", {node: RecordDict() for node in nodes}, timeout_s)
        found = sorted((about, node) for node, content in answers if (about := self._about(node, content)))
        names = [about.site for about, _ in found]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(
                f"node-config: {min(twice)!r} is the name of several nodes; expected a name for each site."
            )
        if len(names) < expected:
            raise QuorumError(
                f"{len(names)} of {expected} sites introduced themselves ({', '.join(names) or 'none'}); {len(nodes)} "
                f"nodes are online. {self._last_refusal or 'Start the others, or lower the number of sites.'}"
            )
        return {about.site: node for about, node in found}, tuple(about for about, _ in found)

    def _about(self, node: int, content: RecordDict) -> About | None:
        try:
            told = cast(ConfigRecord, content["about"])
            h, w, c = (int(n) for n in cast(list[int], told["shape"]))
            labels = tuple(str(label) for label in cast(list[str], told["labels"]))
            return About(str(told["site"]), labels, (h, w, c), str(told["recipe"]))
        except (KeyError, TypeError, ValueError):
            self._last_refusal = f"node {node}: an introduction of another release; bring it to the coordinator's."
            log.warning("%s", self._last_refusal)
            return None

    def _ask(self, kind: str, contents: Mapping[int, RecordDict], timeout_s: float) -> Iterator[tuple[int, RecordDict]]:
        """Send each node its content; what came back in time, node and content, as it comes."""
        deadline = time.monotonic() + timeout_s
        messages = [Message(content, node, kind, ttl=timeout_s + 60) for node, content in contents.items()]
        awaited = {name for name in self._grid.push_messages(messages) if name}
        late = False
        while awaited and not late:
            late = time.monotonic() >= deadline  # what has come by then counts, however long it takes to fetch
            for message in self._pulled(awaited):
                node = message.metadata.src_node_id
                if message.has_error():
                    self._last_refusal = f"{self._name(node)}: {message.error.reason}"
                    log.warning("%s did not answer %s", self._last_refusal, kind)
                elif node in contents:
                    yield node, message.content
            if awaited and not late:
                self._pause()

    def _pulled(self, awaited: set[str]) -> Iterator[Message]:
        """Replies that are there, a few at a time; who has replied is awaited no longer."""
        left = iter(sorted(awaited))
        while some := list(islice(left, AT_ONCE)):
            for message in self._grid.pull_messages(some):
                awaited.discard(message.metadata.reply_to_message_id)
                yield message

    def _pause(self) -> None:
        if self._stop.wait(POLL_S):
            raise KeyboardInterrupt

    def _name(self, node: int) -> str:
        return next(
            (f"site {site}" for site, own in getattr(self, "_nodes", {}).items() if own == node), f"node {node}"
        )


def _record(content: bytes) -> ArrayRecord:
    # Flower sends arrays in pieces, but a ConfigRecord whole: for 100 MB that took ten times as long.
    return ArrayRecord({"bytes": Array("uint8", (len(content),), "consilium", content)})


def _bytes(content: RecordDict, name: str) -> bytes:
    try:
        return cast(ArrayRecord, content[name])["bytes"].data
    except (KeyError, TypeError, AttributeError):
        raise WireError(f"a Flower message without bytes under '{name}'.") from None


# --- a real federation ----------------------------------------------------------------------------------------------

app = ServerApp()
"""What `flwr run` starts. Run-config: `config`, the run's YAML file; `consortium`, a folder with the signed `roster`
and the `pins.json` to check it by; `sites`, how many take part; `out`, a folder."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds of the configuration's first seed, with a checkpoint after each; goes on from the one there is."""
    told = context.run_config
    if missing := {"config", "consortium", "sites", "out"} - set(told):
        raise ConfigError(f"run-config: no key {min(missing)}; expected config, consortium, sites and out.")
    config = configuration.load(str(told["config"]))
    consortium = Consortium.read(Path(str(told["consortium"])))
    transport = FlowerTransport(grid, int(told["sites"]), config.federation.timeout_s)
    for record in training.coordinate(config, transport, transport.about, consortium, Path(str(told["out"]))):
        log.info("%s", record)


# --- Flower's simulation engine -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Engine:
    """How Flower is to simulate."""

    sites: int
    timeout_s: float
    """For the sites' introduction, in which every worker process loads the data."""
    cores_per_site: int = 1
    misfortunes: Misfortunes = NONE


def simulate(client: ClientApp, engine: Engine, drive: Callable[[FlowerTransport], T]) -> T:
    """Run `drive` with a transport to the sites that Flower simulates in Ray's worker processes.

    Raises:
        ConfigError: if Ray is not installed.
        Exception: whatever `drive` raises.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "--engine flower: expected the package ray, which is not installed. Install it into the same environment: "
            'pip install "flwr[simulation]==1.41.0". Or leave --engine out: the result is the same.'
        )
    outcome: list[T] = []
    fault: list[BaseException] = []
    stop = threading.Event()
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            outcome.append(drive(FlowerTransport(grid, engine.sites, engine.timeout_s, engine.misfortunes, stop)))
        except BaseException as error:
            fault.append(error)

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns at each start
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    quiet.load("flwr.simulation")  # it imports TensorFlow, whether the model needs it or not
    from flwr.simulation import run_simulation

    # What goes wrong reaches `drive` as a site's silence with its reason; the rest of Flower's and Ray's log says that
    # `run_simulation` will give way to the command `flwr run`, which cannot be called with a function.
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    resources: BackendConfig = {
        "init_args": {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False},
        "client_resources": {"num_cpus": engine.cores_per_site, "num_gpus": 0},
    }
    with _interrupt_sets(stop):
        run_simulation(server, client, engine.sites, backend_config=resources)
    if fault:
        raise fault[0]
    return outcome[0]


@contextmanager
def _interrupt_sets(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C sets the event, so that Flower's engine comes to its end: left in the middle, its threads hang."""
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)  # the second Ctrl-C leaves at once

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        stop.set()

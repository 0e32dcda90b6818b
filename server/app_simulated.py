"""Flower's own simulation engine (Ray), around any function that takes a transport."""

import importlib.util
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import ConfigRecord, Context, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from common.encoders import tensorflow_loading
from common.errors import ConfigError, QuorumError
from common.messages.transport import NONE, Misfortunes
from server.superlink.flower_transport import POLL_S, FlowerTransport, ask

T = TypeVar("T")

CONNECT_S = 120.0
"""How long to wait for the simulated sites."""


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
        ConfigError: if Ray is not installed, or no node of its cluster has cores enough for a site.
        Exception: whatever `drive` raises.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "--engine flower: expected the package ray, which is not installed. Install it into the same environment: "
            'pip install "flwr[simulation]==1.42.0". Or leave --engine out: the result is the same.'
        )
    outcome: list[T] = []
    fault: list[BaseException] = []
    stop = threading.Event()
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            nodes = introduce_sites(grid, engine.sites, engine.timeout_s, stop)
            outcome.append(drive(FlowerTransport(grid, nodes, misfortunes=engine.misfortunes, stop=stop)))
        except BaseException as error:
            fault.append(error)

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns at each start
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tensorflow_loading.load("flwr.simulation")  # it imports TensorFlow, whether the model needs it or not
    from flwr.simulation import run_simulation

    # What goes wrong reaches `drive` as a site's silence with its reason; the rest of Flower's and Ray's log says that
    # `run_simulation` will give way to the command `flwr run`, which cannot be called with a function.
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    resources: dict[str, Any] = {
        "init_args": {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False},
        "client_resources": {"num_cpus": engine.cores_per_site, "num_gpus": 0},
    }
    try:
        with _interrupt_sets(stop):
            run_simulation(server, client, engine.sites, backend_config=resources)
    except RuntimeError as error:
        if "ActorPool is empty" not in str(error.__cause__ and error.__cause__.__cause__):
            raise
        raise ConfigError(
            f"--engine flower: a site of this model takes {engine.cores_per_site} cores, as many as this machine has, "
            "and no node of the Ray cluster has so many. Start its nodes with --num-cpus "
            f"{engine.cores_per_site} or more."
        ) from None
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


def introduce_sites(grid: Grid, sites: int, timeout_s: float, stop: threading.Event) -> dict[str, int]:
    """Which node is which of the simulated sites, each having read its images.

    Raises:
        QuorumError: fewer sites than expected introduced themselves.
    """
    deadline = time.monotonic() + CONNECT_S
    while len(nodes := sorted(grid.get_node_ids())) < sites and time.monotonic() < deadline:
        if stop.wait(POLL_S):
            raise KeyboardInterrupt
    names: dict[str, int] = {}
    refusals: list[str] = []

    def wait(count: int) -> int:
        if count >= 0 and stop.wait(POLL_S):
            raise KeyboardInterrupt
        return 0

    for node, message in ask(grid, "query.introduce", {node: RecordDict() for node in nodes}, timeout_s, wait):
        if message.has_error():
            refusals.append(str(message.error.reason))
        else:
            names[str(cast(ConfigRecord, message.content["about"])["site"])] = node
    if len(names) < sites:
        raise QuorumError(
            f"{len(names)} of {sites} simulated sites introduced themselves. {' '.join(sorted(set(refusals)))}"
        )
    return names

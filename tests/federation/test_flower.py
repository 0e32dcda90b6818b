"""The two edges to Flower, over Flower's own grid: the same bits as in memory, and silence where a site fails."""

import importlib.util
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.linkstate import LinkStateFactory
from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
from flwr.serverapp import Grid
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid

from client import dataset
from client import flower as site_edge
from client.secure import Secured, machine
from client.site import Site
from common import config as configuration
from common import tensorfile, wire
from common.algorithms.course import Course
from common.config import Config, Federation
from common.enrolment import made_up
from common.errors import ConfigError, DataError, QuorumError
from common.exchanges import exchanges
from common.models import build
from common.transport import InMemory, Misfortunes, Request, Transport
from common.types import Tensors, prefixed, under
from server import checkpoint, federation, flower, training
from server.federation import Standing

ROOT = Path(__file__).parents[2]
CNN = """
name: small
data: {kind: synthetic, sites: 3, cases: 24, size: 16}
sites: {split: natural}
model: {kind: cnn, width: 4}
baselines: []
personalise: {mix: false}
federation:
  rounds: 3
  strategy: scaffold
  local: {steps: 2, batch: 8, optimizer: sgd, learning_rate: 0.05}
  simulate: {drop: 0.15, slow: 0.15}
"""
SVM = """
name: small-svm
data: {kind: synthetic, sites: 3, cases: 24, size: 16}
sites: {split: natural}
preprocess: [{step: normalise, by: federated, per: pixel}]
model: {kind: svm}
baselines: []
personalise: {mix: false}
federation: {rounds: 4, select: last}
"""


@contextmanager
def grid_of(clients: Mapping[int, ClientApp], told: Mapping[int, dict[str, Any]] | None = None) -> Iterator[Grid]:
    """Flower's in-memory grid, with a thread for every node (by partition) that runs its ClientApp."""
    factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory())
    state: Any = factory.state()
    run = Run.create_empty(run_id=7)
    run.primary_task_id, run.federation_id = 1, NOOP_FEDERATION_ID
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, SUPERLINK_NODE_ID
    state.run_ids[7], state.task_store[1] = RunRecord(run=run), Task(task_id=1, run_id=7)
    grid, over = InMemoryGrid(factory, pull_interval=0.01), threading.Event()
    grid.set_run(run)

    def serve(node: int, client: ClientApp, context: Context) -> None:
        while not over.wait(0.005):
            for message in state.get_message_ins(node_id=node, limit=1):
                reply = client(message, context)
                reply.metadata.__dict__["_message_id"] = str(uuid4())
                state.store_message_res(reply)

    threads = []
    for partition, client in clients.items():
        node = state.create_node("aid", "account", bytes([partition]) * 32, heartbeat_interval=1e9)
        state.acknowledge_node_heartbeat(node_id=node, heartbeat_interval=1e9)
        config = {"partition-id": partition} | (told or {}).get(partition, {})
        threads.append(threading.Thread(target=serve, args=(node, client, Context(7, node, config, RecordDict(), {}))))
    for thread in threads:
        thread.start()
    try:
        yield grid
    finally:
        over.set()
        for thread in threads:
            thread.join()


def load(folder: Path, text: str, *overrides: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(text)
    return configuration.load(path, overrides)


def misfortunes(config: Config) -> Misfortunes:
    return Misfortunes(config.federation.simulate.drop, config.federation.simulate.slow, 1)


NAMES = ("Lisbon", "Nairobi", "Osaka")
CONSORTIUM, ENROLLED = made_up(NAMES, Federation())


def in_memory(config: Config) -> InMemory:
    data = dataset.load(config, 1)
    shape = data.sites[0].train.images.shape[1:]
    model = build(config.model, shape, len(data.labels))
    layouts = partial(exchanges, config, model, shape, len(data.labels))
    sites = [Site(s, data.pipeline, model, config.federation.local) for s in data.sites]
    answers = {s.cases.name: Secured(s, layouts, machine(ENROLLED[s.cases.name])).answer for s in sites}
    return InMemory(answers, misfortunes=misfortunes(config))


def rounds(config: Config, transport: Transport, standing: Standing | None = None) -> Iterator[Standing]:
    data = dataset.load(config, 1)
    shape = data.sites[0].train.images.shape[1:]
    model = build(config.model, shape, len(data.labels))
    aggregator = training.make_secure(config, model, (shape, len(data.labels)), transport, CONSORTIUM)
    return federation.run(Course.of(config, model, 1, transport.sites()), aggregator, standing)


def keys(folder: Path, name: str) -> str:
    """A hospital's folder, as joining the consortium makes it."""
    (own := folder / name).mkdir(exist_ok=True)
    (own / "identity").write_text(ENROLLED[name].secret.hex())
    pins = {"federation": CONSORTIUM.pins.federation, "roots": [root.hex() for root in CONSORTIUM.pins.roots]}
    (own / "pins.json").write_text(json.dumps(pins))
    (own / "roster").write_bytes(CONSORTIUM.roster)
    return str(own)


def same_bits(one: Tensors, two: Tensors) -> bool:
    return set(one) == set(two) and all(np.array_equal(one[n], two[n]) for n in one)


def answering(handle: Callable[[Message, Context], Message], like: ClientApp) -> ClientApp:
    """A ClientApp that introduces itself as another does, and answers in its own way."""
    client = ClientApp()
    client.query("introduce")(like)
    client.query("answer")(handle)
    return client


@pytest.mark.parametrize("text", [CNN, SVM], ids=["cnn-scaffold-with-misfortunes", "svm"])
def test_a_run_over_flower_gives_the_same_bits_as_in_memory(text: str, tmp_path: Path) -> None:
    config = load(tmp_path, text)
    *_, expected = rounds(config, way := in_memory(config))
    with grid_of(dict.fromkeys(range(3), site_edge.simulated(config, 1, ENROLLED))) as grid:
        transport = flower.FlowerTransport(grid, 3, 60, misfortunes(config))
        *_, found = rounds(config, transport)
    assert transport.sites() == way.sites()
    assert same_bits(found.state, expected.state)
    assert same_bits(found.best, expected.best)
    assert [r.dropped for r in found.records] == [r.dropped for r in expected.records]
    assert all(same_bits(transport.states.get(name, {}), way.states[name]) for name in way.sites())


def test_a_simulation_resumed_over_either_engine_brings_back_what_its_sites_kept(tmp_path: Path) -> None:
    config = load(tmp_path, CNN, "federation.rounds=4")
    *_, expected = rounds(config, in_memory(config))

    def go_on(transport: Transport) -> Standing:
        standing = None
        if found := checkpoint.load(tmp_path / "c", transport.sites(), "digest"):
            standing = found[0]
            transport.states.update(found[1])
        standing = next(rounds(config, transport, standing))
        checkpoint.save(tmp_path / "c", standing, transport.states, "digest")
        return standing

    for _ in range(2):  # new nodes, as after a crash, for every round
        go_on(in_memory(config))
        with grid_of(dict.fromkeys(range(3), site_edge.simulated(config, 1, ENROLLED))) as grid:
            standing = go_on(flower.FlowerTransport(grid, 3, 60, misfortunes(config)))
    assert same_bits(standing.state, expected.state)


def test_only_bytes_of_our_own_format_travel(tmp_path: Path) -> None:
    config, seen = load(tmp_path, SVM), list[RecordDict]()
    honest = site_edge.simulated(config, 1, ENROLLED)

    def watch(message: Message, context: Context) -> Message:
        reply = honest(message, context)
        seen.extend([message.content, reply.content])
        return reply

    with grid_of(dict.fromkeys(range(3), answering(watch, honest))) as grid:
        next(rounds(config, flower.FlowerTransport(grid, 3, 60)))
    assert seen
    for content, decode in zip(seen, [wire.decode_request, wire.decode_reply] * (len(seen) // 2), strict=True):
        assert list(content) == ["message"]
        decode(content["message"]["bytes"].data)  # type: ignore[index, union-attr]


def test_a_site_that_fails_is_silent_and_its_reason_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load(tmp_path, SVM)
    honest = site_edge.simulated(config, 1, ENROLLED)

    def late(message: Message, context: Context) -> Message:
        time.sleep(1.5)
        return honest(message, context)

    def garbage(message: Message, context: Context) -> Message:
        record = ArrayRecord({"bytes": Array("uint8", (4,), "consilium", b"\x80\x04N.")})
        return Message(RecordDict({"message": record}), reply_to=message)

    clients = {0: honest, 1: answering(late, honest), 2: answering(garbage, honest)}
    with grid_of(clients) as grid, caplog.at_level(logging.WARNING, "consilium"):
        transport = flower.FlowerTransport(grid, 3, 60)
        good = dict.fromkeys(transport.sites(), Request("secagg/present", 0))
        started = time.monotonic()
        assert [site for site, _ in transport.exchange(good, 1.0)] == ["Lisbon"]
        assert time.monotonic() - started < 1.5
        assert "Osaka: a reply that cannot be used" in caplog.text
        assert not list(transport.exchange({"Lisbon": Request("images", 0)}, 10.0))
        assert "Lisbon: asked for 'images' in the clear" in caplog.text
        time.sleep(1.0)  # the late reply to the first request comes in, and is not taken for one to the second
        assert [site for site, _ in transport.exchange(good, 1.0)] == ["Lisbon"]


def test_replies_over_flower_are_handed_over_as_they_come(tmp_path: Path) -> None:
    config, seen = load(tmp_path, SVM), threading.Event()
    honest = site_edge.simulated(config, 1, ENROLLED)

    def waits(message: Message, context: Context) -> Message:
        assert seen.wait(10)
        return honest(message, context)

    with grid_of({0: answering(waits, honest), 1: honest, 2: honest}) as grid:
        transport, order = flower.FlowerTransport(grid, 3, 60), []
        for site, _ in transport.exchange(dict.fromkeys(transport.sites(), Request("secagg/present", 0)), 10.0):
            order.append(site)
            if len(order) == 2:
                seen.set()
    assert order[2] == "Lisbon"


def test_what_has_come_by_the_time_out_counts_however_long_the_coordinator_takes(tmp_path: Path) -> None:
    honest = site_edge.simulated(load(tmp_path, SVM), 1, ENROLLED)
    with grid_of(dict.fromkeys(range(3), honest)) as grid:
        transport, heard = flower.FlowerTransport(grid, 3, 60), []
        for site, _ in transport.exchange(dict.fromkeys(transport.sites(), Request("secagg/present", 0)), 1.0):
            heard.append(site)
            time.sleep(0.6)
    assert sorted(heard) == list(NAMES)


def test_hospitals_train_through_the_standard_apps_and_answer_nothing_in_the_clear(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(tmp_path, CNN.replace("  simulate: {drop: 0.15, slow: 0.15}\n", ""), "seeds=[1]")
    *_, expected = rounds(config, in_memory(config))
    told = {
        i: {"config": str(tmp_path / "config.yaml"), "site": name, "keys": keys(tmp_path, name)}
        for i, name in enumerate(NAMES)
    }
    with grid_of(dict.fromkeys(range(3), site_edge.app), told) as grid:
        run = {"config": str(tmp_path / "config.yaml"), "consortium": keys(tmp_path, NAMES[0])}
        flower.app(grid, Context(7, 0, {}, RecordDict(), run | {"sites": 3, "out": str(tmp_path)}))
        transport = flower.FlowerTransport(grid, 3, 60)
        weights = prefixed("weights", expected.best) | prefixed("control", expected.best)
        asked = Request("train", 9, weights, {"recipe": transport.about[0].recipe, "seed": 1, "learning_rate": 0.1})
        with caplog.at_level(logging.WARNING, "consilium"):
            assert not list(transport.exchange(dict.fromkeys(transport.sites(), asked), 60))
        assert "asked for 'train' in the clear, which this site does not answer" in caplog.text
        assert all((tmp_path / name / "state").exists() for name in NAMES)
    assert transport.states == {}
    found = checkpoint.load(tmp_path / "federated.checkpoint", transport.sites(), config.digest())
    assert found is not None
    assert same_bits(found[0].state, expected.state)
    assert same_bits(found[0].best, expected.best)


def test_an_interrupt_ends_the_waiting(tmp_path: Path) -> None:
    def never(message: Message, context: Context) -> Message:
        time.sleep(1.0)
        return Message(RecordDict(), reply_to=message)

    client, stop = answering(never, site_edge.simulated(load(tmp_path, SVM), 1, ENROLLED)), threading.Event()
    with grid_of({0: client}) as grid:
        transport = flower.FlowerTransport(grid, 1, 60, stop=stop)
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(KeyboardInterrupt):
            list(transport.exchange(dict.fromkeys(transport.sites(), Request("secagg/present", 0)), 600))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "no key config"),
        ({"config": "nowhere.yaml", "keys": "nowhere"}, "cannot read"),
        ({"config": "config.yaml"}, "no key keys"),
        (
            {"config": "config.yaml", "keys": "nowhere"},
            "site is '', expected one of those in the data: Lisbon, Nairobi, Osaka",
        ),
        ({"config": "config.yaml", "keys": "nowhere", "site": "Atlantis"}, "site is 'Atlantis'"),
        ({"config": "config.yaml", "keys": "nowhere", "site": "Osaka"}, "nowhere/identity: No such file"),
    ],
)
def test_a_node_that_does_not_know_its_site_says_why(told: dict[str, Any], message: str, tmp_path: Path) -> None:
    load(tmp_path, SVM)
    told = told | ({"config": str(tmp_path / told["config"])} if "config" in told else {})
    with grid_of({0: site_edge.app}, {0: told}) as grid, pytest.raises(QuorumError, match=message):
        flower.FlowerTransport(grid, 1, 60)


def test_two_nodes_of_one_name_are_refused(tmp_path: Path) -> None:
    load(tmp_path, SVM)
    told = {"config": str(tmp_path / "config.yaml"), "site": "Osaka", "keys": keys(tmp_path, "Osaka")}
    twice = grid_of(dict.fromkeys(range(2), site_edge.app), dict.fromkeys(range(2), told))
    with twice as grid, pytest.raises(ConfigError, match="'Osaka' is the name of several nodes"):
        flower.FlowerTransport(grid, 2, 60)


def test_sites_that_would_train_on_different_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    config = load(tmp_path, SVM)
    load(tmp_path / "other", SVM.replace("size: 16", "size: 20"))
    told = {0: {"config": str(tmp_path / "config.yaml"), "site": "Osaka", "keys": keys(tmp_path, "Osaka")}}
    told[1] = {"config": str(tmp_path / "other" / "config.yaml"), "site": "Lisbon", "keys": keys(tmp_path, "Lisbon")}
    with grid_of(dict.fromkeys(range(2), site_edge.app), told) as grid:
        transport = flower.FlowerTransport(grid, 2, 60)
        with pytest.raises(DataError, match="Lisbon and Osaka differ in shape"):
            next(training.coordinate(config, transport, transport.about, CONSORTIUM, tmp_path))


def test_without_ray_the_engine_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install \"flwr\[simulation\]==1.41.0\""):
        flower.simulate(ClientApp(), flower.Engine(1, 1.0), lambda transport: None)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (the extra `ray`)")
@pytest.mark.parametrize("text", [CNN, SVM], ids=["cnn-scaffold-with-misfortunes", "svm"])
def test_flowers_simulation_engine_gives_the_same_bits(text: str, tmp_path: Path) -> None:
    config = load(tmp_path, text)
    *_, expected = rounds(config, in_memory(config))
    command = [sys.executable, "simulate.py", str(tmp_path / "config.yaml"), "--engine", "flower"]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert same_bits(under("weights", tensorfile.load(tmp_path / "out" / "model.safetensors")[0]), expected.best)

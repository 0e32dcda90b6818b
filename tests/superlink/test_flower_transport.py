"""The two edges to Flower, over Flower's own grid: the same bits as in memory, and silence where a site fails."""

import importlib.util
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from client import app as site_edge
from client.connection import records
from client.dataset import loading
from client.training.run_binding import simulated_binding
from client.training.secure_site import SecuredSite
from client.training.site import Site
from common import config as configuration
from common.config import Config, Federation
from common.errors import ConfigError, QuorumError
from common.messages import wire
from common.messages.transport import NONE, InMemory, Misfortunes, Refusal, Request, Transport
from common.plans.approvals import Approvals
from common.plans.run_work import RunWork
from common.plans.simulated_run import simulated_approvals
from common.storage import tensorfile
from common.trust.enrolment import simulated_consortium
from common.types import Tensors, under
from server import app_simulated
from server.rounds import checkpoint, loop
from server.rounds.loop import LoopState
from server.rounds.secure_sum import SecureSum
from server.superlink.flower_transport import FlowerTransport
from tests.superlink.grid import grid_of

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


def load(folder: Path, text: str, *overrides: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return configuration.load(path, overrides)


def misfortunes(config: Config) -> Misfortunes:
    return Misfortunes(config.federation.simulate.drop, config.federation.simulate.slow, 1)


NAMES = ("Lisbon", "Nairobi", "Osaka")
CONSORTIUM, ENROLLED = simulated_consortium(NAMES, Federation())


def approvals(config: Config) -> Approvals:
    data = loading.load(config, 1)
    about = data.sites[0].train.images.shape[1:], data.labels
    cases = {site.name: len(site.train) for site in data.sites}
    return simulated_approvals(config, 1, about, CONSORTIUM, ENROLLED, cases)


def simulated_app(config: Config) -> ClientApp:
    return site_edge.simulated_app(config, 1, ENROLLED, approvals(config).pack())


def in_memory(config: Config) -> InMemory:
    data, run = loading.load(config, 1), approvals(config)
    model = RunWork.of(run).model
    sites = {s.name: Site(s, data.pipeline, model, config.federation.local, least_active=1) for s in data.sites}
    answers = {
        name: SecuredSite(site, ENROLLED[name], simulated_binding(run, name)).answer for name, site in sites.items()
    }
    return InMemory(answers, misfortunes=misfortunes(config))


def rounds(config: Config, transport: Transport, standing: LoopState | None = None) -> Iterator[LoopState]:
    work = RunWork.of(run := approvals(config))
    return loop.run(work.course, SecureSum(transport, CONSORTIUM, run, work.question_kinds), standing)


def transport_to(grid: Grid, sites: int = 3, misfortunes: Misfortunes = NONE) -> FlowerTransport:
    """A transport to the simulated sites behind a grid, which introduce themselves."""
    nodes = app_simulated.introduce_sites(grid, sites, 60, threading.Event())
    return FlowerTransport(grid, nodes, misfortunes=misfortunes)


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
    with grid_of(dict.fromkeys(range(3), simulated_app(config))) as grid:
        transport = transport_to(grid, misfortunes=misfortunes(config))
        *_, found = rounds(config, transport)
    assert transport.sites() == way.sites()
    assert same_bits(found.state, expected.state)
    assert same_bits(found.best, expected.best)
    assert [r.dropped for r in found.records] == [r.dropped for r in expected.records]
    # The name of what was asked last stands for all rounds before it, with their keys: it is another in every run.
    for states in (transport.states, way.states):
        assert all(found.pop("asked/question").shape == (32,) for found in map(dict, states.values()))
    found_states, expected_states = (
        {name: {n: a for n, a in state.items() if n != "asked/question"} for name, state in states.items()}
        for states in (transport.states, way.states)
    )
    assert all(same_bits(found_states[name], expected_states[name]) for name in way.sites())


def test_a_simulation_resumed_over_either_engine_brings_back_what_its_sites_kept(tmp_path: Path) -> None:
    config = load(tmp_path, CNN, "federation.rounds=4")
    *_, expected = rounds(config, in_memory(config))

    def go_on(transport: Transport) -> LoopState:
        standing = None
        if found := checkpoint.load(tmp_path / "c", transport.sites(), "digest"):
            standing = found[0]
            transport.states.update(found[1])
        standing = next(rounds(config, transport, standing))
        checkpoint.save(tmp_path / "c", standing, transport.states, "digest")
        return standing

    for _ in range(2):  # new nodes, as after a crash, for every round
        go_on(in_memory(config))
        with grid_of(dict.fromkeys(range(3), simulated_app(config))) as grid:
            standing = go_on(transport_to(grid, misfortunes=misfortunes(config)))
    assert same_bits(standing.state, expected.state)


def test_only_bytes_of_our_own_format_travel(tmp_path: Path) -> None:
    config, seen = load(tmp_path, SVM), list[RecordDict]()
    honest = simulated_app(config)

    def watch(message: Message, context: Context) -> Message:
        reply = honest(message, context)
        seen.extend([message.content, reply.content])
        return reply

    with grid_of(dict.fromkeys(range(3), answering(watch, honest))) as grid:
        next(rounds(config, transport_to(grid)))
    assert seen
    for content, decode in zip(seen, [wire.decode_request, wire.decode_reply] * (len(seen) // 2), strict=True):
        assert list(content) == ["message"] or (decode is wire.decode_reply and list(content) == ["message", "state"])
        decode(records.unpack(content))


def test_a_site_that_fails_is_silent_and_one_that_refuses_gives_its_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(tmp_path, SVM)
    honest = simulated_app(config)

    over = threading.Semaphore(0)

    def late(message: Message, context: Context) -> Message:
        over.acquire(timeout=60)
        return honest(message, context)

    def garbage(message: Message, context: Context) -> Message:
        record = ArrayRecord({"bytes": Array("uint8", (4,), "consilium", b"\x80\x04N.")})
        return Message(RecordDict({"message": record}), reply_to=message)

    clients = {0: honest, 1: answering(late, honest), 2: answering(garbage, honest)}
    with grid_of(clients) as grid, caplog.at_level(logging.WARNING, "consilium"):
        transport = transport_to(grid)
        good = dict.fromkeys(transport.sites(), Request("secagg/present", 0))
        started = time.monotonic()
        assert [site for site, _ in transport.exchange(good, 2.5)] == ["Lisbon"]
        assert time.monotonic() - started < 30
        over.release()
        assert "Osaka: a reply that cannot be used" in caplog.text
        assert list(transport.exchange({"Lisbon": Request("images", 0)}, 60.0)) == [("Lisbon", Refusal("plaintext"))]
        assert "Lisbon: asked for 'images' in the clear" in caplog.text
        time.sleep(1.0)  # the late reply to the first request comes in, and is not taken for one to the second
        assert [site for site, _ in transport.exchange(good, 2.5)] == ["Lisbon"]
        over.release()


ODD_REPLIES = {
    "nothing": RecordDict(),
    "no-bytes": RecordDict({"message": ConfigRecord({})}),
    "a-number": RecordDict({"message": ConfigRecord({"bytes": 1})}),
    "text": RecordDict({"message": ConfigRecord({"bytes": "text"})}),
    "a-list": RecordDict({"message": ConfigRecord({"bytes": [b"1", b"2"]})}),
    "an-array": RecordDict({"message": ArrayRecord({"bytes": Array("uint8", (1,), "consilium", b"1")})}),
    "pieces-without-bytes": RecordDict({"message": ConfigRecord({}), "pieces": ArrayRecord()}),
    "pieces-of-numbers": RecordDict({"message": ConfigRecord({}), "pieces": ConfigRecord({"bytes": 1})}),
    "a-pickle": RecordDict({"message": ConfigRecord({"bytes": b"\x80\x04N."})}),
}


@pytest.mark.parametrize("content", ODD_REPLIES.values(), ids=list(ODD_REPLIES))
def test_a_reply_that_is_none_of_ours_is_silence_and_does_not_end_the_run(
    content: RecordDict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    honest = simulated_app(load(tmp_path, SVM))
    odd = answering(lambda message, context: Message(content, reply_to=message), honest)
    with grid_of({0: honest, 1: odd}) as grid, caplog.at_level(logging.WARNING, "consilium"):
        transport = transport_to(grid, 2)
        asked = dict.fromkeys(transport.sites(), Request("secagg/present", 0))
        assert [site for site, _ in transport.exchange(asked, 10.0)] == ["Lisbon"]
    assert "Nairobi: a reply that cannot be used" in caplog.text


def test_replies_over_flower_are_handed_over_as_they_come(tmp_path: Path) -> None:
    config, seen = load(tmp_path, SVM), threading.Event()
    honest = simulated_app(config)

    def waits(message: Message, context: Context) -> Message:
        assert seen.wait(60)
        return honest(message, context)

    with grid_of({0: answering(waits, honest), 1: honest, 2: honest}) as grid:
        transport, order = transport_to(grid), []
        for site, _ in transport.exchange(dict.fromkeys(transport.sites(), Request("secagg/present", 0)), 60.0):
            order.append(site)
            if len(order) == 2:
                seen.set()
    assert order[2] == "Lisbon"


def test_what_has_come_by_the_time_out_counts_however_long_the_coordinator_takes(tmp_path: Path) -> None:
    honest = simulated_app(load(tmp_path, SVM))
    with grid_of(dict.fromkeys(range(3), honest)) as grid:
        transport, heard = transport_to(grid), []
        for site, _ in transport.exchange(dict.fromkeys(transport.sites(), Request("secagg/present", 0)), 1.0):
            heard.append(site)
            time.sleep(0.6)
    assert sorted(heard) == list(NAMES)


def test_an_interrupt_ends_the_waiting(tmp_path: Path) -> None:
    def never(message: Message, context: Context) -> Message:
        time.sleep(1.0)
        return Message(RecordDict(), reply_to=message)

    client, stop = answering(never, simulated_app(load(tmp_path, SVM))), threading.Event()
    with grid_of({0: client}) as grid:
        nodes = app_simulated.introduce_sites(grid, 1, 60, stop)
        transport = FlowerTransport(grid, nodes, stop=stop)
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(KeyboardInterrupt):
            list(transport.exchange(dict.fromkeys(transport.sites(), Request("secagg/present", 0)), 600))


def test_simulated_sites_that_cannot_read_their_images_say_why(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "list.csv").write_text("path,label,site\nnowhere.png,ill,Lisbon\n", encoding="utf-8")
    config = load(tmp_path, SVM, f"data={{kind: manifest, path: '{tmp_path / 'images' / 'list.csv'}'}}")
    client, why = (
        site_edge.simulated_app(config, 1, ENROLLED),
        r"0 of 1 simulated sites introduced themselves\. (?s:.*)nowhere",
    )
    with grid_of({0: client}) as grid, pytest.raises(QuorumError, match=why):
        transport_to(grid, 1)


def test_two_nodes_of_one_simulated_site_are_one_site_too_few(tmp_path: Path) -> None:
    first = simulated_app(load(tmp_path, SVM))
    twice = grid_of({0: first, 1: first}, {1: {"partition-id": 0}})
    with twice as grid, pytest.raises(QuorumError, match="1 of 2 simulated sites"):
        transport_to(grid, 2)


def test_without_ray_the_engine_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install \"flwr\[simulation\]==1.42.0\""):
        app_simulated.simulate(ClientApp(), app_simulated.Engine(1, 1.0), lambda transport: None)


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed. pip install 'flwr[simulation]'"
)
@pytest.mark.parametrize("text", [CNN, SVM], ids=["cnn-scaffold-with-misfortunes", "svm"])
def test_flowers_simulation_engine_gives_the_same_bits(text: str, tmp_path: Path) -> None:
    config = load(tmp_path, text)
    *_, expected = rounds(config, in_memory(config))
    command = [sys.executable, "simulate.py", str(tmp_path / "config.yaml"), "--engine", "flower"]
    own = {**os.environ, "RAY_ADDRESS": "local"}  # whatever cluster somebody has begun on this machine
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], cwd=ROOT, capture_output=True, encoding="utf-8", env=own
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert same_bits(under("weights", tensorfile.load(tmp_path / "out" / "model.safetensors")[0]), expected.best)

"""The resident site against a real SuperLink, in processes that are killed: nothing is lost, nothing is sent twice.

What `client.connection.node` uses of Flower are its inner modules; this is the contract that they have to keep.
"""

import json
import logging
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.version import package_version

from client.connection import node
from client.connection.fleet_client import Clock, Endpoint
from client.connection.message_journal import Journal
from client.connection.node import FLOWER, serve
from client.connection.retry import ConnectionStatus
from common.errors import ConfigError, RunError, WireError
from tests.connection.resident import site
from tests.superlink.superlink import SuperLink, authority, free_port

TTL_S = 60.0


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    with SuperLink(tmp_path_factory.mktemp("superlink")) as running:
        yield running


@pytest.fixture(scope="module")
def grid(superlink: SuperLink) -> Iterator[Grid]:
    with superlink.run() as running:
        yield running


class Resident:
    """A site in a process of its own."""

    def __init__(self, superlink: SuperLink, folder: Path, **told: Any) -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP384R1())
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "key.pem").write_bytes(pem)
        about = {"address": superlink.address, "ca": str(superlink.ca), "clock_off_s": 0, **told}
        (folder / "site.json").write_text(json.dumps(about), encoding="utf-8")
        self.id = superlink.register(self.key)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        command = [sys.executable, "-m", "tests.connection.resident", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[2])
        return self.process.pid

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(60)

    def told(self) -> list[ConnectionStatus]:
        path = self.folder / "told"
        return (
            [ConnectionStatus(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
            if path.exists()
            else []
        )

    def calls(self) -> int:
        path = self.folder / "calls"
        return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


@pytest.fixture
def resident(superlink: SuperLink, tmp_path: Path) -> Iterator[Callable[..., Resident]]:
    made: list[Resident] = []

    def make(**told: Any) -> Resident:
        made.append(Resident(superlink, tmp_path, **told))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.end(signal.SIGKILL)


@contextmanager
def thread(link: Endpoint, folder: Path, **more: Any) -> Iterator[list[ConnectionStatus]]:
    """A site in a thread of this process; what it tells."""
    told: list[ConnectionStatus] = []
    stop = threading.Event()
    work = threading.Thread(target=serve, args=(link, site(folder), {}, folder / "journal", told.append, stop))
    work.start()
    try:
        yield told
    finally:
        stop.set()
        work.join(30)
        assert not work.is_alive()


class Breaking:
    """A way to a port of this machine on which every connection breaks after so many bytes."""

    def __init__(self, port: int, after_bytes: int) -> None:
        self._to, self._after, self.broken = port, after_bytes, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, far = self._listener.accept()[0], socket.create_connection(("127.0.0.1", self._to))
                passed = [0]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(one, other, passed), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, passed: list[int]) -> None:
        with suppress(OSError), one, other:
            while piece := one.recv(65536):
                other.sendall(piece)
                passed[0] += len(piece)
                if passed[0] > self._after:
                    self.broken += 1
                    break
            for end in (one, other):
                end.shutdown(socket.SHUT_RDWR)


def until(true: Callable[[], object], within_s: float = 30.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    return found


def push(grid: Grid, to: int, kind: str = "echo", content: RecordDict | None = None, ttl: float = TTL_S) -> str:
    until(lambda: to in set(grid.get_node_ids()))
    (message_id,) = grid.push_messages([Message(content or small(), to, f"query.{kind}", ttl=ttl)])
    return message_id


def small() -> RecordDict:
    return RecordDict({"message": ConfigRecord({"bytes": os.urandom(100)})})


def large(size: int) -> RecordDict:
    return RecordDict({"message": ArrayRecord({"bytes": Array("uint8", (size,), "test", os.urandom(size))})})


def reply(grid: Grid, message_id: str, within_s: float = 30.0) -> Message:
    (found,) = until(lambda: list(grid.pull_messages([message_id])), within_s)
    return found


def counted(message: Message) -> int:
    return int(message.content.config_records["count"]["n"])


def test_flower_is_the_release_whose_inner_modules_these_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert package_version == FLOWER, (
        "client/connection/node.py and client/connection/fleet_client.py use Flower's inner modules: read them again"
    )
    monkeypatch.setattr(node, "package_version", "9.9.9")
    link = Endpoint("127.0.0.1:1", tmp_path / "none", ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(ConfigError, match=rf"flwr is 9\.9\.9, expected {FLOWER}"):
        serve(link, site(tmp_path), {}, tmp_path, print, threading.Event())


def test_what_is_sent_comes_back_small_and_large(superlink: SuperLink, grid: Grid, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    at = superlink.register(key)
    with thread(Endpoint(superlink.address, superlink.ca, key), tmp_path) as told:
        until(lambda: "idle" in [doing.what for doing in told])
        for number, content in enumerate((small(), small(), large(12_000_000)), 1):
            answer = reply(grid, push(grid, at, content=content))
            assert counted(answer) == number
            assert answer.content["message"] == content["message"]
        assert superlink.status(at) == "online"
        assert [doing.what for doing in told][:4] == ["connecting", "idle", "working", "sending"]
        assert not any(doing.error for doing in told)
    assert superlink.status(at) == "offline"
    assert sorted(file.name for file in (tmp_path / "journal").iterdir() if file.suffix != ".state") == [
        ".lock",
        "node",
    ]


def test_an_app_that_fails_is_an_error_without_the_text_of_it(
    superlink: SuperLink, grid: Grid, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    at = superlink.register(key)
    with thread(Endpoint(superlink.address, superlink.ca, key), tmp_path):
        answer = reply(grid, push(grid, at, "fails"))
    assert answer.has_error()
    assert "KeyError" in str(answer.error.reason)
    assert "patient" not in str(answer.error.reason)


def test_a_site_killed_before_it_answered_answers_when_it_is_back(
    resident: Callable[..., Resident], grid: Grid
) -> None:
    one = resident()
    assert counted(reply(grid, push(grid, one.id))) == 1
    asked = push(grid, one.id, "slow")
    until(lambda: one.calls() == 2)
    one.end(signal.SIGKILL)
    (one.folder / "go").touch()
    one.start()
    # The SuperLink still takes it to be online, and would activate no such node for a minute.
    reply(grid, asked, within_s=10)
    assert one.calls() == 3


def test_a_reply_that_was_not_sent_goes_out_later_and_is_computed_once(
    resident: Callable[..., Resident], superlink: SuperLink, grid: Grid
) -> None:
    one = resident()
    asked = push(grid, one.id, "slow")
    until(lambda: one.calls() == 1)
    superlink.kill()
    (one.folder / "go").touch()
    (written,) = until(lambda: list((one.folder / "journal").glob("*.reply")))
    before = written.read_bytes()
    until(lambda: any("cannot be reached" in doing.error for doing in one.told()))
    one.end(signal.SIGKILL)
    one.start()
    until(lambda: one.told()[-1].what == "connecting" and one.told()[-1].error)
    assert written.read_bytes() == before
    superlink.start()
    assert counted(reply(grid, asked)) == 1
    assert one.calls() == 1
    until(lambda: not written.exists())


def test_a_stopped_site_finishes_leaves_and_comes_back(
    resident: Callable[..., Resident], superlink: SuperLink, grid: Grid
) -> None:
    one = resident()
    asked = push(grid, one.id, "slow")
    until(lambda: one.calls() == 1)
    assert one.process is not None
    one.process.send_signal(signal.SIGTERM)
    (one.folder / "go").touch()
    assert counted(reply(grid, asked)) == 1
    assert one.process.wait(60) == 0
    assert superlink.status(one.id) == "offline"
    one.start()
    reply(grid, push(grid, one.id))


def test_a_site_that_hangs_starts_again_by_itself_without_that_message(
    resident: Callable[..., Resident], grid: Grid
) -> None:
    one = resident()
    push(grid, one.id, "hangs", ttl=2)
    asked = push(grid, one.id)
    assert counted(reply(grid, asked)) == 1
    assert one.calls() == 2
    assert one.process is not None
    assert one.process.poll() is None, "in place: whoever started it sees the same process"
    assert "starts again" in (one.folder / "log").read_text(encoding="utf-8")


def test_a_message_that_expired_while_the_site_was_away_is_dropped(
    resident: Callable[..., Resident], grid: Grid
) -> None:
    one = resident()
    push(grid, one.id, "slow", ttl=2)
    until(lambda: one.calls() == 1)
    one.end(signal.SIGKILL)
    (one.folder / "go").touch()
    time.sleep(2)
    one.start()
    assert counted(reply(grid, push(grid, one.id))) == 1
    assert one.calls() == 2
    assert not list((one.folder / "journal").glob("*.message"))


def test_a_clock_ten_minutes_off_works_and_is_told(resident: Callable[..., Resident], grid: Grid) -> None:
    one = resident(clock_off_s=600)
    assert counted(reply(grid, push(grid, one.id, ttl=120))) == 1
    assert "this machine's clock is 10.0 min fast" in {doing.detail for doing in one.told()}
    assert not any(doing.error for doing in one.told())


def test_a_full_disk_delays_and_loses_nothing(resident: Callable[..., Resident], grid: Grid) -> None:
    one = resident()
    until(lambda: one.told() and one.told()[-1].what == "idle")
    assert one.process is not None
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    asked = push(grid, one.id, content=large(200_000))
    until(lambda: any("Make room on this disk" in doing.error for doing in one.told()))
    assert one.calls() == 0
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert counted(reply(grid, asked)) == 1
    assert not one.told()[-1].error


def test_a_revoked_key_says_so_and_keeps_trying(superlink: SuperLink, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    at = superlink.register(key)
    with thread(Endpoint(superlink.address, superlink.ca, key), tmp_path) as told:
        until(lambda: told and told[-1].what == "idle")
        superlink.unregister(at)
        until(lambda: "was revoked" in told[-1].error)
        assert told[-1].what == "connecting"


def test_another_authority_is_refused_and_nothing_is_sent(superlink: SuperLink, tmp_path: Path) -> None:
    link = Endpoint(superlink.address, authority(tmp_path, "other"), ec.generate_private_key(ec.SECP384R1()))
    before = (superlink.folder / "superlink.log").read_text(encoding="utf-8").count("fleet")
    with thread(link, tmp_path) as told:
        until(lambda: told and "has not the certificate that is expected" in told[-1].error)
    assert (superlink.folder / "superlink.log").read_text(encoding="utf-8").count("fleet") == before


def test_a_coordinator_cannot_send_a_site_elsewhere(tmp_path: Path) -> None:
    ca, asked = authority(tmp_path), []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{plain.server_port}/inside")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "ca-server.crt", tmp_path / "ca-server.key")
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as plain, HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        for one in (plain, server):
            threading.Thread(target=one.serve_forever, daemon=True).start()
        link = Endpoint(f"127.0.0.1:{server.server_port}", ca, ec.generate_private_key(ec.SECP384R1()))
        with thread(link, tmp_path) as told:
            until(lambda: told and "answers 307" in told[-1].error)
        for one in (plain, server):
            one.shutdown()
    assert set(asked) == {"/v1/fleet/activate-node"}


def test_a_link_that_breaks_costs_a_piece_and_not_the_whole(superlink: SuperLink, grid: Grid, tmp_path: Path) -> None:
    key, content = ec.generate_private_key(ec.SECP384R1()), large(20_000_000)
    at = superlink.register(key)
    with Breaking(superlink.port, 6_000_000) as way, thread(Endpoint(way.address, superlink.ca, key), tmp_path) as told:
        answer = reply(grid, push(grid, at, content=content))
        assert answer.content["message"] == content["message"]
        assert any(doing.what == "working" for doing in told)
        assert way.broken > 1
    assert len((tmp_path / "calls").read_text(encoding="utf-8").splitlines()) == 1


def test_a_site_without_a_network_says_so_and_stops_when_asked(tmp_path: Path) -> None:
    link = Endpoint(f"127.0.0.1:{free_port()}", authority(tmp_path), ec.generate_private_key(ec.SECP384R1()))
    began = time.monotonic()
    with thread(link, tmp_path) as told:
        until(lambda: told and "cannot be reached" in told[-1].error)
    assert time.monotonic() - began < 30
    assert repr(link).count("key") == 0


def test_a_missing_certificate_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    link = Endpoint("127.0.0.1:1", tmp_path / "none.crt", ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(ConfigError, match=r"none\.crt: No such file.* welcome file"):
        serve(link, site(tmp_path), {}, tmp_path / "journal", print, threading.Event())


def test_one_journal_is_for_one_process(tmp_path: Path) -> None:
    with (
        Journal.open(tmp_path / "journal"),
        pytest.raises(RunError, match="another process of this site"),
        Journal.open(tmp_path / "journal"),
    ):
        pass
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0, "nobody else may read it"


def test_a_damaged_entry_of_the_journal_is_told_and_not_used(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.write("a.reply", [b"head", b"", b"x" * 1000])
        assert journal.read("a.reply") == [b"head", b"", b"x" * 1000]
        whole = (tmp_path / "a.reply").read_bytes()
        for length in np.random.default_rng(1).integers(0, len(whole), 20):
            (tmp_path / "a.reply").write_bytes(whole[:length])
            if length != 12 and length != 20:  # there a part ends, and Flower's tree says how many there are to be
                with pytest.raises(WireError, match=r"a\.reply: missing or damaged"):
                    journal.read("a.reply")
        (tmp_path / "a.reply").write_bytes(bytes(len(whole)))  # of a machine that lost its power
        with pytest.raises(WireError, match=r"a\.reply: missing or damaged"):
            journal.read("a.reply")
        assert journal.pending() == ["a"]


def test_the_coordinators_time_is_followed_not_trembled_after() -> None:
    clock = Clock()
    assert not clock.learn(None)
    assert not clock.learn("yesterday")
    assert not clock.learn(time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - 1)))
    assert clock.learn(time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 600)))
    assert abs(clock.offset_s - 600) < 2
    assert "behind" in clock.complaint()


def test_the_log_has_one_line_for_an_event(
    superlink: SuperLink, grid: Grid, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    at = superlink.register(key)
    with caplog.at_level(logging.INFO, "consilium"), thread(Endpoint(superlink.address, superlink.ca, key), tmp_path):
        reply(grid, push(grid, at))
    lines = [record.getMessage() for record in caplog.records if record.name == "consilium"]
    assert lines == [f"connected to {superlink.address} as node {at}"]

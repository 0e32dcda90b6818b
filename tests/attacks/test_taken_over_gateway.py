"""Whoever has the coordinator's machine answers a site as they like: no thread ends, no memory fills, nothing hangs.

A real server under the consortium's own TLS authority, and the clients that a hospital runs.
"""

import gzip
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import recorddict_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeResponse, PullMessagesResponse
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import Metadata, ObjectTree

from client.connection import bounded_answers
from client.connection.fleet_client import Clock, Endpoint, signature_headers
from client.connection.gateway_client import GatewayClient
from client.connection.node import serve
from common.secagg.transcript import frame
from tests.attacks.conftest import Attack
from tests.superlink.superlink import authority

Answering = Callable[[BaseHTTPRequestHandler], None]


class Gateway(ThreadingHTTPServer):
    """Answers whatever it is told to."""

    daemon_threads = True
    answering: Answering

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ca = authority(folder)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "ca-server.crt", folder / "ca-server.key")
        self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    date = ""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.answering(self)  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        self.do_POST()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.date or super().date_time_string(timestamp)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def body(content: bytes, status: int = 200, date: str = "", **headers: str) -> Answering:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.date = date  # type: ignore[attr-defined]
        request.send_response(status)
        for name, value in ({"content_length": str(len(content))} | headers).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def pieces(piece: bytes, pause_s: float) -> Answering:
    """An answer that goes on until nobody listens."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(piece)
                time.sleep(pause_s)
        except OSError:
            pass

    return answer


ANSWERS: dict[str, tuple[Answering, str]] = {
    "lists in lists": (body(b"[" * 200_000), "WIRE"),
    "objects in objects": (body(b'{"a":' * 200_000), "WIRE"),
    "nested as deeply as Python can read": (body(b'{"plans":' + b"[" * 400 + b"]" * 400 + b"}"), "WIRE"),
    "an error, nested": (body(b"[" * 200_000, 401), "WIRE"),
    "a key twice": (body(b'{"roster": "a", "roster": "b"}'), "WIRE"),
    "no number": (body(b'{"roster": NaN}'), "WIRE"),
    "a number beyond all": (body(b'{"roster": 1e999}'), "WIRE"),
    "text that moves a cursor": (body(json.dumps({"roster": "\x1b[2J"}).encode()), "WIRE"),
    "compressed": (body(gzip.compress(b"{}"), content_encoding="gzip"), "LINK"),
    "without an end": (pieces(b" " * 65536, 0.0), "LINK"),
    "a byte now and then": (pieces(b" ", 0.02), "LINK"),
}
DATES = ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "Fri, 31 Dec 9999 23:59:59 -2359",
         "Mon, 01 Jan 9000 00:00:00 GMT")  # fmt: skip


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_answers, "MOST_BYTES", 2**20)
    monkeypatch.setattr(bounded_answers, "PATIENCE_S", 0.1)


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_is_read_as_far_as_is_bearable(gateway: Gateway, what: str, attack: Attack) -> None:
    gateway.answering, code = ANSWERS[what]
    site = GatewayClient(gateway.address, gateway.ca, "Lisbon", Ed25519PrivateKey.generate())
    with site, attack(f"an answer: {what}", {"WIRE": "WireError", "LINK": "LinkError"}[code]):
        site.board()


@pytest.mark.parametrize("date", DATES)
def test_a_time_that_cannot_be_is_not_followed(gateway: Gateway, date: str) -> None:
    gateway.answering, clock = body(b"{}", date=date), Clock()
    link = Endpoint(gateway.address, gateway.ca, ec.generate_private_key(ec.SECP384R1()))
    with GatewayClient(gateway.address, gateway.ca, "Lisbon", Ed25519PrivateKey.generate()) as site:
        assert site.board() == site.board() == {}
        assert site.clock_offset_s == 0.0
    clock.learn(date)
    assert signature_headers(link, clock)  # a time that no calendar has would end every request from now on


# --- messages ---------------------------------------------------------------------------------------------------------

CONTENT = recorddict_to_proto(RecordDict({"message": ConfigRecord({"plan": "x"})}))
ODD: dict[str, dict[str, Any]] = {
    "of no kind": {"message_type": "evil"},
    "without a kind": {"message_type": ""},
    "made at no time": {"created_at": float("nan")},
    "valid for no time": {"ttl": float("nan")},
    "made and ended beyond all": {"created_at": float("inf"), "ttl": float("-inf")},
    "from nobody": {"src_node_id": 0},
}


def message(number: int, trees: tuple[ObjectTree, ...] = (), **odd: Any) -> bytes:
    fields = {"run_id": 7, "src_node_id": 1, "dst_node_id": 5, "ttl": 30.0, "message_type": "query.answer"}
    named: dict[str, Any] = fields | {"message_id": f"{number:064x}", "created_at": time.time()} | odd
    made = ProtoMessage(metadata=Metadata(**named), content=None if trees else CONTENT)
    return bytes(PullMessagesResponse(messages_list=[made], message_object_trees=trees).SerializeToString())


def test_no_message_holds_a_site_for_ever(gateway: Gateway, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree = (ObjectTree(object_id="x", children=[ObjectTree(object_id="e" * 64)]),)
    waiting = [[message(number, **odd)] for number, odd in enumerate(ODD.values())]
    waiting += [[b"\xff" * 50], [b""], [PullMessagesResponse().SerializeToString()]]
    waiting += [[message(20, tree), b"Array 0\0"], [message(21, tree), b"\0" * 9], [message(22)]]
    tried, answered, hung = len(waiting) - 1, threading.Event(), list[int]()

    def answering(request: BaseHTTPRequestHandler) -> None:
        if request.path.endswith("take") and waiting:
            body(b"".join(map(frame, waiting.pop(0))))(request)
        elif request.path.endswith("take"):
            body(b"", 204)(request)
        else:
            body(ActivateNodeResponse(node_id=5).SerializeToString())(request)
        if request.path.endswith("give") and not waiting:
            answered.set()

    app, stop, gateway.answering = ClientApp(), threading.Event(), answering

    @app.query("answer")
    def respond(asked: Message, context: Context) -> Message:
        return Message(RecordDict(), reply_to=asked)

    link = Endpoint(gateway.address, gateway.ca, ec.generate_private_key(ec.SECP384R1()))
    on_hang = partial(hung.append, 1)
    site = threading.Thread(target=serve, args=(link, app, {}, tmp_path, print, stop, on_hang))
    site.start()
    assert answered.wait(30), f"one of {tried} messages held the site: {caplog.text[-500:]}"
    stop.set()
    site.join(30)
    assert not hung
    assert not [record for record in caplog.records if record.exc_info]
    assert not [*tmp_path.glob("*.message")]

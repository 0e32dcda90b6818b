"""A stranger before the coordinator's door, with nothing but the certificate; then members who try more than is theirs.

Every attempt is made against the real gateway before a real SuperLink, and nothing of it may get through: the SuperLink
knows the same nodes and runs afterwards.
"""

import json
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.control_pb2 import (
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
    UnregisterNodeFleetRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.superlink.grid import HttpGrid

from client.connection.gateway_client import GatewayClient
from common.errors import IdentityError
from common.secagg.transcript import frame
from common.trust.request_signing import SIGNATURE, SITE, TIME, signed_headers
from common.web import http_limits
from server.gateway import relay, request_limits, routes, whole_messages
from tests.gateway.running_gateway import Door, talk
from tests.tally import EVENTS, TRIED

PULL, PUSH = "/v1/fleet/pull-messages", "/v1/fleet/push-messages"


Headers = dict[str, str] | list[tuple[str, str]]


def node_headers(
    key: ec.EllipticCurvePrivateKey, at: str = "", shown: ec.EllipticCurvePublicKey | None = None
) -> dict[str, str]:
    """As Flower's nodes make them; `shown`: another's public key."""
    at = at or datetime.now(UTC).isoformat()
    return {
        "content-type": "application/protobuf",
        "flwr-public-key": b64encode(public_key_to_bytes(shown or key.public_key())).decode(),
        "flwr-timestamp": at,
        "flwr-signature": b64encode(sign_message(key, at.encode())).decode(),
    }


def pull(door: Door, site: str) -> bytes:
    """What a node asks again and again."""
    return PullMessagesRequest(node=Node(node_id=door.nodes[site])).SerializeToString()


def http(line: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request, as bytes."""
    told = {"host": "gateway", "content-length": str(len(body))} | headers
    return "\r\n".join([line, *(f"{k}: {v}" for k, v in told.items() if v), "", ""]).encode() + body


def said(answer: bytes | httpx.Response) -> str:
    """Status and the gateway's cause; the status alone where the SuperLink refused, or uvicorn."""
    if isinstance(answer, bytes):
        if not answer.startswith(b"HTTP/1.1 "):
            return "closed"
        status, content = answer[9:12].decode(), answer.partition(b"\r\n\r\n")[2]
    else:
        status, content = str(answer.status_code), answer.content
    try:
        return f"{status} {json.loads(content)['error']}"
    except (ValueError, KeyError, TypeError):
        return status


def refused(what: str, answer: bytes | httpx.Response, *expected: str) -> None:
    """Count it, if it was, and by whom it should be."""
    assert said(answer) in expected, f"{what}: {said(answer)}, expected {expected}"
    count(what, said(answer))


def count(what: str, answer: str) -> None:
    """One more that did not get through."""
    TRIED["doors tried and refused"] += 1
    EVENTS["doors"].append(f"{what} → {answer}")


@pytest.fixture(autouse=True)
def nothing_got_through(door: Door) -> Iterator[None]:
    """Nodes, runs and the board are what they were."""

    def state() -> tuple[object, ...]:
        theirs = {run for run, status in door.control.runs().items() if status != "finished:stopped"}
        return set(door.control.nodes()), theirs, len(door.site_api.decisions), len(door.site_api.activities)

    before = state()
    yield
    assert before == state()


# --- a stranger with the certificate ---


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # within Flower
def test_a_stranger_cannot_use_flowers_control_or_runtime_api(door: Door) -> None:
    node, certificate = next(iter(door.nodes.values())), door.home.authority.read_bytes()
    key = public_key_to_bytes(ec.generate_private_key(ec.SECP384R1()).public_key())
    with ControlHttpClient.from_server_address(door.address, False, certificate, []) as control:
        for what, ask in (
            ("submit a run", lambda: control.StartRun(StartRunRequest())),
            ("stop a run", lambda: control.StopRun(StopRunRequest(run_id=1))),
            ("list the runs", lambda: control.ListRuns(ListRunsRequest())),
            ("register a node (control)", lambda: control.RegisterNode(RegisterNodeRequest(public_key=key))),
            ("unregister a node (control)", lambda: control.UnregisterNode(UnregisterNodeRequest(node_id=node))),
        ):
            with pytest.raises(httpx.HTTPStatusError) as caught:
                ask()
            refused(what, caught.value.response, "404 not-found")
    with RuntimeHttpClient.from_server_address(door.address, False, certificate, []) as runtime:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            runtime.AcquireTask(AcquireTaskRequest(supported_task_types=["flwr-serverapp"]))
        refused("take a server task", caught.value.response, "404 not-found")


PAGES = (
    "/", "/docs", "/openapi.json", "/redoc", "/health", "/metrics", "/v1/control/", "/v1/control/list-nodes",
    "/v1/runtime/get-nodes", "/v1/runtime/acquire-task", "/v1/responses", "/v1/fleet", "/v1/fleet/", "/v1/consilium",
    "/v1/consilium/boards", "/favicon.ico", "/.env",
)  # fmt: skip


def test_a_stranger_finds_no_page(door: Door) -> None:
    with door.client() as stranger:
        for page in PAGES:
            for method in ("GET", "POST", "HEAD", "OPTIONS"):
                refused(
                    f"{method} {page}",
                    stranger.request(method, page),
                    *(["404"] if method == "HEAD" else ["404 not-found"]),
                )


def test_a_stranger_gets_nothing_from_the_fleet_api_or_the_board(door: Door) -> None:
    own = ec.generate_private_key(ec.SECP384R1())
    public = public_key_to_bytes(own.public_key())
    with door.fleet(own) as fleet:
        for what, ask, expected in (
            (
                "register a node (fleet)",
                lambda: fleet.RegisterNode(RegisterNodeFleetRequest(public_key=public)),
                "404 not-found",
            ),
            (
                "activate an own key",
                lambda: fleet.ActivateNode(ActivateNodeRequest(public_key=public)),
                "401 not-a-member",
            ),
            (
                "pull as an own key",
                lambda: fleet.PullMessages(PullMessagesRequest(node=Node(node_id=1))),
                "401 not-a-member",
            ),
        ):
            with pytest.raises(httpx.HTTPStatusError) as caught:
                ask()
            refused(what, caught.value.response, expected)
    with door.client() as stranger:
        for path in sorted(relay.FLEET):
            refused(f"{path} without credentials", stranger.post(path), "401 no-credentials")
        for method, path in (("GET", "board"), ("POST", "decision"), ("POST", "doing")):
            answer = stranger.request(method, f"/v1/consilium/{path}", content=b"{}" if method == "POST" else b"")
            refused(f"{method} {path} without credentials", answer, "401 no-credentials")


# --- as another site ---


def test_nobody_speaks_as_another_site(door: Door) -> None:
    lisbon, nairobi, own = door.key("Lisbon"), door.key("Nairobi"), ec.generate_private_key(ec.SECP384R1())
    as_lisbon, as_nairobi = (
        node_headers(own, shown=lisbon.public_key()),
        node_headers(lisbon, shown=nairobi.public_key()),
    )
    with door.client() as client:

        def post(site: str, headers: Headers) -> httpx.Response:
            return client.post(PULL, content=pull(door, site), headers=headers)

        assert post("Lisbon", node_headers(lisbon)).is_success
        refused("an own key with a member's node id", post("Lisbon", node_headers(own)), "401 not-a-member")
        refused("a member's public key, an own signature", post("Lisbon", as_lisbon), "401 not-a-member")
        refused("a member's signature under another's key", post("Nairobi", as_nairobi), "401 not-a-member")
        refused("a member with another's node id", post("Nairobi", node_headers(lisbon)), "401")  # by the SuperLink
        two = [*node_headers(own).items(), *node_headers(lisbon).items()]
        refused("two keys and two signatures", post("Lisbon", two), "401 no-credentials")
        with door.fleet(nairobi) as fleet, pytest.raises(httpx.HTTPStatusError) as caught:
            fleet.UnregisterNode(UnregisterNodeFleetRequest(node_id=door.nodes["Lisbon"]))
        refused("a member that unregisters another", caught.value.response, "404 not-found")


def test_nobody_speaks_as_another_site_at_the_board(door: Door) -> None:
    lisbon, stranger = door.consortium.sites["Lisbon"].identity, Ed25519PrivateKey.generate()
    for what, site, identity in (
        ("a stranger under a member's name", "Lisbon", stranger),
        ("a member under another's name", "Nairobi", lisbon),
        ("a name that nobody has", "Atlantis", stranger),
        ("a member that was revoked", "Osaka", door.consortium.sites["Osaka"].identity),
    ):
        with (
            GatewayClient(door.address, door.home.authority, site, identity) as board,
            pytest.raises(IdentityError) as caught,
        ):
            board.doing({"what": "idle"})
        assert caught.value.cause == "not-a-member"
        count(f"board: {what}", "401 not-a-member")


def test_a_revoked_key_connects_no_more(door: Door) -> None:
    with door.fleet(door.key("Osaka")) as fleet, pytest.raises(httpx.HTTPStatusError) as caught:
        fleet.PullMessages(PullMessagesRequest(node=Node(node_id=door.nodes["Osaka"])))
    refused("a revoked key", caught.value.response, "401 not-a-member")


def answered(door: Door, site: str, grid: HttpGrid) -> tuple[Message, Message]:
    """A message that a site has pulled, and an answer in its name."""
    node, key = door.nodes[site], door.key(site)
    with door.fleet(key) as fleet:
        public = public_key_to_bytes(key.public_key())
        with suppress(httpx.HTTPStatusError):  # it is online already
            fleet.ActivateNode(ActivateNodeRequest(public_key=public, heartbeat_interval=30))
        while node not in set(grid.get_node_ids()):
            time.sleep(0.05)
        grid.push_messages([Message(RecordDict({"question": ConfigRecord({"n": 1})}), node, "query.answer", ttl=60)])
        asked = message_from_proto(fleet.PullMessages(PullMessagesRequest(node=Node(node_id=node))).messages_list[0])
    return asked, Message(RecordDict({"answer": ConfigRecord({"n": 2})}), reply_to=asked)


def pushing(message: Message, node: int) -> tuple[PushMessagesRequest, list[bytes]]:
    """What a node pushes, and the objects that it has."""
    message.metadata.__dict__["_message_id"] = message.object_id
    tree, objects = get_object_tree(message), get_all_nested_objects(message)
    bare = message_to_proto(remove_content_from_message(message))
    names = dict.fromkeys(node.object_id for node in iterate_object_tree(tree))
    request = PushMessagesRequest(node=Node(node_id=node), messages_list=[bare], message_object_trees=[tree])
    return request, [objects[name].deflate() for name in names]


def test_no_member_puts_another_name_into_its_messages(door: Door) -> None:
    lisbon, nairobi = door.nodes["Lisbon"], door.nodes["Nairobi"]
    with door.as_coordinator.run() as grid, door.client() as client:
        asked, reply = answered(door, "Nairobi", grid)
        order = Message(RecordDict({"order": ConfigRecord({"n": 3})}), nairobi, "query.answer", ttl=60)
        order.metadata.__dict__.update(_run_id=asked.metadata.run_id, _src_node_id=SUPERLINK_NODE_ID)

        def push(message: Message, node: int, short: bool) -> httpx.Response:
            path, (request, parts) = PUSH, pushing(message, node)
            content = request.SerializeToString()
            if short:
                path, content = "/v1/consilium/give", b"".join(map(frame, [content, *parts]))
            return client.post(path, content=content, headers=node_headers(door.key("Lisbon")))

        for what, message in (
            ("an answer in another's name", reply),
            ("an order, as if it were the coordinator", order),
        ):
            refused(f"a member: {what}", push(message, lisbon, short=False), "401 other-name")
            refused(
                f"a member: {what}, all as another node", push(message, nairobi, short=False), "401", "401 other-name"
            )
            for node in (lisbon, nairobi):
                refused(f"a member: {what}, the short way", push(message, node, short=True), "400 WIRE")
        assert not list(grid.pull_messages([asked.metadata.message_id]))
        with door.fleet(door.key("Nairobi")) as fleet:
            assert not fleet.PullMessages(PullMessagesRequest(node=Node(node_id=nairobi))).messages_list
            fleet.DeactivateNode(DeactivateNodeRequest(node_id=nairobi))


def test_the_short_way_is_for_members_nodes_alone(door: Door) -> None:
    own, osaka, lisbon = ec.generate_private_key(ec.SECP384R1()), door.key("Osaka"), door.key("Lisbon")
    for path in ("/v1/consilium/take", "/v1/consilium/give"):
        for what, headers, cause in (
            ("without credentials", {}, "no-credentials"),
            ("with an own key", node_headers(own), "not-a-member"),
            ("with a revoked key", node_headers(osaka), "not-a-member"),
            ("with another's key", node_headers(own, shown=lisbon.public_key()), "not-a-member"),
        ):
            refused(f"{path} {what}", door.say(http(f"POST {path} HTTP/1.1", headers)), f"401 {cause}")
        refused(f"GET {path}", door.say(http(f"GET {path} HTTP/1.1", node_headers(lisbon))), "404 not-found")
    for what, content in (("nothing", b""), ("nonsense", b"\xff" * 40), ("a false length", b"\xff" * 7 + b"\x00x")):
        request = http("POST /v1/consilium/give HTTP/1.1", node_headers(lisbon), content)
        refused(f"a member gives {what}", door.say(request), "400 WIRE")
    long = node_headers(lisbon) | {"content-length": str(whole_messages.GIVE_BYTES + 1)}
    refused("a member gives too much", door.say(http("POST /v1/consilium/give HTTP/1.1", long)), "413 too-large")


def test_who_is_no_member_asks_the_board_nothing(door: Door) -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(b"nobody whom the roots know, 32 b")
    revoked = door.consortium.sites["Osaka"].identity
    for name in ("decision", "doing", "history", "catalogue", "offer", "deposit", "package"):
        path, body = f"/v1/consilium/{name}", b"{}"
        for what, headers, cause in (
            ("without credentials", {}, "no-credentials"),
            ("with an own key", signed_headers("Lisbon", stranger, "POST", path, body, time.time()), "not-a-member"),
            ("with a revoked key", signed_headers("Osaka", revoked, "POST", path, body, time.time()), "not-a-member"),
        ):
            refused(f"{path} {what}", door.say(http(f"POST {path} HTTP/1.1", headers, body)), f"401 {cause}")
        refused(f"GET {path}", door.say(http(f"GET {path} HTTP/1.1", {})), "404 not-found")
        long = http(f"POST {path} HTTP/1.1", {"content-length": str(routes.PIECE_BYTES + 1)})
        refused(f"{path} of any length", door.say(long), "413 too-large")


# --- once more, or at another time ---


def test_a_captured_request_does_not_pass_again(door: Door) -> None:
    request = http(f"POST {PULL} HTTP/1.1", node_headers(door.key("Lisbon")), pull(door, "Lisbon"))
    assert said(door.say(request)) == "200"
    refused("a request to Flower, byte for byte", door.say(request), "401 replayed")
    refused("a request to Flower, with another body", door.say(request[:-1] + b"\0"), "401 replayed")
    body, path = b'{"what": "idle"}', "/v1/consilium/doing"
    signed = signed_headers("Lisbon", door.consortium.sites["Lisbon"].identity, "POST", path, body, time.time())
    request = http(f"POST {path} HTTP/1.1", signed, body)
    assert said(door.say(request)) == "200"
    door.site_api.activities.pop()
    refused("a request to the board, byte for byte", door.say(request), "401 replayed")
    elsewhere = http("POST /v1/consilium/decision HTTP/1.1", signed, body)
    refused("the same on another path", door.say(elsewhere), "401 not-a-member")


def test_a_signature_is_for_one_request_at_its_time(door: Door) -> None:
    path, body = "/v1/consilium/decision", b'{"verdict": "refuse"}'
    fresh = signed_headers("Lisbon", door.consortium.sites["Lisbon"].identity, "POST", path, body, time.time())
    for what, changed, told, cause in (
        ("another body", {}, b'{"verdict": "approve"}', "not-a-member"),
        ("another time", {TIME: str(time.time_ns())}, body, "not-a-member"),
        ("another site", {SITE: "Nairobi"}, body, "not-a-member"),
        ("no signature", {SIGNATURE: ""}, body, "no-credentials"),
        ("a time that is nonsense", {TIME: "now"}, body, "no-credentials"),
        ("a time that is too long", {TIME: "9" * 400}, body, "no-credentials"),
        ("a time before 1970", {TIME: "-5"}, body, "no-credentials"),
        ("a time in the year 2000", {TIME: "946684800000000000"}, body, "clock"),
    ):
        refused(f"board: {what}", door.say(http(f"POST {path} HTTP/1.1", fresh | changed, told)), f"401 {cause}")
    lisbon, now = door.key("Lisbon"), datetime.now(UTC)
    for what, at, cause in (
        ("yesterday's", (now - timedelta(days=1)).isoformat(), "clock"),
        ("tomorrow's", (now + timedelta(days=1)).isoformat(), "clock"),
        ("without a zone", now.replace(tzinfo=None).isoformat(), "no-credentials"),
        ("nonsense", "now", "no-credentials"),
    ):
        answer = door.say(http(f"POST {PULL} HTTP/1.1", node_headers(lisbon, at), pull(door, "Lisbon")))
        refused(f"a time that is {what}", answer, f"401 {cause}")


# --- around the paths, and between the lines ---

TRICKS = (
    "//v1/fleet/../control/list-nodes", "/v1/fleet/../control/list-nodes", "/v1/fleet/%2e%2e/control/list-nodes",
    "/v1/fleet/pull-messages/../../control/list-nodes", "/v1/fleet/..%2fcontrol%2flist-nodes", "/v1/control/list-nodes",
    "/v1/fleet//pull-messages", "/V1/FLEET/pull-messages", "/v1/fleet/pull-messages/", "/v1/fleet/pull-messages%00",
    "/v1/fleet/pull%2dmessages", "/v1/fleet/pull-messages;/../control", "/v1/fleet/pull-messages?path=/v1/control",
    "/v1/fleet\\pull-messages", "/v1/fleet/pull-messages%20", "/v1/fleet/register-node", "/v1/fleet/unregister-node",
    "https://gateway/v1/control/list-nodes", "http://127.0.0.1:18000/v1/control/list-nodes", "*",
    "/v1/fleet/pull-messages#/../control",
)  # fmt: skip


@pytest.mark.parametrize("target", TRICKS)
def test_no_spelling_of_a_path_leads_elsewhere(door: Door, target: str) -> None:
    request = http(f"POST {target} HTTP/1.1", node_headers(door.key("Lisbon")), pull(door, "Lisbon"))
    refused(f"a member: POST {target}", door.say(request), "400", "404", "404 not-found")


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "CONNECT", "TRACE", "post", "LIST"]
)
def test_no_other_method_passes(door: Door, method: str) -> None:
    request = http(f"{method} {PULL} HTTP/1.1", node_headers(door.key("Lisbon")), pull(door, "Lisbon"))
    refused(f"a member: {method} {PULL}", door.say(request), "400", "404", "404 not-found")


def test_nothing_is_smuggled_between_two_requests(door: Door) -> None:
    hidden = b"POST /v1/control/list-nodes HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    body = b"0\r\n\r\n" + hidden
    for what, changed in (
        ("Content-Length and Transfer-Encoding", {"transfer-encoding": "chunked"}),
        ("Transfer-Encoding in disguise", {"transfer-encoding": "xchunked"}),
        ("Transfer-Encoding twice", {"transfer-encoding": "chunked\r\ntransfer-encoding: identity"}),
        ("two Content-Lengths", {"content-length": f"{len(body)}\r\ncontent-length: 0"}),
        ("a Content-Length that is none", {"content-length": "+5"}),
        ("a Content-Length below zero", {"content-length": "-5"}),
    ):
        request = http(f"POST {PULL} HTTP/1.1", node_headers(door.key("Lisbon")) | changed, body)
        with door.line() as line:
            answer = talk(line, request)
            assert not hidden_answered(line), what
        refused(f"smuggling: {what}", answer, "closed", "400", "400 malformed")
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-key": "x", "sec-websocket-version": "13"}
    refused("an upgrade to WebSocket", door.say(http("GET /v1/fleet/ HTTP/1.1", upgrade)), "404 not-found")
    refused("HTTP/2 without being asked", door.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "closed", "400")
    refused("no HTTP at all", door.say(b"\x00\xff" * 100 + b"\r\n\r\n"), "closed", "400")


def hidden_answered(line: ssl.SSLSocket) -> bool:
    try:
        return b" 200 " in line.recv(65536)
    except (OSError, ssl.SSLError):
        return False


# --- too much, or too slowly ---


def test_a_body_that_is_too_long_is_not_read(door: Door) -> None:
    lisbon, most = door.key("Lisbon"), relay.FLEET_BYTES
    told = http(f"POST {PULL} HTTP/1.1", node_headers(lisbon) | {"content-length": str(most + 1)})
    refused("a member: a body that says it is too long", door.say(told), "413 too-large")
    chunks = node_headers(lisbon) | {"content-length": "", "transfer-encoding": "chunked"}
    piece = b"%x\r\n" % 2**20 + bytes(2**20) + b"\r\n"
    answer = door.say(http(f"POST {PULL} HTTP/1.1", chunks), *[piece] * (most // 2**20 + 1))
    refused("a member: a body that does not say it", answer, "closed", "413 too-large")
    unsigned = http("POST /v1/consilium/doing HTTP/1.1", {"content-length": str(routes.SITE_BYTES + 1)})
    refused("board: a body that says it is too long", door.say(unsigned), "413 too-large")
    stranger = http(f"POST {PULL} HTTP/1.1", {"content-length": str(most)})
    refused("a stranger: a long body", door.say(stranger), "401 no-credentials")


def test_a_header_without_end_is_cut_off(door: Door) -> None:
    lines = [b"x-%d: %s\r\n" % (i, b"y" * 8000) for i in range(200)]
    refused("a header without end", door.say(b"GET / HTTP/1.1\r\n", *lines), "closed", "400")


def test_those_who_say_nothing_or_a_letter_now_and_then_are_cut_off_in_time(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "HEADER_S", 0.4)
    monkeypatch.setattr(request_limits, "BODY_S", 0.4)
    began = time.monotonic()
    refused("a connection that says nothing", door.say(), "closed")
    with door.line() as line:
        answer = b""
        for letter in b"GET /v1/consilium/health HTTP/1.1\r\nx: " + b"y" * 100:
            try:
                line.sendall(bytes([letter]))
            except OSError:
                break
            time.sleep(0.02)
        else:
            answer = talk(line, b"\r\n\r\n")
    refused("a header letter by letter", answer, "closed")
    half = http("POST /v1/consilium/doing HTTP/1.1", {"content-length": "100"}, b"x" * 50)
    refused("board: half a body", door.say(half), "408 slow")
    node = http(f"POST {PULL} HTTP/1.1", node_headers(door.key("Lisbon")) | {"content-length": "100"}, b"x" * 50)
    refused("a member: half a body", door.say(node), "408 slow")
    assert time.monotonic() - began < 30
    with door.client() as others:
        assert others.get("/v1/consilium/health").status_code == 200


def test_old_tls_and_no_tls_are_refused(door: Door) -> None:
    old = ssl.create_default_context(cafile=str(door.home.authority))
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", door.port), 10) as raw,
        pytest.raises(OSError, match=r"TLS|SSL|protocol"),
    ):
        old.wrap_socket(raw, server_hostname="127.0.0.1")
    refused("TLS 1.1", b"", "closed")
    with socket.create_connection(("127.0.0.1", door.port), 10) as raw:
        raw.sendall(b"GET /v1/consilium/health HTTP/1.1\r\nhost: x\r\n\r\n")
        refused("no TLS", raw.recv(1000), "closed")


def test_one_member_cannot_take_all_the_ways_to_the_superlink(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "AT_ONCE", 2)
    waiting = [door.line() for _ in range(2)]
    try:
        for line in waiting:
            line.sendall(
                http(f"POST {PULL} HTTP/1.1", node_headers(door.key("Lisbon")) | {"content-length": "9"}, b"x")
            )
        time.sleep(0.3)
        for site, expected in (("Lisbon", "503 unavailable"), ("Nairobi", "200")):
            answer = said(door.say(http(f"POST {PULL} HTTP/1.1", node_headers(door.key(site)), pull(door, site))))
            assert answer == expected
        count("a member: more requests at once than its share", "503")
    finally:
        for line in waiting:
            line.close()

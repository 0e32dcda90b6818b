"""The gateway before a real SuperLink: what passes, and what happens when something is away."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.superlink.routers.fleet.router import router
from hypothesis import given
from hypothesis import strategies as st

from client.connection import fleet_client
from client.connection.fleet_client import Endpoint
from client.connection.gateway_client import GatewayClient
from client.connection.node import serve
from common.errors import ConfigError, IdentityError, LinkError
from common.storage.files import read_json
from common.trust.request_signing import AHEAD_S, BEHIND_S, ReplayGuard
from server.consortium import membership
from server.consortium.home import Home
from server.gateway import app as gateway
from server.gateway import authentication, relay, routes
from server.processes.process_table import process_states
from server.superlink import control
from tests.connection.resident import site as echo
from tests.gateway.running_gateway import Door, talk
from tests.superlink.superlink import authority, free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lisbon(door: Door) -> Iterator[GatewayClient]:
    hospital = door.consortium.sites["Lisbon"]
    with GatewayClient(door.address, door.home.authority, "Lisbon", hospital.identity) as board:
        yield board


def until(true: Any, within_s: float = 30.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    return found


def wait_for_superlink(door: Door) -> None:
    deadline = time.monotonic() + 60
    while not door.superlink_answers():
        assert time.monotonic() < deadline
        door.supervisor.turn(0.1)


# --- Flower's Fleet API ---


def test_the_gateway_knows_the_installed_flower() -> None:
    routes = {str(route.path) for route in router.routes}  # type: ignore[attr-defined]
    assert routes - relay.FLEET == {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}
    assert routes > relay.FLEET
    ours = (authentication.PUBLIC_KEY, authentication.TIMESTAMP, authentication.SIGNATURE)
    assert ours == (FLEET_HTTP_PUBLIC_KEY_HEADER, TIMESTAMP_HEADER, FLEET_HTTP_SIGNATURE_HEADER)
    assert (AHEAD_S, BEHIND_S) == (SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE)


def test_a_members_node_comes_online_through_the_gateway_and_status_sees_it(door: Door) -> None:
    key = door.key("Nairobi")
    public = public_key_to_bytes(key.public_key())
    door.goodbye("Nairobi")  # another test may have left it online
    before = time.time()
    with door.fleet(key) as fleet:
        answer = fleet.ActivateNode(ActivateNodeRequest(public_key=public, heartbeat_interval=30))
        assert answer.node_id == door.nodes["Nairobi"]
        node = Node(node_id=answer.node_id)
        assert fleet.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=node, heartbeat_interval=30)).success
        assert not fleet.PullMessages(PullMessagesRequest(node=node)).messages_list
    known = door.control.nodes()[public]
    assert known.online
    assert abs((known.since_s or 0) - before) < 30
    heard = door.home.live / "heard.json"
    told = until(lambda: (said := (read_json(heard) or {}).get("Nairobi")) and said["at_s"] >= before and said)
    assert told["since_s"] <= told["at_s"] < time.time() + 1


def test_a_site_whose_connections_have_all_ended_is_known_at_once(door: Door) -> None:
    beat = SendNodeHeartbeatRequest(node=Node(node_id=door.nodes["Nairobi"]), heartbeat_interval=30)

    def lost() -> bool:
        return "lost_s" in (read_json(door.home.live / "heard.json") or {}).get("Nairobi", {})

    with door.fleet(door.key("Nairobi")) as one:
        one.SendNodeHeartbeat(beat)
        with door.fleet(door.key("Nairobi")) as other:
            other.SendNodeHeartbeat(beat)
        time.sleep(1.5)
        assert not lost()  # one of two
        began = time.monotonic()
    until(lost)
    assert time.monotonic() - began < 15


def test_a_message_of_many_pieces_passes_both_ways_whole(door: Door, tmp_path: Path) -> None:
    content = os.urandom(7_000_000)  # two pieces
    door.goodbye("Lisbon")  # another test may have left it online
    stop, told = threading.Event(), []
    way = Endpoint(door.address, door.home.authority, door.key("Lisbon"))
    site = threading.Thread(target=serve, args=(way, echo(tmp_path), {}, tmp_path / "journal", told.append, stop))
    site.start()
    try:
        with door.as_coordinator.run() as grid:
            node = door.nodes["Lisbon"]
            until(lambda: node in set(grid.get_node_ids()))
            record = ArrayRecord({"bytes": Array("uint8", (len(content),), "test", content)})
            sent = grid.push_messages([Message(RecordDict({"message": record}), node, "query.echo", ttl=60)])
            (reply,) = until(lambda: list(grid.pull_messages(sent)))
            assert reply.content["message"]["bytes"].data == content  # type: ignore[index]
    finally:
        stop.set()
        site.join(30)


def test_sites_are_told_to_come_back_while_the_superlink_is_away(door: Door) -> None:
    key, ask = door.key("Nairobi"), PullMessagesRequest(node=Node(node_id=door.nodes["Nairobi"]))
    os.kill(process_states(door.home.live / "log")[0].pid, signal.SIGKILL)
    with door.fleet(key) as fleet:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            fleet.PullMessages(ask)
        assert caught.value.response.status_code == 503
        assert "being restarted" in caught.value.response.json()["detail"]
        wait_for_superlink(door)
        assert not fleet.PullMessages(ask).messages_list


def test_control_lets_a_node_in_once_and_says_why_a_key_never_comes_back(door: Door) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    openssh = key.public_key().public_bytes(
        control.Encoding.OpenSSH, control.PublicFormat.OpenSSH
    ).decode()  # fmt: skip
    number = door.control.register(openssh)
    assert door.control.register(openssh) == number
    assert not door.control.nodes()[public_key_to_bytes(key.public_key())].online
    door.control.unregister(number)
    assert public_key_to_bytes(key.public_key()) not in door.control.nodes()
    with pytest.raises(ConfigError, match="client rekey"):
        door.control.register(openssh)
    with pytest.raises(ConfigError, match="expected an ECDSA public key"):
        door.control.register("ssh-rsa nonsense")


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # within Flower
def test_a_run_can_be_begun_and_ended_and_its_bundle_holds_no_code(door: Door) -> None:
    run = door.control.submit(control.bundle(), {"home": "/nowhere", "plan": "ab"})
    assert door.control.runs()[run] == "pending"
    door.control.stop(run)
    door.control.stop(run)
    assert door.control.runs()[run].startswith("finished:stopped")
    assert control.bundle() == control.bundle()
    with pytest.raises(LinkError, match=r"does not answer.*server start"):
        control.ControlApi(door.home.folder, free_port()).nodes()


def test_another_release_of_flower_is_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "version", lambda _: "9.9.9")
    with pytest.raises(ConfigError, match=rf"flwr 9\.9\.9 is installed, expected {control.FLOWER}"):
        control.commands(door.home.folder, 18000)


# --- membership ---


def test_a_new_member_passes_at_once_and_a_revoked_one_no_more(door: Door) -> None:
    home, hospital = door.home, door.consortium.hospital("Quito")
    node = Node(node_id=door.control.register(home.requests()["Quito"].node))
    with (
        door.fleet(hospital.node_key) as fleet,
        GatewayClient(door.address, home.authority, "Quito", hospital.identity) as board,
    ):
        assert not fleet.PullMessages(PullMessagesRequest(node=node)).messages_list
        assert board.board() == {"for": "Quito"}
        membership.revoke(home, "Quito", home.root_keys())
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            fleet.PullMessages(PullMessagesRequest(node=node))
        with pytest.raises(IdentityError, match="suspended") as caught:
            board.board()
        assert caught.value.cause == "not-a-member"


def test_nobody_passes_while_the_roster_cannot_be_read(door: Door, lisbon: GatewayClient) -> None:
    roster = door.home.folder / "roster"
    content = roster.read_bytes()
    try:
        roster.write_bytes(content[:-1])
        with pytest.raises(LinkError, match="cannot read its roster"):
            lisbon.board()
        roster.unlink()
        with pytest.raises(LinkError, match="cannot read its roster"):
            lisbon.board()
    finally:
        roster.write_bytes(content)
    assert lisbon.board() == {"for": "Lisbon"}


# --- the board ---


def test_a_site_reads_its_own_board_and_what_it_says_comes_with_its_name(door: Door, lisbon: GatewayClient) -> None:
    assert lisbon.board() == {"for": "Lisbon"}
    assert lisbon.decision({"plan": "a", "say": "é"}) == {"taken": {"plan": "a", "say": "é"}}
    assert lisbon.doing({"what": "idle"}) == {}
    assert door.site_api.decisions[-1] == ("Lisbon", {"plan": "a", "say": "é"})
    assert door.site_api.activities[-1] == ("Lisbon", {"what": "idle"})
    assert lisbon.clock_offset_s == 0


def test_what_the_board_refuses_the_site_is_told_and_why(lisbon: GatewayClient) -> None:
    with pytest.raises(LinkError, match=r"400 PLAN.*the site was not asked"):
        lisbon.decision({"plan": "over"})
    with pytest.raises(LinkError, match=r"503 unavailable.*No space left"):
        lisbon.decision({"plan": "full"})
    with pytest.raises(LinkError, match="413 too-large"):
        lisbon.decision({"plan": "x" * routes.SITE_BYTES})
    with pytest.raises(LinkError, match="400 WIRE"):
        lisbon.decision(["no object"])  # type: ignore[arg-type]


@pytest.mark.parametrize("off_s", [-600.0, 600.0, 90_000.0])
def test_a_clock_that_is_off_is_corrected_and_told(
    lisbon: GatewayClient, off_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_client, "time", SimpleNamespace(time=lambda: time.time() + off_s))
    assert lisbon.board() == {"for": "Lisbon"}
    assert lisbon.clock_offset_s == pytest.approx(-off_s, abs=3)


def test_the_coordinator_that_is_not_there_or_not_the_right_one_is_an_error_that_says_what_to_do(
    door: Door, tmp_path: Path
) -> None:
    identity, ours = door.consortium.sites["Lisbon"].identity, door.home.authority
    there = f"127.0.0.1:{door.home.settings.superlink_port}"
    for address, trusted, why in (
        (f"127.0.0.1:{free_port()}", ours, r"cannot be reached.*firewall"),
        (door.address, authority(tmp_path), r"not the certificate that is expected.*nothing was sent"),
        (there, ours, "404"),
    ):
        with GatewayClient(address, trusted, "Lisbon", identity) as board, pytest.raises(LinkError, match=why):
            board.board()
    (tmp_path / "empty").write_text("", encoding="utf-8")
    for name, why in (("empty", "not a certificate"), ("missing", "No such file")):
        with pytest.raises(ConfigError, match=why):
            GatewayClient(door.address, tmp_path / name, "Lisbon", identity)


# --- the gateway itself ---


def test_anybody_may_ask_for_its_health_and_its_time(door: Door) -> None:
    with door.client() as stranger:
        told = stranger.get("/v1/consilium/health")
    assert told.json()["ok"] is True
    assert abs(told.json()["now_s"] - time.time()) < 5
    assert "server" not in told.headers


def test_it_runs_as_a_process_of_its_own_and_ends_when_it_is_told_to(door: Door, tmp_path: Path) -> None:
    settings, port = door.home.folder / "consortium.yaml", free_port()
    content = settings.read_text()
    settings.write_text(content.replace(f"port: {door.port}", f"port: {port}"))
    command = [sys.executable, "-m", "server.gateway", str(door.home.folder)]
    try:
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, encoding="utf-8") as process:
            line = until(lambda: reachable(door.tls(), port))
            assert b'"ok":true' in talk(line, b"GET /v1/consilium/health HTTP/1.1\r\nHost: x\r\n\r\n")
            line.close()
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=20)
        assert process.returncode in (0, -signal.SIGTERM)
        assert "Traceback" not in said
    finally:
        settings.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="server init"):
        gateway.server(Home(tmp_path), door.site_api)


def reachable(tls: ssl.SSLContext, port: int) -> ssl.SSLSocket | None:
    try:
        return tls.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1")
    except OSError:
        return None


# --- what is taken once ---


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 200)), max_size=30))
def test_nothing_is_taken_twice_within_the_window(requests: list[tuple[int, float]]) -> None:
    seen, now_s, taken = ReplayGuard(), time.time(), {}
    for what, later_s in requests:
        now_s += later_s
        signed_s = taken.get(what, now_s)
        try:
            seen.refuse_out_of_time(signed_s, now_s)
            seen.refuse_replayed(bytes([what]), now_s)
        except IdentityError:
            assert what in taken
        else:
            assert what not in taken
            taken[what] = signed_s


def test_what_was_signed_before_the_gateway_started_is_to_be_signed_anew() -> None:
    seen = ReplayGuard()
    with pytest.raises(LinkError, match="Sign the request again"):
        seen.refuse_out_of_time(time.time() - 1, time.time())
    with pytest.raises(IdentityError, match=r"10\.0 min ago.*clock"):
        seen.refuse_out_of_time(time.time() - 600, time.time())
    with pytest.raises(IdentityError, match="ahead of time"):
        seen.refuse_out_of_time(time.time() + 60, time.time())

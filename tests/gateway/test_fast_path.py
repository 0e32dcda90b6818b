"""The short way of messages through the gateway: what is lost on the line comes again, and nothing counts twice."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesResponse, PushMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore import heartbeat

from client import app as site_edge
from client.connection import node
from client.connection.fast_path import GOT, TAKE, FastPath
from client.connection.fleet_client import Clock, Endpoint, NobodyWaitsError, signature_headers
from client.connection.message_handler import MessageHandler
from client.training import hospital_site
from common.errors import LinkError
from common.secagg.transcript import frame
from server.app import fast_nodes
from server.consortium import membership
from server.gateway import whole_messages
from server.gateway.whole_messages import GIVE_BYTES, TAKE_BYTES
from server.runs.driver import carry_out
from server.superlink.flower_transport import FlowerTransport
from server.superlink.notify import Signal
from server.superlink.store import MessageStore
from server.superlink.store_grid import StoreGrid
from tests.connection.resident import site as echo
from tests.deployment.whole import SVM, until
from tests.gateway.running_gateway import Door
from tests.gateway.test_gateway_attacks import pushing

TTL_S = 60.0


class Member:
    """A site's node, as far as it takes and gives."""

    def __init__(self, door: Door, name: str) -> None:
        self.door, self.name, self.id = door, name, door.nodes[name]
        self.link = Endpoint(door.address, door.home.authority, door.key(name))
        self.way = FastPath(self.link, Clock())

    def __enter__(self) -> "Member":
        with self.door.fleet(self.link.key) as fleet, suppress(httpx.HTTPStatusError):  # it is online already
            asked = ActivateNodeRequest(public_key=self.link.public_key, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
            fleet.ActivateNode(asked)
        got = ""
        while parts := self.way.take(got):  # of runs that are over
            got = _message(parts).metadata.message_id
        return self

    def __exit__(self, *_: object) -> None:
        self.door.goodbye(self.name)
        self.way.close()

    def reply(self, parts: list[bytes], n: int = 0) -> list[bytes]:
        """A small reply, as it is handed in."""
        answer = Message(RecordDict({"answer": ConfigRecord({"n": n})}), reply_to=_message(parts))
        answer.metadata.__dict__["_message_id"] = answer.object_id
        told = PushMessagesRequest(node=Node(node_id=self.id), messages_list=[message_to_proto(answer)])
        return [told.SerializeToString()]


def _message(parts: list[bytes]) -> Message:
    return message_from_proto(PullMessagesResponse.FromString(parts[0]).messages_list[0])


@pytest.fixture(autouse=True)
def questions_are_not_held_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_messages, "HOLD_S", 0.3)


@pytest.fixture
def lisbon(door: Door) -> Iterator[Member]:
    with Member(door, "Lisbon") as member:
        yield member


@pytest.fixture
def grid(door: Door) -> Iterator[StoreGrid]:
    """A run that is going on; the test sends as its ServerApp."""
    with door.as_coordinator.run() as flowers:
        yield StoreGrid(
            MessageStore(door.home.live / "flower" / "state.db"), flowers.run, lambda: set(door.nodes.values())
        )


def asked(grid: StoreGrid, site: Member, content: int | bytes = 1) -> str:
    """Send a message; its id."""
    record = (
        ConfigRecord({"n": content})
        if isinstance(content, int)
        else ArrayRecord({"bytes": Array("uint8", (len(content),), "test", content)})
    )
    (name,) = grid.push_messages([Message(RecordDict({"question": record}), site.id, "query.echo", ttl=TTL_S)])
    Signal(site.door.home.live / "bells" / site.name).send()
    return name


def answers(grid: StoreGrid, *names: str) -> list[Any]:
    """What there is; who has been asked and has answered already is answered for by Flower, with an error."""
    found = [message for message in grid.pull_messages(names) if not message.has_error()]
    return [message.content["answer"]["n"] for message in found]  # type: ignore[index]


# --- to a site ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [1, bytes(300_000)], ids=["in-one-row", "in-objects"])
def test_a_message_is_handed_out_byte_for_byte_until_the_site_says_that_it_has_it(
    content: int | bytes, grid: StoreGrid, lisbon: Member
) -> None:
    first, second = asked(grid, lisbon, content), asked(grid, lisbon, 2)
    parts = lisbon.way.take("")
    assert _message(parts).metadata.message_id == first
    assert lisbon.way.take("") == lisbon.way.take("0" * 64) == parts
    after = lisbon.way.take(first)
    assert _message(after).metadata.message_id == second
    assert lisbon.way.take(first) == after
    assert lisbon.way.take(second) == []


def test_a_message_whose_answer_the_line_lost_comes_again(grid: StoreGrid, lisbon: Member) -> None:
    name = asked(grid, lisbon, os.urandom(TAKE_BYTES))
    headers = {**signature_headers(lisbon.link, Clock()), GOT: "", "host": "gateway", "content-length": "0"}
    request = "\r\n".join([f"POST {TAKE} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""])
    with lisbon.door.line() as line:
        line.sendall(request.encode())
        beginning = line.recv(1000)  # and no more
    assert b" 200 " in beginning
    parts = lisbon.way.take("")
    assert _message(parts).metadata.message_id == name
    assert lisbon.way.take("") == parts


@pytest.mark.slow
def test_a_question_on_a_dead_line_takes_nothing_away_from_the_next(
    grid: StoreGrid, lisbon: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_messages, "HOLD_S", 20.0)
    hurried = httpx.Client(base_url=f"https://{lisbon.link.address}", verify=lisbon.door.tls(), timeout=0.3)
    for _ in range(3):
        with pytest.raises(httpx.ReadTimeout):
            hurried.post(TAKE, headers={**signature_headers(lisbon.link, Clock()), GOT: ""})
    hurried.close()
    taken: list[list[bytes]] = []
    asking = threading.Thread(target=lambda: taken.append(lisbon.way.take("")))
    asking.start()
    time.sleep(0.3)
    names, began = [asked(grid, lisbon, n) for n in range(3)], time.monotonic()
    asking.join()
    assert time.monotonic() - began < 15  # it was answered, not held to the end
    got = [_message(taken[0]).metadata.message_id]
    while parts := lisbon.way.take(got[-1]):
        got.append(_message(parts).metadata.message_id)
    assert got == names


def test_a_message_of_a_run_that_is_over_troubles_nobody(door: Door, lisbon: Member) -> None:
    with door.as_coordinator.run() as flowers:
        old = StoreGrid(MessageStore(door.home.live / "flower" / "state.db"), flowers.run, lambda: {lisbon.id})
        asked(old, lisbon, 1)
        asked(old, lisbon, bytes(300_000))
    with door.as_coordinator.run() as flowers:
        new = StoreGrid(MessageStore(door.home.live / "flower" / "state.db"), flowers.run, lambda: {lisbon.id})
        name, got = asked(new, lisbon, 3), ""
        while (parts := lisbon.way.take(got)) and (got := _message(parts).metadata.message_id) != name:
            with pytest.raises(NobodyWaitsError):
                lisbon.way.give(lisbon.reply(parts))
        lisbon.way.give(lisbon.reply(parts, 4))
        assert answers(new, name) == [4]


# --- from a site ----------------------------------------------------------------------------------------------------


def test_a_reply_that_is_given_twice_is_stored_once(grid: StoreGrid, lisbon: Member) -> None:
    name = asked(grid, lisbon)
    reply = lisbon.reply(parts := lisbon.way.take(""), 1)
    lisbon.way.give(reply)
    lisbon.way.give(reply)
    with pytest.raises(NobodyWaitsError):
        lisbon.way.give(lisbon.reply(parts, 2))  # another, to the same question
    assert answers(grid, name) == [1]
    assert answers(grid, name) == []
    with pytest.raises(NobodyWaitsError):
        lisbon.way.give(reply)
    assert answers(grid, name) == []


@pytest.mark.parametrize("whole", [True, False], ids=["in-one-row", "in-objects"])
def test_nobody_answers_what_another_was_asked(whole: bool, door: Door, grid: StoreGrid, lisbon: Member) -> None:
    with Member(door, "Nairobi") as nairobi:
        name = asked(grid, nairobi)
        parts = nairobi.way.take("")
        theirs = Message(RecordDict({"answer": ConfigRecord({"n": 9})}), reply_to=_message(parts))

        def given(by: Member, as_node: int) -> None:
            theirs.metadata.__dict__["_src_node_id"] = as_node
            request, objects = pushing(theirs, as_node)
            if whole:
                theirs.metadata.__dict__["_message_id"] = theirs.object_id
                message = [message_to_proto(theirs)]
                request, objects = PushMessagesRequest(node=Node(node_id=as_node), messages_list=message), []
            by.way.give([request.SerializeToString(), *objects])

        with pytest.raises(LinkError, match=r"400 .*a reply of another node"):
            given(lisbon, nairobi.id)
        with suppress(NobodyWaitsError):  # under its own name it may say so, and it counts for nothing
            given(lisbon, lisbon.id)
        assert answers(grid, name) == []
        given(nairobi, nairobi.id)
        assert answers(grid, name) == [9]


def test_a_reply_after_the_run_is_over_is_gone(door: Door, lisbon: Member) -> None:
    with door.as_coordinator.run() as flowers:
        grid = StoreGrid(MessageStore(door.home.live / "flower" / "state.db"), flowers.run, lambda: {lisbon.id})
        asked(grid, lisbon)
        parts = lisbon.way.take("")
    answer = lisbon.way._client.post(
        "/v1/consilium/give",
        content=b"".join(map(frame, lisbon.reply(parts))),
        headers=signature_headers(lisbon.link, Clock()),
    )
    assert (answer.status_code, answer.json()["error"]) == (410, "over")
    with pytest.raises(NobodyWaitsError):
        lisbon.way.give(lisbon.reply(parts))


def test_more_than_fits_is_refused_and_the_rest_goes_on(grid: StoreGrid, lisbon: Member) -> None:
    name = asked(grid, lisbon)
    reply = lisbon.reply(lisbon.way.take(""), 5)
    with pytest.raises(LinkError, match=r"413 .*more than"):
        lisbon.way.give([*reply, bytes(GIVE_BYTES)])
    with pytest.raises(LinkError, match="400 "):
        lisbon.way.give([*reply, b"one part too many"])
    assert answers(grid, name) == []
    lisbon.way.give(reply)
    assert answers(grid, name) == [5]


# --- large ones, and both ways beside each other --------------------------------------------------------------------


@contextmanager
def served(
    way: Endpoint, app: ClientApp, folder: Path, config: dict[str, str], *, short: bool = True
) -> Iterator[list[MessageHandler]]:
    """A site's resident process, as a thread; `short`: whether it knows the short way."""
    stop, begun, handlers = threading.Event(), threading.Event(), list[MessageHandler]()

    def started(*arguments: Any) -> MessageHandler:
        handlers.append(MessageHandler(*arguments, uses_fast_path=short))
        begun.set()
        return handlers[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(node, "MessageHandler", started)
        work = threading.Thread(target=node.serve, args=(way, app, config, folder / "journal", lambda _: None, stop))
        work.start()
        assert begun.wait(30)
    try:
        yield handlers
    finally:
        stop.set()
        work.join(30)
        assert not work.is_alive()


@pytest.mark.parametrize("size", [3 * 2**20, 9 * 2**20], ids=["comes-in-pieces", "goes-in-pieces-too"])
def test_what_is_large_comes_by_its_head_and_in_pieces(
    size: int, grid: StoreGrid, lisbon: Member, tmp_path: Path
) -> None:
    content = os.urandom(size)
    name = asked(grid, lisbon, content)
    parts = lisbon.way.take("")
    assert sum(map(len, parts)) < TAKE_BYTES + 2**16
    lisbon.door.goodbye("Lisbon")
    with served(lisbon.link, echo(tmp_path), tmp_path, {}):
        until(lambda: lisbon.id in set(grid.get_node_ids()))
        (reply,) = until(lambda: list(grid.pull_messages([name])))
    assert reply.content["question"]["bytes"].data == content  # type: ignore[index]


def test_a_node_that_the_coordinator_does_not_know_by_its_id_comes_back_under_its_own(
    grid: StoreGrid, lisbon: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_DEFAULT_INTERVAL", heartbeat.HEARTBEAT_CALL_TIMEOUT + 0.1)
    lisbon.door.goodbye("Lisbon")
    with served(lisbon.link, echo(tmp_path), tmp_path, {}) as handlers:
        until(lambda: lisbon.id in set(grid.get_node_ids()))
        handlers[0].node = Node(node_id=lisbon.id - 1)  # as after a coordinator was set up again
        lisbon.door.goodbye("Lisbon")
        until(lambda: handlers[0].node.node_id == lisbon.id)
        until(lambda: lisbon.id in set(grid.get_node_ids()))


@pytest.mark.slow
def test_hospitals_that_go_flowers_way_and_ours_finish_a_run_together(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))
    consortium, home, names = door.consortium, door.home, ("Lisbon", "Nairobi", "Porto")
    porto = consortium.sites["Porto"] = consortium.hospital("Porto")
    before = {name: shutil.copytree(consortium.sites[name].folder, tmp_path / "before" / name) for name in names[:2]}
    settings = porto.folder / "site.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("take: Porto", "take: Osaka"), encoding="utf-8")
    tree = SVM | {"federation": SVM["federation"] | {"rounds": 3}, "plan": SVM["plan"] | {"cohort": list(names)}}
    try:
        ids = {name: door.control.register(home.requests()[name].node) for name in names}
        run = consortium.begun(plan := consortium.plan(tree=tree), *names)
        with ExitStack() as stack:
            for name in names:
                way = Endpoint(door.address, home.authority, consortium.sites[name].node_key)
                told = {"home": str(consortium.sites[name].folder)}
                stack.enter_context(served(way, site_edge.app, tmp_path / name, told, short=name != "Porto"))
            flowers = stack.enter_context(door.as_coordinator.run())
            grid = StoreGrid(
                MessageStore(home.live / "flower" / "state.db"), flowers.run, lambda: fast_nodes(home, ids)
            )
            until(lambda: len(fast_nodes(home, ids)) == 2)
            carry_out(
                run,
                FlowerTransport(grid, ids, plan.digest, on_progress=run.write_progress, signals=home.live / "bells"),
            )
            assert fast_nodes(home, ids) == {ids["Lisbon"], ids["Nairobi"]}
        assert run.state.stage == "finished", run.state.why
        assert [(told["void"], tuple(told["sites"])) for told in run.rounds()] == [(False, names)] * 3
    finally:
        membership.revoke(home, "Porto", home.root_keys())
        del consortium.sites["Porto"]
        for name, folder in before.items():  # what they have answered is not remembered by other tests' sites
            shutil.rmtree(consortium.sites[name].folder)
            shutil.copytree(folder, consortium.sites[name].folder)

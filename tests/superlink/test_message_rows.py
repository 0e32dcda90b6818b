"""Messages as rows of Flower's database: what our statements leave there is what Flower's own functions leave."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.task_identity import TaskIdentity
from sqlalchemy import text

from server.superlink.message_rows import MessageRows
from server.superlink.store import MessageStore

T = TypeVar("T")


class World:
    """A database with two nodes and two runs that go on, and what is done in it."""

    def __init__(self, path: Path) -> None:
        self.state: Any = MessageStore(path).link_state
        self.rows = MessageRows(self.state)
        self.nodes = [self.state.create_node("a", "a", key, 1e6) for key in (b"one", b"two")]
        for node in self.nodes:
            self.state.acknowledge_node_heartbeat(node, 1e6)
        self.runs = [
            self.state.create_run(None, None, None, {}, NOOP_FEDERATION_ID, None, "a", TaskType.SERVER_APP)
            for _ in range(2)
        ]
        self.tasks = [run.primary_task_id for n in self.runs for run in self.state.get_run_info(run_ids=[n])]
        for task in self.tasks:
            assert self.state.claim_task(task)
            assert self.state.activate_task(task)

    def message(self, node: int = 0, run: int = 0, ttl: float = 60.0, n: int = 1) -> Message:
        content = RecordDict({"question": ConfigRecord({"n": n})})
        message = Message(content, self.nodes[node], "query.answer", ttl=ttl)
        message.metadata.__dict__.update(_run_id=self.runs[run], _src_node_id=SUPERLINK_NODE_ID)
        message.metadata.__dict__["_message_id"] = message.object_id
        return message

    def asked(self, **how: Any) -> Message:
        message = self.message(**how)
        assert self.state.store_message_ins(message)
        return message

    def reply(self, message: Message, n: int = 1, **how: Any) -> Message:
        reply = Message(RecordDict({"answer": ConfigRecord({"n": n})}), reply_to=message)
        reply.metadata.__dict__.update(how)
        reply.metadata.__dict__["_message_id"] = reply.object_id
        return reply

    def table(self, name: str) -> list[dict[str, Any]]:
        """Its rows; of the time of a delivery, whether there is one."""
        with self.state.session() as session:
            found = session.execute(text(f"SELECT * FROM {name} ORDER BY message_id")).mappings().all()  # noqa: S608
        return [{**row, "delivered_at": bool(row["delivered_at"])} for row in found]

    def tried(self, do: Callable[[], T], name: str) -> tuple[T, list[dict[str, Any]]]:
        """What doing it gives, and the table's rows after it; it is taken back then."""
        with self.state.session() as session:
            before = session.begin_nested()
            result = do(), self.table(name)
            before.rollback()
        return result


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("rows") / "state.db")


@pytest.fixture
def world(founded: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """What a test does in it is taken back at its end."""
    for name, number in (("_task_id", 1), ("_run_id", 7), ("_node_id", 1)):
        monkeypatch.setattr(TaskIdentity, name, number)
    with founded.state.session() as session:
        session.execute(text("UPDATE run SET run_id = run_id"))  # SQLite begins with the first change
        yield founded
        session.rollback()


def over(world: World) -> None:
    """The first run ends."""
    assert world.state.finish_task(world.tasks[0], "completed", "")


def unregister(world: World) -> None:
    world.state.delete_node("a", world.nodes[0])


NOTHING: Callable[[World], None] = lambda _: None  # noqa: E731
SENDING = {"all is well": NOTHING, "the run is over": over, "the node is gone": unregister}


@pytest.mark.parametrize("happens", SENDING.values(), ids=list(SENDING))
def test_what_is_sent_stands_there_as_flower_puts_it(happens: Callable[[World], None], world: World) -> None:
    happens(world)
    messages = [world.message(node=node, run=run) for node in (0, 1) for run in (0, 1)]
    theirs = world.tried(lambda: [m for m in messages if world.state.store_message_ins(m) is None], "message_ins")
    assert world.tried(lambda: world.rows.send(messages), "message_ins") == theirs
    assert len(theirs[0]) + len(theirs[1]) == len(messages)


def test_messages_are_taken_once_each_the_oldest_first_and_none_that_has_expired(world: World) -> None:
    short = world.asked(ttl=0.05)
    for how in ({"n": 2}, {"node": 1}, {"run": 1, "n": 3}):
        world.asked(**how)
    time.sleep(max(0.0, short.metadata.created_at + 0.05 - time.time()))

    def take_theirs() -> Message | None:
        return next(iter(world.state.get_message_ins(node_id=world.nodes[0], limit=1)), None)

    def take_all(take: Callable[[], Message | None]) -> list[Any]:
        return [message and (message.metadata.message_id, message.content) for message in (take(), take(), take())]

    theirs = world.tried(lambda: take_all(take_theirs), "message_ins")
    assert world.tried(lambda: take_all(lambda: world.rows.take(world.nodes[0])), "message_ins") == theirs
    assert [message is None for message in theirs[0]] == [False, False, True]


REPLIES: dict[str, Callable[[World, Message], Message]] = {
    "all is well": lambda world, message: world.reply(message),
    "in another node's name": lambda world, message: world.reply(message, _src_node_id=world.nodes[1]),
    "of another run": lambda world, message: world.reply(message, _run_id=world.runs[1]),
    "to nothing": lambda world, message: world.reply(message, _reply_to_message_id="0" * 64),
    "lives too long": lambda world, message: world.reply(message, _ttl=1000.0),
    "has expired": lambda world, message: world.reply(message, _created_at=time.time() - 90, _ttl=1.0),
}


@pytest.mark.parametrize("reply_of", REPLIES.values(), ids=list(REPLIES))
@pytest.mark.parametrize("happens", [NOTHING, over], ids=["the run goes on", "the run is over"])
def test_a_reply_is_taken_where_flower_takes_it(
    reply_of: Callable[[World, Message], Message], happens: Callable[[World], None], world: World
) -> None:
    message = world.asked()
    happens(world)
    reply = reply_of(world, message)
    theirs = world.tried(lambda: world.state.store_message_res(reply) is not None, "message_res")
    assert world.tried(lambda: world.rows.reply(reply), "message_res") == theirs


def test_a_second_reply_is_left_to_flower(world: World) -> None:
    message = world.asked()
    assert world.rows.reply(first := world.reply(message))
    before = world.table("message_res")
    assert not world.rows.reply(first)
    assert not world.rows.reply(world.reply(message, n=2))
    assert world.table("message_res") == before


def test_replies_are_fetched_once_with_what_they_answer(world: World) -> None:
    asked = [world.asked(n=n) for n in range(4)]
    names = [message.metadata.message_id for message in asked]
    assert world.rows.fetch(names, world.runs[0]) == []
    for message in asked[:3]:
        assert world.rows.reply(world.reply(message))
    assert world.rows.fetch(names, world.runs[1]) == [], "another run's"
    (reply,) = world.rows.fetch(names[:1], world.runs[0])
    assert reply.metadata.reply_to_message_id == names[0]
    assert reply.content["answer"] == ConfigRecord({"n": 1})
    assert {m.metadata.reply_to_message_id for m in world.rows.fetch(names, world.runs[0])} == set(names[1:3])
    assert world.rows.fetch(names, world.runs[0]) == world.table("message_res") == []
    assert [row["message_id"] for row in world.table("message_ins")] == names[3:]

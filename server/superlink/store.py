"""Flower's database, through Flower's own handlers, without a web server between: an answer in 1 ms instead of 10.

The SuperLink keeps its messages in SQLite, and any process on the machine that may read the file can call the functions
that its web server calls. The gateway does so to hand a site a whole message at once, and the ServerApp to send
messages and fetch replies. All that is stored is as Flower stores it: sites that run a stock SuperNode, and Flower's
own commands, see no difference.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode, Status
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse, PushMessagesRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.linkstate import LinkState, LinkStateFactory
from flwr.supercore.error import FlowerError
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run, RunStatus
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from google.protobuf.message import DecodeError
from sqlalchemy.exc import SQLAlchemyError

from common.errors import LinkError, WireError

REMEMBERED_S = 10.0
"""A node's id is asked for again after so long."""


@dataclass(frozen=True)
class Handed:
    """A message for a node."""

    name: str
    run: int
    parts: tuple[bytes, ...]
    """A PullMessagesResponse, then objects of the content, children first."""
    inline: bool
    """The content is in the message itself: the store keeps nothing more of it."""


class OverError(Exception):
    """The run of a message is over."""


class Store:
    """The database of a running SuperLink.

    Args:
        path: the file that `--database` names.
    """

    def __init__(self, path: Path) -> None:
        objects = ObjectStoreFactory(str(path))
        self._factory = LinkStateFactory(str(path), NoOpFederationManager(), objects)
        self._nodes: dict[bytes, tuple[int | None, float]] = {}

    @property
    def state(self) -> LinkState:
        """Flower's own interface to it."""
        return self._factory.state()

    def node(self, public_key: bytes) -> int | None:
        """The id of the node with this key (PEM); None if it is not registered."""
        known, until_s = self._nodes.get(public_key, (None, 0.0))
        if known is None or time.monotonic() > until_s:
            with _plainly():
                known = self.state.get_node_id_by_public_key(public_key)
            self._nodes[public_key] = known, time.monotonic() + REMEMBERED_S
        return known

    def take(self, node: int, most_bytes: int) -> Handed | None:
        """The next message for a node, as the SuperLink would hand it out, with as much of its content as has room."""
        with _plainly():
            return self._take(node, most_bytes)

    def _take(self, node: int, most_bytes: int) -> Handed | None:
        state = self.state
        messages = state.get_message_ins(node_id=node, limit=1)
        if not messages:
            return None
        message, run = messages[0], messages[0].metadata.run_id
        found = PullMessagesResponse(messages_list=[message_to_proto(message)])
        if _is_inline(message):
            return Handed(message.metadata.message_id, run, (found.SerializeToString(),), True)
        tree, contents, size = state.object_store.get_object_tree(message.metadata.message_id), [], 0
        for name in content_of(tree):
            content = state.get_object(run, name)
            size += len(content or b"")
            if not content or size > most_bytes:  # not there yet, or too much at once: it can be fetched by itself
                break
            contents.append(content)
        found.message_object_trees.append(tree)
        return Handed(message.metadata.message_id, run, (found.SerializeToString(), *contents), False)

    def give(self, node: int, parts: Sequence[bytes]) -> None:
        """A node's reply with all its objects.

        Args:
            parts: a PushMessagesRequest, then the objects, children first.

        Raises:
            WireError: if that is no reply, or not this node's.
            OverError: if its run is over.
        """
        with _plainly():
            self._give(node, parts)

    def _give(self, node: int, parts: Sequence[bytes]) -> None:
        try:
            request = PushMessagesRequest.FromString(parts[0])
            message = message_from_proto(request.messages_list[0])
            trees = list(request.message_object_trees)
            names = content_of(trees[0], whole=True) if trees else []
        except (DecodeError, IndexError, ValueError):
            raise WireError("not a reply of a node.") from None
        if request.node.node_id != node or message.metadata.src_node_id != node:
            raise WireError("a reply of another node.")
        if len(request.messages_list) != 1 or len(trees) > 1 or len(names) != len(parts) - 1:
            raise WireError("not one reply with all its parts.")
        state, run = self.state, message.metadata.run_id
        if not trees:
            if state.store_message_res(message) is None:
                raise OverError("its run is over, or its question is.")
            return
        if state.get_run_status({run}).get(run, _NO_RUN).status != Status.RUNNING:
            raise OverError("its run is not going on.")
        # As Flower's handlers do it, but for looking at the run's status and counting bytes at every object.
        session, contents = state.start_session(run), dict(zip(names, parts[1:], strict=True))
        _, wanted = state.store_message_and_object_tree(message, trees[0], session)
        for name in wanted:
            if not state.store_object(run, session, name, contents[name]):
                raise LinkError("a part of the reply was not stored. Send it again.")

    def confirm(self, node: int, handed: Handed) -> None:
        """A node has its message: what the store keeps of it can go.

        Raises:
            OverError: if its run is over, with which all of it goes.
        """
        if handed.inline:
            return
        state = self.state
        asked = ConfirmMessageReceivedRequest(
            node=Node(node_id=node), run_id=handed.run, message_object_id=handed.name
        )  # fmt: skip
        with _plainly():
            fleet_handlers.confirm_message_received(asked, state, state.object_store)


@contextmanager
def _plainly() -> Iterator[None]:
    """Flower's errors as ours.

    Raises:
        OverError: the run is over.
        LinkError: the database is busy or away for a moment.
    """
    try:
        yield
    except FlowerError as error:
        raise OverError(error.message) from None
    except SQLAlchemyError as error:
        raise LinkError(f"the coordinator's database is busy ({type(error).__name__}). Try again.") from None


def content_of(tree: ObjectTree, *, whole: bool = False) -> list[str]:
    """The objects of a message's content, children first, each once; `whole`: with its head, which comes last."""
    names = list(dict.fromkeys(node.object_id for node in iterate_object_tree(tree)))
    return names if whole else names[:-1]


class StoreGrid(HttpGrid):
    """Flower's grid of a run, over the database itself.

    Small messages to nodes that take theirs from our gateway lie in the database as one row each; all others, and all
    to nodes that Flower's SuperLink serves, as Flower's tree of objects.

    Args:
        short: the nodes that take their messages from our gateway, at the moment.
    """

    def __init__(self, store: Store, run: Run, short: Callable[[], Set[int]]) -> None:
        super().__init__(token="none: nothing is asked over HTTP")  # noqa: S106
        self._store, self._short = store, short
        self._client = cast(Any, _Runtime(store, run.run_id))
        self.set_run(run)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """As Flower's; the ids come in the order of the messages."""
        short, messages = self._short(), list(messages)
        rows = [m for m in messages if m.metadata.dst_node_id in short and _is_small(m)]
        trees = [m for m in messages if m not in rows]
        if trees:
            super().push_messages(trees)
        with _plainly(), self._store.state.session():  # type: ignore[attr-defined]  # SQL alone has one
            for message in rows:
                message.metadata.__dict__["_message_id"] = message.object_id
                self._store.state.store_message_ins(message)
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As Flower's."""
        state = self._store.state
        with _plainly():
            found = state.get_message_res(message_ids=set(message_ids), run_id=self.run.run_id)
            if not found:
                return []
            state.delete_messages(message_ins_ids={m.metadata.reply_to_message_id for m in found})
            return [m if m.has_error() or _is_inline(m) else self._whole(m) for m in found]

    def _whole(self, message: Message) -> Message:
        """A reply with its content, of which the last pieces may still be coming in."""
        state, run, name = self._store.state, self.run.run_id, message.metadata.message_id
        # With its head, though that has come already: until all of it is stored, the node is still pushing.
        names = content_of(state.object_store.get_object_tree(name), whole=True)

        def piece(wanted: str) -> bytes:
            content = state.get_object(run, wanted)
            if content is None:
                raise ObjectPullError(wanted, "the object could not be found.")
            if not content:
                raise ObjectUnavailableError(wanted)
            return content

        try:
            contents = pull_objects(names, piece, initial_backoff=0.01, backoff_cap=0.2)
        except ObjectPullError as error:
            why = Error(ErrorCode.MESSAGE_UNAVAILABLE, f"its content did not come ({error}).")
            return make_message(metadata=message.metadata, error=why)
        message.content = cast(RecordDict, inflate_object_from_contents(names[-2], contents))
        state.object_store.delete(name)
        return message


class _Runtime:
    """Flower's RuntimeHttpClient, as far as its grid uses it, without HTTP."""

    def __init__(self, store: Store, run: int) -> None:
        self._store, self._task = store, Task(run_id=run)

    def __getattr__(self, name: str) -> Any:
        handler = _RUNTIME[name]
        return lambda request: handler(request, self._store.state, self._task)

    def close(self) -> None:
        """Nothing is open."""


_RUNTIME: Mapping[str, Any] = {
    "GetNodes": runtime_handlers.get_nodes,
    "PushMessages": runtime_handlers.push_messages,
    "PushObject": runtime_handlers.push_object,
}
_NO_RUN = RunStatus("", "", "")


def _is_inline(message: Message) -> bool:
    return bool(message.has_content() and len(message.content))


def _is_small(message: Message) -> bool:
    """Without arrays, which alone are large."""
    return all(isinstance(record, ConfigRecord) for record in message.content.values())

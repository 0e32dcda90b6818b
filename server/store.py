"""Flower's database, through Flower's own handlers, without a web server between: an answer in 1 ms instead of 10.

The SuperLink keeps its messages in SQLite, and any process on the machine that may read the file can call the functions
that its web server calls. The gateway does so to hand a site a whole message at once, and the ServerApp to send
messages and fetch replies. All that is stored is as Flower stores it: sites that run a stock SuperNode, and Flower's
own commands, see no difference.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.common.constant import Status
from flwr.common.serde import message_from_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.linkstate import LinkState, LinkStateFactory
from flwr.supercore.error import FlowerError
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from google.protobuf.message import DecodeError
from sqlalchemy.exc import SQLAlchemyError

from common.errors import LinkError, WireError


@dataclass(frozen=True)
class Handed:
    """A message for a node."""

    name: str
    run: int
    parts: tuple[bytes, ...]
    """A PullMessagesResponse, then objects of the content, children first."""


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

    @property
    def state(self) -> LinkState:
        """Flower's own interface to it."""
        return self._factory.state()

    def node(self, public_key: bytes) -> int | None:
        """The id of the node with this key (PEM); None if it is not registered."""
        return self.state.get_node_id_by_public_key(public_key)

    def take(self, node: int, most_bytes: int) -> Handed | None:
        """The next message for a node, as the SuperLink would hand it out, with as much of its content as has room."""
        with _plainly():
            return self._take(node, most_bytes)

    def _take(self, node: int, most_bytes: int) -> Handed | None:
        state, asked = self.state, PullMessagesRequest(node=Node(node_id=node))
        found: PullMessagesResponse = fleet_handlers.pull_messages(asked, state, state.object_store)
        if not found.messages_list:
            return None
        metadata, parts, size = found.messages_list[0].metadata, [found.SerializeToString()], 0
        for name in content_of(found.message_object_trees[0]):
            content = state.get_object(metadata.run_id, name)
            size += len(content or b"")
            if not content or size > most_bytes:  # not there yet, or too much at once: it can be fetched by itself
                break
            parts.append(content)
        return Handed(metadata.message_id, metadata.run_id, tuple(parts))

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
            names = content_of(request.message_object_trees[0], whole=True)
        except (DecodeError, IndexError):
            raise WireError("not a reply of a node.") from None
        if request.node.node_id != node or any(m.metadata.src_node_id != node for m in request.messages_list):
            raise WireError("a reply of another node.")
        if len(request.messages_list) != 1 or len(names) != len(parts) - 1:
            raise WireError("not one reply with all its parts.")
        state, message = self.state, message_from_proto(request.messages_list[0])
        if state.get_run_status({message.metadata.run_id})[message.metadata.run_id].status != Status.RUNNING:
            raise OverError("its run is not going on.")
        # As Flower's handlers do it, but for looking at the run's status and counting bytes at every object.
        session, contents = state.start_session(message.metadata.run_id), dict(zip(names, parts[1:], strict=True))
        _, wanted = state.store_message_and_object_tree(message, request.message_object_trees[0], session)
        for name in wanted:
            if not state.store_object(message.metadata.run_id, session, name, contents[name]):
                raise LinkError("a part of the reply was not stored. Send it again.")

    def confirm(self, node: int, handed: Handed) -> None:
        """A node has its message: what the store keeps of it can go.

        Raises:
            OverError: if its run is over, with which all of it goes.
        """
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


class _Runtime:
    """Flower's RuntimeHttpClient, as far as a grid uses it, without HTTP."""

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
    "PullMessages": runtime_handlers.pull_messages,
    "PushObject": runtime_handlers.push_object,
    "PullObject": runtime_handlers.pull_object,
    "ConfirmMessageReceived": runtime_handlers.confirm_message_received,
}


def grid(store: Store, run: Run) -> HttpGrid:
    """Flower's grid of a run, over the database itself."""
    made = HttpGrid(token="none: nothing is asked over HTTP")  # noqa: S106
    made._client = cast(Any, _Runtime(store, run.run_id))
    made.set_run(run)
    return made

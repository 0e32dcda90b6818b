"""Flower's database, through Flower's own handlers, without a web server between: an answer in 1 ms instead of 10.

The SuperLink keeps its messages in SQLite, and any process on the machine that may read the file can call the functions
that its web server calls. The gateway does so to hand a site a whole message at once (here), and the ServerApp to send
messages and fetch replies (server/superlink/store_grid.py). All that is stored is as Flower stores it: sites that run a
stock SuperNode, and Flower's own commands, see no difference.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import Message
from flwr.common.constant import Status
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse, PushMessagesRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.server.superlink.linkstate import LinkState, LinkStateFactory
from flwr.supercore.error import FlowerError
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import RunStatus
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.servicer.fleet import fleet_handlers
from google.protobuf.message import DecodeError
from sqlalchemy.exc import SQLAlchemyError

from common.errors import LinkError, WireError
from server.superlink.message_rows import MessageRows
from server.superlink.migrations import allow_any_path

NODE_CACHE_S = 10.0
"""A node's id is asked for again after so long."""
_NO_RUN = RunStatus("", "", "")


@dataclass(frozen=True)
class OutgoingMessage:
    """A message for a node."""

    name: str
    run: int
    parts: tuple[bytes, ...]
    """A PullMessagesResponse, then objects of the content, children first."""
    is_inline: bool
    """The content is in the message itself: the store keeps nothing more of it."""


class RunOverError(Exception):
    """The run of a message is over."""


class MessageStore:
    """The database of a running SuperLink.

    Args:
        path: the file that `--database` names.
    """

    def __init__(self, path: Path) -> None:
        allow_any_path()
        objects = ObjectStoreFactory(str(path))
        self._factory = LinkStateFactory(str(path), NoOpFederationManager(), objects)
        self._nodes: dict[bytes, tuple[int | None, float]] = {}

    @property
    def link_state(self) -> LinkState:
        """Flower's own interface to it."""
        return self._factory.state()

    @property
    def rows(self) -> MessageRows:
        """The messages in it."""
        return MessageRows(self.link_state)

    def remembered_node_id(self, public_key: bytes) -> int | None:
        """The id of the node with this key (PEM), without a look into the database; None if that is needed."""
        number, until_s = self._nodes.get(public_key, (None, 0.0))
        return number if time.monotonic() <= until_s else None

    def node_id(self, public_key: bytes) -> int | None:
        """The id of the node with this key (PEM); None if it is not registered."""
        with translated_errors():
            number = self.link_state.get_node_id_by_public_key(public_key)
        self._nodes[public_key] = number, time.monotonic() + NODE_CACHE_S
        return number

    def next_message(self, node: int, most_bytes: int) -> OutgoingMessage | None:
        """The next message for a node, as the SuperLink would hand it out, with as much of its content as has room."""
        with translated_errors():
            return self._next_message(node, most_bytes)

    def _next_message(self, node: int, most_bytes: int) -> OutgoingMessage | None:
        state = self.link_state
        if (message := self.rows.take(node)) is None:
            return None
        run = message.metadata.run_id
        response = PullMessagesResponse(messages_list=[message_to_proto(message)])
        if is_inline(message):
            return OutgoingMessage(message.metadata.message_id, run, (response.SerializeToString(),), True)
        tree = state.object_store.get_object_tree(message.metadata.message_id)
        contents: list[bytes] = []
        size = 0
        for name in object_names(tree):
            content = state.get_object(run, name)
            size += len(content or b"")
            if not content or size > most_bytes:  # not there yet, or too much at once: it can be fetched by itself
                break
            contents.append(content)
        response.message_object_trees.append(tree)
        return OutgoingMessage(message.metadata.message_id, run, (response.SerializeToString(), *contents), False)

    def store_reply(self, node: int, parts: Sequence[bytes]) -> int:
        """A node's reply with all its objects; the Flower run that it is for.

        Args:
            parts: a PushMessagesRequest, then the objects, children first.

        Raises:
            WireError: if that is no reply, or not this node's.
            RunOverError: if its run is over.
        """
        with translated_errors():
            return self._store_reply(node, parts)

    def _store_reply(self, node: int, parts: Sequence[bytes]) -> int:
        try:
            request = PushMessagesRequest.FromString(parts[0])
            message = message_from_proto(request.messages_list[0])
            trees = list(request.message_object_trees)
            names = object_names(trees[0], whole=True) if trees else []
        except (DecodeError, IndexError, ValueError):
            raise WireError("not a reply of a node.") from None
        if request.node.node_id != node or message.metadata.src_node_id != node:
            raise WireError("a reply of another node.")
        if len(request.messages_list) != 1 or len(trees) > 1 or len(names) != len(parts) - 1:
            raise WireError("not one reply with all its parts.")
        state, run = self.link_state, message.metadata.run_id
        if not trees:
            if not self.rows.reply(message) and state.store_message_res(message) is None:
                raise RunOverError("its run is over, or its question is.")
            return run
        if state.get_run_status({run}).get(run, _NO_RUN).status != Status.RUNNING:
            raise RunOverError("its run is not going on.")
        # As Flower's handlers do it, but for looking at the run's status and counting bytes at every object.
        session, contents = state.start_session(run), dict(zip(names, parts[1:], strict=True))
        _, missing_names = state.store_message_and_object_tree(message, trees[0], session)
        for name in missing_names:
            if not state.store_object(run, session, name, contents[name]):
                raise LinkError("a part of the reply was not stored. Send it again.")
        return run

    def confirm(self, node: int, outgoing: OutgoingMessage) -> None:
        """A node has its message: what the store keeps of it can go.

        Raises:
            RunOverError: if its run is over, with which all of it goes.
        """
        if outgoing.is_inline:
            return
        state = self.link_state
        request = ConfirmMessageReceivedRequest(
            node=Node(node_id=node), run_id=outgoing.run, message_object_id=outgoing.name
        )  # fmt: skip
        with translated_errors():
            fleet_handlers.confirm_message_received(request, state, state.object_store)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Let Flower's errors be ours in this block.

    Raises:
        RunOverError: the run is over.
        LinkError: the database is busy or away for a moment.
    """
    try:
        yield
    except FlowerError as error:
        raise RunOverError(error.message) from None
    except SQLAlchemyError as error:
        raise LinkError(f"the coordinator's database is busy ({type(error).__name__}). Try again.") from None


def object_names(tree: ObjectTree, *, whole: bool = False) -> list[str]:
    """The objects of a message's content, children first, each once; `whole`: with its head, which comes last."""
    names = list(dict.fromkeys(node.object_id for node in iterate_object_tree(tree)))
    return names if whole else names[:-1]


def is_inline(message: Message) -> bool:
    """Whether a message has its content in itself, and not in objects beside it."""
    return bool(message.has_content() and len(message.content))

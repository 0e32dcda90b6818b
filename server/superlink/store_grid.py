"""Flower's grid of a run over Flower's database itself: how the ServerApp sends messages and fetches replies.

Flower's own grid asks the SuperLink's web server for each piece of each message; this one calls the functions behind
it (server/superlink/store.py).
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Any, cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.proto.task_pb2 import Task
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.supercore.run import Run
from flwr.superlink.grid import http_grid
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.superlink.servicer.runtime import runtime_handlers

from server.superlink.store import MessageStore, is_inline, object_names, translated_errors

# A reply is announced before its content has arrived. Flower's grid would look for the content again after a second.
http_grid.pull_objects = partial(pull_objects, initial_backoff=0.02, backoff_cap=0.5)  # type: ignore[attr-defined]

THOROUGH_S = 0.5
"""How often Flower looks for what no signal says: messages that expired, nodes that went away."""


class StoreGrid(HttpGrid):
    """Flower's grid of a run, over the database itself.

    Small messages to nodes that take theirs from our gateway lie in the database as one row each; all others, and all
    to nodes that Flower's SuperLink serves, as Flower's tree of objects.

    Args:
        fast_nodes: the nodes that take their messages from our gateway, at the moment.
    """

    def __init__(self, store: MessageStore, run: Run, fast_nodes: Callable[[], Set[int]]) -> None:
        super().__init__(token="none: nothing is asked over HTTP")  # noqa: S106
        self._store = store
        self._fast_nodes = fast_nodes
        self._client = cast(Any, _Runtime(store, run.run_id))
        self._pushed_s = 0.0
        self._looked_s: dict[str, float] = {}
        """When Flower looked at messages, by the first of those that were asked for together."""
        self.set_run(run)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages, as Flower's grid does; the ids come in the order of the messages."""
        fast_nodes, messages = self._fast_nodes(), list(messages)
        rows = [m for m in messages if m.metadata.dst_node_id in fast_nodes and _is_small(m)]
        trees = [m for m in messages if m not in rows]
        if trees:
            super().push_messages(trees)
        self._pushed_s, self._looked_s = time.monotonic(), {}
        for message in rows:
            message.metadata.__dict__["_message_id"] = message.object_id
        with translated_errors():
            for message in self._store.rows.send(rows):
                self._store.link_state.store_message_ins(message)
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have come, as Flower's grid hands them over."""
        names = sorted(message_ids)
        with translated_errors():
            replies = self._store.rows.fetch(names, self.run.run_id)
            if not replies and self._is_due(names):
                replies = self._thorough_look(names)
            return [m if m.has_error() or is_inline(m) else self._whole(m) for m in replies]

    def _is_due(self, names: Sequence[str]) -> bool:
        """Whether it is time for Flower's own look at these messages."""
        now_s = time.monotonic()
        if not names or now_s < self._looked_s.get(names[0], self._pushed_s) + THOROUGH_S:
            return False
        self._looked_s[names[0]] = now_s
        return True

    def _thorough_look(self, names: Sequence[str]) -> list[Message]:
        """As Flower looks: beside replies it finds messages that expired, and nodes that went away."""
        state = self._store.link_state
        if replies := state.get_message_res(message_ids=set(names), run_id=self.run.run_id):
            state.delete_messages(message_ins_ids={m.metadata.reply_to_message_id for m in replies})
        return replies

    def _whole(self, message: Message) -> Message:
        """A reply with its content, of which the last pieces may still be coming in."""
        state, run = self._store.link_state, self.run.run_id
        name = message.metadata.message_id
        # With its head, though that has come already: until all of it is stored, the node is still pushing.
        names = object_names(state.object_store.get_object_tree(name), whole=True)

        def read_object(object_id: str) -> bytes:
            content = state.get_object(run, object_id)
            if content is None:
                raise ObjectPullError(object_id, "the object could not be found.")
            if not content:
                raise ObjectUnavailableError(object_id)
            return content

        try:
            contents = pull_objects(names, read_object, initial_backoff=0.01, backoff_cap=0.2)
        except ObjectPullError as error:
            why = Error(ErrorCode.MESSAGE_UNAVAILABLE, f"its content did not come ({error}).")
            return make_message(metadata=message.metadata, error=why)
        message.content = cast(RecordDict, inflate_object_from_contents(names[-2], contents))
        state.object_store.delete(name)
        return message


class _Runtime:
    """Flower's RuntimeHttpClient, as far as its grid uses it, without HTTP."""

    def __init__(self, store: MessageStore, run: int) -> None:
        self._store = store
        self._task = Task(run_id=run)

    def __getattr__(self, name: str) -> Any:
        handler = _RUNTIME[name]
        return lambda request: handler(request, self._store.link_state, self._task)

    def close(self) -> None:
        """Do nothing: no connection is open."""


_RUNTIME: Mapping[str, Any] = {
    "GetNodes": runtime_handlers.get_nodes,
    "PushMessages": runtime_handlers.push_messages,
    "PushObject": runtime_handlers.push_object,
}


def _is_small(message: Message) -> bool:
    """Whether a message has no arrays, which alone are large."""
    return all(isinstance(record, ConfigRecord) for record in message.content.values())

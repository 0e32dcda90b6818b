"""Messages as rows of Flower's database, each step by one statement where Flower's own functions take five to eight.

A small message lies whole in one row of `message_ins`, its reply in one of `message_res`; of larger ones the row is the
head. Only what always happens is done here. Where a statement finds nothing to do, because a run is over, a node is
gone or a reply came before, the caller asks Flower's own function, which knows all that can be wrong and says what.

The conditions are those of `flwr.server.superlink.linkstate.SqlLinkState` (flwr 1.42), whose database may be used by
stock SuperNodes at the same time.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import Message
from flwr.common.constant import MESSAGE_TTL_TOLERANCE
from flwr.server.superlink.linkstate import LinkState
from flwr.server.superlink.linkstate.utils import (
    convert_sint64_values_in_dict_to_uint64,
    convert_uint64_values_in_dict_to_sint64,
    dict_to_message,
    message_to_dict,
)
from flwr.server.utils.validator import validate_message
from flwr.supercore.date import now
from flwr.supercore.utils import uint64_to_int64
from sqlalchemy import text

_NUMBERS = ["run_id", "src_node_id", "dst_node_id"]
_COLUMNS = (
    "message_id", "group_id", "run_id", "src_node_id", "dst_node_id", "reply_to_message_id", "created_at",
    "delivered_at", "ttl", "message_type", "content", "error",
)  # fmt: skip
# Names of columns alone are put together here: every value is bound when a statement is executed.
_INSERTED = f"({', '.join(_COLUMNS)}) SELECT {', '.join(f':{column}' for column in _COLUMNS)}"
_IS_GOING_ON = (
    "EXISTS (SELECT 1 FROM run JOIN task ON task.task_id = run.primary_task_id "
    "WHERE run.run_id = :run_id AND task.finished_at IS NULL)"
)
_SEND = text(
    f"INSERT INTO message_ins {_INSERTED} WHERE {_IS_GOING_ON} AND EXISTS "  # noqa: S608
    "(SELECT 1 FROM node WHERE node_id = :dst_node_id AND status IN ('online', 'offline')) "
    "ON CONFLICT DO NOTHING RETURNING message_id"
)
_TAKE = text(
    "UPDATE message_ins SET delivered_at = :now WHERE delivered_at = '' AND message_id = (SELECT message_id FROM "
    "message_ins WHERE dst_node_id = :node AND delivered_at = '' AND created_at + ttl > :now_s "
    "ORDER BY created_at, message_id LIMIT 1) RETURNING *"
)
_REPLY = text(
    f"INSERT INTO message_res {_INSERTED} WHERE {_IS_GOING_ON} AND EXISTS (SELECT 1 FROM message_ins "  # noqa: S608
    "WHERE message_id = :reply_to_message_id AND run_id = :run_id AND dst_node_id = :src_node_id "
    "AND created_at + ttl > :now_s AND :created_at + :ttl - created_at - ttl <= :tolerance_s) "
    "ON CONFLICT DO NOTHING RETURNING message_id"
)
_FETCH = text(
    "DELETE FROM message_res WHERE run_id = :run AND reply_to_message_id IN (SELECT value FROM json_each(:names)) "
    "AND delivered_at = '' AND created_at + ttl > :now_s RETURNING *"
)
_FORGET = text("DELETE FROM message_ins WHERE message_id IN (SELECT value FROM json_each(:names))")


@dataclass(frozen=True)
class MessageRows:
    """The rows of one database.

    Raises:
        SQLAlchemyError: every method; the database is busy or away for a moment.
    """

    state: LinkState

    def send(self, messages: Iterable[Message]) -> list[Message]:
        """Store messages to nodes; those that were not."""
        with self._session() as session:
            return [m for m in messages if not (_is_valid(m, False) and session.execute(_SEND, _row(m)).first())]

    def take(self, node: int) -> Message | None:
        """The next message for a node, which is taken to be delivered from now on."""
        moment = now()
        values = {"node": uint64_to_int64(node), "now": moment.isoformat(), "now_s": moment.timestamp()}
        with self._session() as session:
            row = session.execute(_TAKE, values).mappings().first()
        return _message(row) if row else None

    def reply(self, message: Message) -> bool:
        """Store a node's reply; whether it was, and is the first to its message."""
        if not _is_valid(message, True):
            return False
        values = _row(message) | {"now_s": now().timestamp(), "tolerance_s": MESSAGE_TTL_TOLERANCE}
        with self._session() as session:
            return session.execute(_REPLY, values).first() is not None

    def fetch(self, names: Iterable[str], run: int) -> list[Message]:
        """Replies that have come to messages of these names; both are removed."""
        values = {"names": json.dumps(list(names)), "run": uint64_to_int64(run), "now_s": now().timestamp()}
        with self._session() as session:
            rows = session.execute(_FETCH, values).mappings().all()
            if rows:
                session.execute(_FORGET, {"names": json.dumps([row["reply_to_message_id"] for row in rows])})
        return [_message(row) for row in rows]

    def _session(self) -> Any:
        return self.state.session()  # type: ignore[attr-defined]  # SQL alone has one


def _is_valid(message: Message, is_reply: bool) -> bool:
    return not validate_message(message=message, is_reply_message=is_reply)


def _row(message: Message) -> dict[str, Any]:
    row = message_to_dict(message)
    convert_uint64_values_in_dict_to_sint64(row, _NUMBERS)
    return row


def _message(row: Mapping[str, Any]) -> Message:
    columns = dict(row)
    convert_sint64_values_in_dict_to_uint64(columns, _NUMBERS)
    return dict_to_message(columns)

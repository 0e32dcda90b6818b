"""One message at a site: fetched, answered by the installed ClientApp, the reply sent. The process may die at any time.

The life of a message, and what a kill after each step costs:

    1 fetch    the coordinator hands the message out, once: Flower's SuperLink marks it as delivered then.
               By the short way, it hands it out again until it is named as written down: nothing is lost.
               By Flower's own, a kill between 1 and 2 loses the message; the round goes on without this site.
    2 take     ID.message is written, before its content has come. From here on the message is this site's.
    3 content  what is missing is pulled, and ID.message written again, whole. A kill: it is pulled again.
    4 answer   the app computes, and records in its own state that it has answered (secure aggregation does so before
               the answer leaves it). A kill before that record: the message is answered again, nothing had been said.
               A kill between that record and 5: the reply is lost. The app is asked again, and refuses.
    5 reply    ID.reply is written, before anything is sent. A kill: the same bytes are sent again.
    6 send     the reply is handed in until the coordinator has it, or the message has expired.
    7 remove   both files go. A kill between 6 and 7: the reply is handed in once more, byte by byte the same, and the
               coordinator, which knows it by its hash, keeps one.

So no answer is ever computed twice from two states and sent: a site under secure aggregation that answered one round
with two different vectors would tell their difference. Losing a reply is the lesser harm: the site is a dropout.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import is_valid_sha256_hash
from flwr.supernode.fleet_http_client import FleetHttpClient
from google.protobuf.message import DecodeError

from client.connection import content_transfer
from client.connection.fast_path import MOST_BYTES, FastPath, UnknownWayError
from client.connection.fleet_client import NobodyWaitsError, ask
from client.connection.message_journal import GOT, MESSAGE, REPLY, Journal
from client.connection.message_parts import (
    announced_parts,
    content_ids,
    expiry_s,
    inline_parts,
    is_inline,
    is_small,
    object_ids,
    with_content,
)
from client.connection.retry import RetryLoop
from common.errors import WireError

log = logging.getLogger("consilium")
FAILED = ErrorCode.CLIENT_APP_RAISED_EXCEPTION


@dataclass
class MessageHandler:
    """Takes one message after the other through its life, as the module describes it.

    Args:
        on_hang: called in another thread when an answer is not there by the time that its message expires.
        fast_path: the short way to the coordinator's gateway.
    """

    retry: RetryLoop
    client: FleetHttpClient
    journal: Journal
    app: ClientApp
    node_config: Mapping[str, str | int | float | bool]
    on_hang: Callable[[], None]
    fast_path: FastPath
    node: Node = field(default_factory=Node)
    _context: Context | None = None
    """Of the last run."""
    _unconfirmed: list[ConfirmMessageReceivedRequest] = field(default_factory=list)
    uses_fast_path: bool = True
    """Whether the coordinator knows the short way."""

    def fetch(self) -> list[bytes]:
        """The next message: a PullMessagesResponse and what came with it of its content; nothing if there is none."""
        if self.uses_fast_path:
            try:
                return self.retry.until_done(lambda: self.fast_path.take(self._last_written()))
            except UnknownWayError:
                self.uses_fast_path = False
        request = PullMessagesRequest(node=self.node)
        pulled = self.retry.until_done(lambda: ask(self.retry.endpoint, self.client.PullMessages, request))
        return [pulled.SerializeToString()] if pulled.messages_list else []

    def _last_written(self) -> str:
        """The message that was written down last: the coordinator hands out any other again."""
        try:
            return self.journal.read(GOT)[0].decode() if self.journal.has(GOT) else ""
        except (WireError, UnicodeDecodeError):
            return ""

    def take(self, parts: list[bytes]) -> None:
        """Take a message that was fetched, and bring it to its end: steps 2 to 7."""
        try:
            pulled = PullMessagesResponse.FromString(parts[0])
            name = pulled.messages_list[0].metadata.message_id
        except (DecodeError, IndexError):
            name = ""
        if not is_valid_sha256_hash(name):
            log.warning("a message without a proper id is dropped")
            return
        # The coordinator takes it to be delivered, and never sends it again: it is written down at once, though its
        # content has still to come.
        self.retry.until_done(lambda: self.journal.write(name + MESSAGE, parts), expiry_s(pulled))
        if self.uses_fast_path:
            # Only now may the gateway forget it: the next `fetch` names this id.
            self.retry.until_done(lambda: self.journal.write(GOT, [name.encode()]))
        self.finish(name)

    def finish(self, name: str) -> None:
        """Answer a message that is in the journal, if that was not done yet, and send the reply: steps 3 to 7.

        After a kill the process begins here, with all that the journal holds. Where there is a reply, the app is not
        asked again.
        """
        try:
            if not self.journal.has(name + REPLY):
                self._answer(name)
            self._send(name)
        except (NobodyWaitsError, WireError, DecodeError) as error:
            log.warning("message %s is dropped: %s", name[:8], error)
        self.journal.remove(name + MESSAGE, name + REPLY)

    def confirm(self) -> None:
        """Let the coordinator free what it holds of messages that are done with.

        Flower's SuperNode says so before it answers. But a request costs the coordinator some 10 ms, for all sites one
        after the other, so it is kept for when nobody waits.
        """
        while self._unconfirmed:
            with suppress(NobodyWaitsError):  # with its run, all of it is freed
                oldest = self._unconfirmed[0]
                self.retry.until_done(partial(ask, self.retry.endpoint, self.client.ConfirmMessageReceived, oldest))
            del self._unconfirmed[0]

    # --- fetching ---------------------------------------------------------------------------------------------------

    def _with_content(self, name: str) -> tuple[PullMessagesResponse, dict[str, bytes]]:
        """A message with its content, out of the journal; what is not there yet is fetched first."""
        head, *parts = self.journal.read(name + MESSAGE)
        pulled = PullMessagesResponse.FromString(head)
        ids, until_s = content_ids(pulled), expiry_s(pulled)
        if not self.retry.clock.now() <= until_s:  # nor is a time that is no number still to come
            raise NobodyWaitsError("it has expired")
        contents = dict(zip(ids, parts, strict=False))
        if len(contents) < len(ids):
            run_id = pulled.messages_list[0].metadata.run_id
            pull = partial(content_transfer.pull, self.retry, self.client, self.node, run_id, ids, contents, until_s)
            self.retry.until_done(pull, until_s)
            complete = [head, *(contents[object_id] for object_id in ids)]
            self.retry.until_done(lambda: self.journal.write(name + MESSAGE, complete), until_s)
        return pulled, contents

    # --- answering --------------------------------------------------------------------------------------------------

    def _answer(self, name: str) -> None:
        """Have the message answered, and the reply written down."""
        pulled, contents = self._with_content(name)
        until_s = expiry_s(pulled)
        self.retry.report("working")
        remaining_s = until_s - self.retry.clock.now()
        watch = threading.Timer(min(remaining_s, threading.TIMEOUT_MAX), self._note_hang, [name])
        watch.daemon = True
        began = time.monotonic()
        watch.start()
        try:
            reply = self._reply(pulled, contents)
        finally:
            watch.cancel()
        runtime_s = time.monotonic() - began
        reply.metadata.created_at = self.retry.clock.now()
        reply.metadata.ttl = until_s - reply.metadata.created_at
        if reply.metadata.ttl <= 0:
            raise NobodyWaitsError("it was answered after it had expired")

        def parts() -> Iterator[bytes]:
            if is_inline(pulled) and is_small(reply):
                return inline_parts(reply, self.node)
            return announced_parts(reply, self.node, runtime_s)

        # Between step 4 and step 5. A process that is killed here has lost the reply, but the app has recorded that it
        # gave one. It is asked the same again, and refuses: in that step the site is a dropout, and nothing is ever
        # sent twice.
        self.retry.until_done(lambda: self.journal.write(name + REPLY, parts()), until_s)

    def _reply(self, pulled: PullMessagesResponse, contents: dict[str, bytes]) -> Message:
        """The app's answer; if the app fails, which it should not, an error for the coordinator.

        Raises:
            WireError: it is no message that could be answered; kept, it would come up again after every start.
        """
        metadata = pulled.messages_list[0].metadata
        if self._context is None or self._context.run_id != metadata.run_id:
            self._context = Context(metadata.run_id, self.node.node_id, dict(self.node_config), RecordDict(), {})
        try:
            message = with_content(pulled, contents)
            Message(Error(FAILED), reply_to=message)  # one that no answer fits is none
        except Exception as error:  # whatever Flower raises of what a coordinator made up
            raise WireError(f"it is no message of this release's coordinator ({type(error).__name__})") from None
        try:
            return self.app(message, self._context)
        except Exception as error:
            log.exception("message %s: the app failed", metadata.message_id[:8])
            # The text of an unforeseen error could be about a patient's file: it stays here.
            why = f"{type(error).__name__} at the site; the log there says more."
            return Message(Error(FAILED, why), reply_to=message)

    def _note_hang(self, name: str) -> None:
        log.error("message %s: no answer by the time that it expired; the process starts again", name[:8])
        try:
            self.journal.remove(name + MESSAGE)  # not taken up again
        finally:
            self.on_hang()

    # --- sending ----------------------------------------------------------------------------------------------------

    def _send(self, name: str) -> None:
        head, *parts = self.journal.read(name + REPLY)
        request = PushMessagesRequest.FromString(head)
        metadata, trees = request.messages_list[0].metadata, request.message_object_trees
        ids = object_ids(trees[0]) if trees else []
        if len(parts) != len(ids):
            raise WireError("its reply in the journal is not whole")
        contents = dict(zip(ids, parts, strict=True))
        self.retry.report("sending")
        self.retry.until_done(lambda: self._push(request, contents), metadata.created_at + metadata.ttl)
        if not self.uses_fast_path:
            confirmation = ConfirmMessageReceivedRequest(node=self.node, run_id=metadata.run_id, message_object_id=name)
            self._unconfirmed.append(confirmation)

    def _push(self, request: PushMessagesRequest, contents: dict[str, bytes]) -> None:
        """Hand in a reply whole, or announce it and push what the coordinator has not got of it."""
        if self.uses_fast_path and sum(map(len, contents.values())) <= MOST_BYTES:
            try:
                return self.fast_path.give([request.SerializeToString(), *contents.values()])
            except UnknownWayError:
                self.uses_fast_path = False
        if not request.message_object_trees:
            raise NobodyWaitsError("the coordinator's gateway knows the short way no more")
        content_transfer.push(self.retry.endpoint, self.client, self.node, request, contents)

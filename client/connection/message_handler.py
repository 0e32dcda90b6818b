"""One message at a site: fetched, answered by the installed ClientApp, the reply sent; the process may die at any time.

ID.message     written when the message was taken, for the coordinator will not send it again; then with its content
ID.reply       written before anything is sent: the same bytes are sent again, never computed a second time
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    is_valid_sha256_hash,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_object_contents_from_iterable,
)
from flwr.supernode.fleet_http_client import FleetHttpClient
from google.protobuf.message import DecodeError

from client.connection.fast_path import MOST_BYTES, Express, UnknownWayError
from client.connection.fleet_client import NobodyWaitsError, ask
from client.connection.message_journal import GOT, MESSAGE, REPLY, Journal
from client.connection.retry import Line, StoppedError
from common.errors import LinkError, WireError

log = logging.getLogger("consilium")

TOGETHER = 4
"""Objects under way at a time; Flower cuts arrays into pieces of 5 MB."""


@dataclass
class Errands:
    """What a site does for the coordinator.

    Args:
        hung: called in another thread when an answer is not there by the time that its message expires.
        express: the short way to the coordinator's gateway.
    """

    line: Line
    client: FleetHttpClient
    journal: Journal
    app: ClientApp
    node_config: Mapping[str, str | int | float | bool]
    hung: Callable[[], None]
    express: Express
    node: Node = field(default_factory=Node)
    _context: Context | None = None
    """Of the last run."""
    _done: list[ConfirmMessageReceivedRequest] = field(default_factory=list)
    short: bool = True
    """Whether the coordinator knows the short way."""

    def fetch(self) -> list[bytes]:
        """The next message: a PullMessagesResponse and what came with it of its content; nothing if there is none."""
        if self.short:
            try:
                return self.line.insist(lambda: self.express.take(self._got()))
            except UnknownWayError:
                self.short = False
        asked = PullMessagesRequest(node=self.node)
        found = self.line.insist(lambda: ask(self.line.link, self.client.PullMessages, asked))
        return [found.SerializeToString()] if found.messages_list else []

    def _got(self) -> str:
        """The message that was written down last: the coordinator hands out any other again."""
        try:
            return self.journal.read(GOT)[0].decode() if self.journal.has(GOT) else ""
        except (WireError, UnicodeDecodeError):
            return ""

    def take(self, parts: list[bytes]) -> None:
        """A message that came in, from beginning to end."""
        found = PullMessagesResponse.FromString(parts[0])
        name = found.messages_list[0].metadata.message_id
        if not is_valid_sha256_hash(name):
            log.warning("a message without a proper id is dropped")
            return
        # The coordinator takes it to be delivered, and never sends it again: it is written down at once, though its
        # content has still to come.
        self.line.insist(lambda: self.journal.write(name + MESSAGE, parts), _expiry(found))
        if self.short:
            self.line.insist(lambda: self.journal.write(GOT, [name.encode()]))
        self.finish(name)

    def finish(self, name: str) -> None:
        """Answer a message that is in the journal, if that was not done yet, and send the reply."""
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
        while self._done:
            with suppress(NobodyWaitsError):  # with its run, all of it is freed
                self.line.insist(lambda: ask(self.line.link, self.client.ConfirmMessageReceived, self._done[0]))
            del self._done[0]

    # --- fetching ---------------------------------------------------------------------------------------------------

    def _whole(self, name: str) -> tuple[PullMessagesResponse, dict[str, bytes]]:
        """A message with its content, out of the journal; what is not there yet is fetched first."""
        head, *parts = self.journal.read(name + MESSAGE)
        found = PullMessagesResponse.FromString(head)
        ids, until_s = _content(found), _expiry(found)
        if self.line.clock.now() > until_s:
            raise NobodyWaitsError("it has expired")
        contents = dict(zip(ids, parts, strict=False))
        if len(contents) < len(ids):
            run_id = found.messages_list[0].metadata.run_id
            self.line.insist(lambda: self._fetch(run_id, ids, contents, until_s), until_s)
            self.line.insist(lambda: self.journal.write(name + MESSAGE, [head, *(contents[i] for i in ids)]), until_s)
        return found, contents

    def _fetch(self, run_id: int, ids: list[str], contents: dict[str, bytes], until_s: float) -> None:
        """Pull what is missing; what has come stays, so that a link that fails costs a piece and not the whole."""
        pull = make_pull_object_fn_protobuf(lambda r: ask(self.line.link, self.client.PullObject, r), self.node, run_id)

        def keep(object_id: str) -> bytes:
            if self.line.stop.is_set():
                raise StoppedError
            contents[object_id] = pull(object_id)
            return b""

        missing = [object_id for object_id in ids if object_id not in contents]
        left_s = until_s - self.line.clock.now()
        try:
            # The coordinator may still be writing what it announced: Flower would look again after a second.
            pull_objects(
                missing, keep, max_concurrent_pulls=TOGETHER, max_time=left_s, max_tries_per_object=None,
                initial_backoff=0.01, backoff_cap=0.5,
            )  # fmt: skip
        except ObjectPullError as error:
            raise NobodyWaitsError(f"its content is not there ({error})") from None

    # --- answering --------------------------------------------------------------------------------------------------

    def _answer(self, name: str) -> None:
        """Have the message answered, and the reply written down."""
        found, contents = self._whole(name)
        until_s = _expiry(found)
        self.line.say("working")
        left_s = until_s - self.line.clock.now()
        watch = threading.Timer(min(left_s, threading.TIMEOUT_MAX), self._hangs, [name])
        watch.daemon = True
        began = time.monotonic()
        watch.start()
        try:
            reply = self._reply(found, contents)
        finally:
            watch.cancel()
        took_s = time.monotonic() - began
        reply.metadata.created_at = self.line.clock.now()
        reply.metadata.ttl = until_s - reply.metadata.created_at
        if reply.metadata.ttl <= 0:
            raise NobodyWaitsError("it was answered after it had expired")
        inline = _is_inline(found) and _is_small(reply)

        def outgoing() -> Iterator[bytes]:
            return self._in_one(reply) if inline else self._outgoing(reply, took_s)

        # A process that is killed here has lost the reply, but the app has recorded that it gave one. It is asked the
        # same again, and refuses: in that step the site is a dropout, and nothing is ever sent twice.
        self.line.insist(lambda: self.journal.write(name + REPLY, outgoing()), until_s)

    def _reply(self, found: PullMessagesResponse, contents: dict[str, bytes]) -> Message:
        """The app's answer; if the app fails, which it should not, an error for the coordinator."""
        message = message_from_proto(found.messages_list[0])
        run_id = message.metadata.run_id
        if self._context is None or self._context.run_id != run_id:
            self._context = Context(run_id, self.node.node_id, dict(self.node_config), RecordDict(), {})
        try:
            if not _is_inline(found):
                content = inflate_object_from_contents(_content(found)[-1], contents)
                if not isinstance(content, RecordDict):
                    raise TypeError(f"a message of {type(content).__name__}")
                message.content = content
            return self.app(message, self._context)
        except Exception as error:
            log.exception("message %s: the app failed", message.metadata.message_id[:8])
            # The text of an unforeseen error could be about a patient's file: it stays here.
            why = f"{type(error).__name__} at the site; the log there says more."
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, why), reply_to=message)

    def _in_one(self, reply: Message) -> Iterator[bytes]:
        """A small reply with all that is in it, as our gateway's short way takes it."""
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            yield PushMessagesRequest(node=self.node, messages_list=[message_to_proto(reply)]).SerializeToString()

    def _outgoing(self, reply: Message, took_s: float) -> Iterator[bytes]:
        """A reply as it is announced, then its objects one by one, for they may be large."""
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            tree, objects = get_object_tree(reply), get_all_nested_objects(reply)
            yield PushMessagesRequest(
                node=self.node,
                messages_list=[message_to_proto(remove_content_from_message(reply))],
                message_object_trees=[tree],
                clientapp_runtime_list=[took_s],
            ).SerializeToString()
            for object_id in _ids(tree):
                yield objects[object_id].deflate()

    def _hangs(self, name: str) -> None:
        log.error("message %s: no answer by the time that it expired; the process starts again", name[:8])
        try:
            self.journal.remove(name + MESSAGE)  # not taken up again
        finally:
            self.hung()

    # --- sending ----------------------------------------------------------------------------------------------------

    def _send(self, name: str) -> None:
        head, *parts = self.journal.read(name + REPLY)
        request = PushMessagesRequest.FromString(head)
        metadata, trees = request.messages_list[0].metadata, request.message_object_trees
        ids = _ids(trees[0]) if trees else []
        if len(parts) != len(ids):
            raise WireError("its reply in the journal is not whole")
        contents = dict(zip(ids, parts, strict=True))
        self.line.say("sending")
        self.line.insist(lambda: self._push(request, contents), metadata.created_at + metadata.ttl)
        if not self.short:
            asked = ConfirmMessageReceivedRequest(node=self.node, run_id=metadata.run_id, message_object_id=name)
            self._done.append(asked)

    def _push(self, request: PushMessagesRequest, contents: dict[str, bytes]) -> None:
        """Hand in a reply whole, or announce it and push what the coordinator has not got of it."""
        if self.short and sum(map(len, contents.values())) <= MOST_BYTES:
            try:
                return self.express.give([request.SerializeToString(), *contents.values()])
            except UnknownWayError:
                self.short = False
        if not request.message_object_trees:
            raise NobodyWaitsError("the coordinator's gateway knows the short way no more")
        link, run_id = self.line.link, request.messages_list[0].metadata.run_id
        told = ask(link, self.client.PushMessages, request)
        push = make_push_object_fn_protobuf(
            lambda r: ask(link, self.client.PushObject, r), self.node, run_id, told.session_id
        )
        try:
            push_object_contents_from_iterable(
                ((i, contents[i]) for i in told.objects_to_push), push, max_concurrent_pushes=TOGETHER
            )
        except ObjectPushError:
            raise LinkError(f"{link.address} did not store a part of the reply. It may be short of disk.") from None


def _expiry(found: PullMessagesResponse) -> float:
    """When a message expires, in the coordinator's seconds since 1970."""
    metadata = found.messages_list[0].metadata
    return float(metadata.created_at + metadata.ttl)


def _content(found: PullMessagesResponse) -> list[str]:
    """The objects of a message's content, which comes last. Its head needs not be fetched: it came with the message."""
    return _ids(found.message_object_trees[0])[:-1] if found.message_object_trees else []


def _is_inline(found: PullMessagesResponse) -> bool:
    """Whether the content is in the message itself: our gateway's short way."""
    return not found.message_object_trees


def _is_small(reply: Message) -> bool:
    """Without arrays, which alone are large."""
    return reply.has_error() or all(isinstance(record, ConfigRecord) for record in reply.content.values())


def _ids(tree: ObjectTree) -> list[str]:
    """All objects of a tree, children first, each once."""
    return list(dict.fromkeys(node.object_id for node in iterate_object_tree(tree)))

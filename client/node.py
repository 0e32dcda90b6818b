"""A hospital's resident process: it speaks Flower's Fleet API itself, and answers with the installed ClientApp.

What Flower's SuperNode does, without a process for every message, without its sleeps, and without the bundle: nothing
that the coordinator sends is ever executed, for it is not even fetched. It goes on for ever: whatever fails is tried
again, and a process that was killed takes up what it was doing from its journal.

    take   pull a message, journal it, confirm it
    answer app(message, context), in the main thread; journal the reply
    send   push the reply, forget both
"""

import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

import httpx
from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
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
from flwr.supercore.version import package_version
from flwr.supernode.fleet_http_client import FleetHttpClient
from google.protobuf.message import DecodeError

from client.journal import MESSAGE, NODE, REPLY, STATE, Journal
from client.link import Clock, Link, NobodyWaitsError, UnknownKeyError, ask, fleet
from common.errors import ConfigError, WireError

__all__ = ["FLOWER", "Doing", "Link", "serve"]

FLOWER = "1.41.0"
"""Inner modules of Flower are used here: of this release, and no other."""
POLL_S, IDLE_POLL_S = 0.045, 1.0
QUIET_S = 1.0
"""Without a message for so long: what can wait is done now."""
RUN_ALIVE_S = 60.0
"""A run is taken to be going on for so long after its last message."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
TOGETHER = 4
"""Objects under way at a time; Flower cuts arrays into pieces of 5 MB."""

log = logging.getLogger("consilium")
T = TypeVar("T")
What = Literal["connecting", "idle", "working", "sending", "waiting"]


@dataclass(frozen=True)
class Doing:
    """What the site is doing, for people: nothing of the data, no secret."""

    what: What
    """connecting: not known to the coordinator yet; waiting: for the next message of a run; idle: for a run."""
    detail: str = ""
    since_s: float = 0.0
    """Since when, in seconds since 1970."""
    error: str = ""
    """Why it does not get on, and what to do; empty if it does."""
    code: str = ""
    """The same in a word, for the coordinator: of the text it is told nothing, which may name files."""


class _StoppedError(Exception):
    """The process is to end."""


def start_again() -> None:
    """Replace this process by a fresh one with the same arguments: the one cure for a thread that hangs."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (these were the arguments already)


def serve(
    link: Link,
    app: ClientApp,
    node_config: Mapping[str, str | int | float | bool],
    journal: Path,
    tell: Callable[[Doing], None],
    stop: threading.Event,
    hung: Callable[[], None] = start_again,
) -> None:
    """Answer the coordinator's messages until `stop` is set; returns when the coordinator knows that the site left.

    Args:
        node_config: what the app finds in its context; `run_config` is empty.
        journal: a folder of this site's own.
        tell: called on every change of what the site is doing.
        hung: called in another thread when an answer is not there by the time that the message expires.

    Raises:
        ConfigError: another release of Flower, or a certificate that cannot be read.
        RunError: another process works in the journal.
    """
    if package_version != FLOWER:
        raise ConfigError(f"flwr is {package_version}, expected {FLOWER}. Install this release's requirements again.")
    clock = Clock()
    with Journal.opened(journal) as kept, fleet(link, clock) as client:
        _Resident(link, client, clock, app, node_config, kept, tell, stop, hung).run()


@dataclass
class _Resident:
    link: Link
    client: FleetHttpClient
    clock: Clock
    app: ClientApp
    node_config: Mapping[str, str | int | float | bool]
    journal: Journal
    tell: Callable[[Doing], None]
    stop: threading.Event
    hung: Callable[[], None]
    node: Node = field(default_factory=Node)
    doing: Doing = Doing("connecting")
    states: dict[int, RecordDict] = field(default_factory=dict)
    """context.state of the last run; those of others are in the journal."""
    unconfirmed: list[ConfirmMessageReceivedRequest] = field(default_factory=list)
    heard_s: float = float("-inf")
    """When the last message came (monotonic)."""
    complained: bool = False
    """The clock was spoken of."""

    def run(self) -> None:
        heart = HeartbeatSender(self._beat)
        heart.start()
        try:
            while not self.stop.is_set():
                self._session()
        except _StoppedError:
            pass
        finally:
            heart.stop()
            self._leave()

    def _session(self) -> None:
        """Be connected, until something happens after which one has to begin anew."""
        try:
            self._connect()
            for name in self.journal.pending():
                self._finish(name)
            while not self.stop.is_set():
                self._poll()
        except UnknownKeyError:
            self.stop.wait(FIRST_PAUSE_S)
        except (_StoppedError, KeyboardInterrupt):
            raise
        except Exception:
            # A defect of ours, or of Flower's: the site stays, and what it has in its journal it tries again.
            log.exception("unexpected; going on in %.0f s", LONGEST_PAUSE_S)
            self.stop.wait(LONGEST_PAUSE_S)

    # --- being a node ---------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._say("connecting", self.link.address)
        self.node = Node(node_id=self._insist(self._identify))
        if complaint := self.clock.complaint():
            log.warning("%s; the coordinator's time is used instead. Let it be set by NTP.", complaint)
        log.info("connected to %s as node %d", self.link.address, self.node.node_id)

    def _identify(self) -> int:
        """The id of this site's node, online.

        The coordinator activates no node that it takes to be online, as it does for a minute after one was killed; but
        any heartbeat of a node that says its id is welcome. So the id is kept.
        """
        kept = self._kept_id()
        try:
            if kept and ask(self.link, self.client.SendNodeHeartbeat, _heartbeat(kept)).success:
                return kept
        except UnknownKeyError:
            pass  # the site may have been registered anew, under another id
        asked = ActivateNodeRequest(public_key=self.link.public_key, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        try:
            node_id = int(ask(self.link, self.client.ActivateNode, asked).node_id)
        except UnknownKeyError as error:
            raise ConnectionError(
                f"{self.link.address} does not take this site's key ({error}). It is not admitted yet, or was revoked: "
                "ask the coordinator. Until then it is tried again."
            ) from None
        self.journal.write(NODE, [node_id.to_bytes(8, "little")])
        return node_id

    def _kept_id(self) -> int:
        try:
            return int.from_bytes(self.journal.read(NODE)[0], "little") if self.journal.has(NODE) else 0
        except WireError:
            return 0

    def _beat(self) -> bool:
        """Says, from a thread of its own, that the site is there, also while it trains."""
        try:
            return bool(self.node.node_id and self.client.SendNodeHeartbeat(_heartbeat(self.node.node_id)).success)
        except (httpx.HTTPError, ValueError):
            return False  # the main thread finds out why

    def _leave(self) -> None:
        if self.node.node_id:
            try:
                ask(self.link, self.client.DeactivateNode, DeactivateNodeRequest(node_id=self.node.node_id))
            except (OSError, UnknownKeyError, NobodyWaitsError) as error:
                log.info("left without saying so: %s", error)

    # --- one message ----------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Ask for a message; if there is none, wait a little: at least twice as long as the coordinator took."""
        began = time.monotonic()
        found = self._insist(lambda: ask(self.link, self.client.PullMessages, PullMessagesRequest(node=self.node)))
        now = time.monotonic()
        if not found.messages_list:
            if now - self.heard_s > QUIET_S:
                self._confirm()
            idle_s = max(0.0, now - self.heard_s - RUN_ALIVE_S)
            self._say("idle" if idle_s else "waiting")
            pause_s = min(IDLE_POLL_S, POLL_S + idle_s / 10)
            self.stop.wait(max(pause_s, 2 * (now - began)))
            return
        self.heard_s = now
        name = found.messages_list[0].metadata.message_id
        if not is_valid_sha256_hash(name):
            log.warning("a message without a proper id is dropped")
            return
        # From here on the coordinator takes it to be delivered, and never sends it again: it is written down at once,
        # though its content has still to come.
        self._insist(lambda: self.journal.write(name + MESSAGE, [found.SerializeToString()]), _expiry(found))
        self._finish(name)
        run_id = found.messages_list[0].metadata.run_id
        self.unconfirmed.append(ConfirmMessageReceivedRequest(node=self.node, run_id=run_id, message_object_id=name))

    def _finish(self, name: str) -> None:
        """Answer a message that is in the journal, if it is not answered yet, and send the reply."""
        try:
            if not self.journal.has(name + REPLY):
                self._answer(name)
            self._send(name)
        except (NobodyWaitsError, WireError, DecodeError) as error:
            log.warning("message %s is dropped: %s", name[:8], error)
        self.heard_s = time.monotonic()
        self.journal.remove(name + MESSAGE, name + REPLY)

    def _confirm(self) -> None:
        """Let the coordinator free what it holds of messages that are done with.

        Flower's SuperNode says so before it answers. But a request costs the coordinator some 10 ms, for all sites one
        after the other, so it is kept for when nobody waits.
        """
        while self.unconfirmed:
            with suppress(NobodyWaitsError):
                self._insist(lambda: ask(self.link, self.client.ConfirmMessageReceived, self.unconfirmed[0]))
            del self.unconfirmed[0]

    def _answer(self, name: str) -> None:
        found, contents = self._whole(name)
        until_s, run_id = _expiry(found), found.messages_list[0].metadata.run_id
        self._say("working", f"run {run_id}, {found.messages_list[0].metadata.message_type}")
        context = Context(run_id, self.node.node_id, dict(self.node_config), self._state(run_id), {})
        before, began = context.state.object_id, time.monotonic()
        watch = threading.Timer(min(until_s - self.clock.now(), threading.TIMEOUT_MAX), self._hangs, [name])
        watch.daemon = True
        watch.start()
        try:
            reply = self._reply(found, contents, context)
        finally:
            watch.cancel()
        took_s = time.monotonic() - began
        reply.metadata.created_at = self.clock.now()
        reply.metadata.ttl = until_s - reply.metadata.created_at
        if reply.metadata.ttl <= 0:
            raise NobodyWaitsError("it was answered after it had expired")
        # A process that is killed here has lost the reply, but the app has recorded that it gave one. It is asked the
        # same again, and refuses: in that round the site is a dropout, and nothing is ever sent twice. The state goes
        # first for the same reason: a reply must never be sent that the site does not remember.
        self.states = {run_id: context.state}
        if context.state.object_id != before:
            self._insist(lambda: self.journal.write(f"{run_id}{STATE}", _deflated(context.state)), until_s)
        self._insist(lambda: self.journal.write(name + REPLY, self._outgoing(reply, took_s)), until_s)

    def _whole(self, name: str) -> tuple[PullMessagesResponse, dict[str, bytes]]:
        """A message with its content, out of the journal; what is not there yet is fetched first."""
        head, *parts = self.journal.read(name + MESSAGE)
        found = PullMessagesResponse.FromString(head)
        run_id, until_s = found.messages_list[0].metadata.run_id, _expiry(found)
        ids = _content(found)
        if self.clock.now() > until_s:
            raise NobodyWaitsError("it has expired")
        contents = dict(zip(ids, parts, strict=False))
        if len(contents) < len(ids):
            self._insist(lambda: self._fetch(run_id, ids, contents, until_s), until_s)
            self._insist(lambda: self.journal.write(name + MESSAGE, [head, *(contents[i] for i in ids)]), until_s)
        return found, contents

    def _fetch(self, run_id: int, ids: list[str], contents: dict[str, bytes], until_s: float) -> None:
        """Pull what is missing; what has come stays, so that a link that fails costs a piece and not the whole."""
        pull = make_pull_object_fn_protobuf(
            lambda request: ask(self.link, self.client.PullObject, request), self.node, run_id
        )

        def keep(object_id: str) -> bytes:
            if self.stop.is_set():
                raise _StoppedError
            contents[object_id] = pull(object_id)
            return b""

        left_s = until_s - self.clock.now()
        missing = [object_id for object_id in ids if object_id not in contents]
        try:
            # The coordinator may still be writing what it announced: Flower would look again after a second.
            pull_objects(
                missing,
                keep,
                max_concurrent_pulls=TOGETHER,
                max_time=left_s,
                max_tries_per_object=None,
                initial_backoff=0.01,
                backoff_cap=0.5,
            )
        except ObjectPullError as error:
            raise NobodyWaitsError(f"its content is not there ({error})") from None

    def _reply(self, found: PullMessagesResponse, contents: dict[str, bytes], context: Context) -> Message:
        """The app's answer; if the app fails, which it should not, an error for the coordinator."""
        message = message_from_proto(found.messages_list[0])
        name = message.metadata.message_id
        try:
            message.content = _inflated(_content(found), contents)
            return self.app(message, context)
        except Exception as error:
            log.exception("message %s: the app failed", name[:8])
            # The text of an unforeseen error could be about a patient's file: it stays here.
            why = f"{type(error).__name__} at the site; the log there says more."
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, why), reply_to=message)

    def _outgoing(self, reply: Message, took_s: float) -> Iterator[bytes]:
        """A reply as it is announced, and its objects."""
        reply.metadata.__dict__["_message_id"] = reply.object_id
        objects = _deflated(reply)
        yield PushMessagesRequest(
            node=self.node,
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[ObjectTree.FromString(next(objects))],
            clientapp_runtime_list=[took_s],
        ).SerializeToString()
        yield from objects

    def _send(self, name: str) -> None:
        head, *parts = self.journal.read(name + REPLY)
        request = PushMessagesRequest.FromString(head)
        metadata = request.messages_list[0].metadata
        self._say("sending", f"run {metadata.run_id}, {metadata.message_type}")
        contents = dict(zip(_ids(request.message_object_trees[0]), parts, strict=True))

        def send() -> None:
            """Announce it, and push what the coordinator has not got; after a failure that is less than before."""
            told = ask(self.link, self.client.PushMessages, request)
            push = make_push_object_fn_protobuf(
                lambda piece: ask(self.link, self.client.PushObject, piece), self.node, metadata.run_id, told.session_id
            )
            missing = [(object_id, contents[object_id]) for object_id in told.objects_to_push]
            try:
                push_object_contents_from_iterable(missing, push, max_concurrent_pushes=TOGETHER)
            except ObjectPushError:
                raise ConnectionError(f"{self.link.address} did not store a part of the reply.") from None

        self._insist(send, metadata.created_at + metadata.ttl)

    def _state(self, run_id: int) -> RecordDict:
        """What the app kept in this run, from before this process if need be."""
        if run_id not in self.states and self.journal.has(f"{run_id}{STATE}"):
            head, *parts = self.journal.read(f"{run_id}{STATE}")
            ids = _ids(ObjectTree.FromString(head))
            self.states = {run_id: _inflated(ids, dict(zip(ids, parts, strict=True)))}
        return self.states.get(run_id, RecordDict())

    def _hangs(self, name: str) -> None:
        log.error("message %s: no answer by the time that it expired; the process starts again", name[:8])
        try:
            self.journal.remove(name + MESSAGE)
        finally:
            self.hung()

    # --- patience and news ----------------------------------------------------------------------------------------

    def _insist(self, do: Callable[[], T], until_s: float = float("inf")) -> T:
        """Do it until it succeeds: whatever a network or a disk has against it may pass.

        Raises:
            NobodyWaitsError: if the time is over.
            UnknownKeyError: as `do` does.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                done = do()
                self._say(self.doing.what, self.doing.detail)
                return done
            except OSError as error:
                code = "LINK" if isinstance(error, ConnectionError) else "DISK"
                self._say(self.doing.what, self.doing.detail, self._trouble(error), code)
            if self.stop.wait(pause_s * random.uniform(0.7, 1.0)):
                raise _StoppedError
            if self.clock.now() > until_s:
                raise NobodyWaitsError("it expired while the site could not get on")
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _trouble(self, error: OSError) -> str:
        if isinstance(error, ConnectionError):
            return str(error)
        return (
            f"{self.journal.folder}: {error.strerror}. Make room on this disk, or mend it: nothing is lost until then."
        )

    def _say(self, what: What, detail: str = "", error: str = "", code: str = "") -> None:
        """Tell what is new; a trouble also goes to the log, once when it comes and once when it has passed."""
        old = self.doing
        if self.clock.complaint() and not self.complained:
            detail, self.complained = self.clock.complaint(), True
        if (what, detail, error) == (old.what, old.detail, old.error):
            return
        since_s = old.since_s if what == old.what and old.since_s else self.clock.now()
        self.doing = Doing(what, detail, since_s, error, code)
        if error and error != old.error:
            log.warning("%s", error)
        elif old.error and not error:
            log.info("that has passed; going on")
        self.tell(self.doing)


def _heartbeat(node_id: int) -> SendNodeHeartbeatRequest:
    return SendNodeHeartbeatRequest(node=Node(node_id=node_id), heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)


def _expiry(found: PullMessagesResponse) -> float:
    """When a message expires, in the coordinator's seconds since 1970."""
    metadata = found.messages_list[0].metadata
    return float(metadata.created_at + metadata.ttl)


def _content(found: PullMessagesResponse) -> list[str]:
    """The objects of a message's content, which comes last. Its head needs not be fetched: it came with the message."""
    return _ids(found.message_object_trees[0])[:-1]


def _ids(tree: ObjectTree) -> list[str]:
    """All objects of a tree, children first, each once."""
    return list(dict.fromkeys(node.object_id for node in iterate_object_tree(tree)))


def _inflated(ids: list[str], contents: dict[str, bytes]) -> RecordDict:
    """The last of the objects, made of the others; `contents` is used up."""
    whole = inflate_object_from_contents(ids[-1], contents)
    if not isinstance(whole, RecordDict):
        raise WireError(f"Flower records were expected, there is a {type(whole).__name__}.")
    return whole


def _deflated(whole: InflatableObject) -> Iterator[bytes]:
    """Flower's tree of an object, and its parts in the order of `_ids`, made one by one: they may be large."""
    with no_object_id_recompute():
        tree, objects = get_object_tree(whole), get_all_nested_objects(whole)
        yield tree.SerializeToString()
        for object_id in _ids(tree):
            yield objects[object_id].deflate()

"""A hospital's resident process: it speaks Flower's Fleet API itself, and answers with the installed ClientApp.

What Flower's SuperNode does, without a process for every message, without its sleeps, and without the bundle: nothing
that the coordinator sends is ever executed, for it is not even fetched. It goes on for ever: whatever fails is tried
again, and a process that was killed takes up what it was doing from its journal.

    serve ─> _Node.run ─> _session   connect; finish what the journal holds; then poll until something happens
                             └─> _poll ─> MessageHandler.fetch, take       the life of one message is described there
    a second thread                       a heartbeat, so that the site counts as online while it trains

Two loops keep it alive. `RetryLoop.until_done` repeats one request while the network or the disk fails, which passes.
`_Node.run` begins a session again when the coordinator does not know this site's key any more, or a defect came up:
what is in the journal is still there then, and is tried again.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.clientapp import ClientApp
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL
from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.version import package_version
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.connection.fast_path import FastPath
from client.connection.fleet_client import Endpoint, NobodyWaitsError, UnknownKeyError, ask, fleet
from client.connection.message_handler import MessageHandler
from client.connection.message_journal import NODE, Journal
from client.connection.retry import FIRST_PAUSE_S, LONGEST_PAUSE_S, ConnectionStatus, RetryLoop, StoppedError
from common.errors import ConfigError, LinkError, WireError

__all__ = ["FLOWER", "ConnectionStatus", "Endpoint", "serve"]

FLOWER = "1.42.0"
"""Inner modules of Flower are used here: of this release, and no other."""
POLL_S, IDLE_POLL_S, SHORT_PAUSE_S = 0.045, 1.0, 0.01
"""Between two looks for a message: at once after one, and when nothing has come for `RUN_ALIVE_S`; in between it grows.
The coordinator serves about a hundred requests a second, so waiting sites must not spend what working ones need."""
QUIET_S = 1.0
"""Without a message for so long: what can wait is done now."""
RUN_ALIVE_S = 60.0
"""A run is taken to be going on for so long after its last message."""

log = logging.getLogger("consilium")


def start_again() -> None:
    """Replace this process by a fresh one with the same arguments: the one cure for a thread that hangs."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (these were the arguments already)


def serve(
    endpoint: Endpoint,
    app: ClientApp,
    node_config: Mapping[str, str | int | float | bool],
    journal: Path,
    on_status: Callable[[ConnectionStatus], None],
    stop: threading.Event,
    on_hang: Callable[[], None] = start_again,
) -> None:
    """Answer the coordinator's messages until `stop` is set; returns when the coordinator knows that the site left.

    Args:
        node_config: what the app finds in its context; `run_config` is empty, and `state` lasts as long as the process.
        journal: a folder of this site's own.
        on_status: called on every change of what the site is doing.
        on_hang: called in another thread when an answer is not there by the time that the message expires.

    Raises:
        ConfigError: another release of Flower, or a certificate that cannot be read.
        RunError: another process works in the journal.
    """
    if package_version != FLOWER:
        raise ConfigError(f"flwr is {package_version}, expected {FLOWER}. Install this release's requirements again.")
    retry = RetryLoop(endpoint, journal, on_status, stop)
    with Journal.open(journal) as open_journal, fleet(endpoint, retry.clock) as client:
        fast_path = FastPath(endpoint, retry.clock)
        try:
            handler = MessageHandler(retry, client, open_journal, app, node_config, on_hang, fast_path)
            _Node(retry, client, open_journal, handler).run()
        finally:
            fast_path.close()


@dataclass
class _Node:
    retry: RetryLoop
    client: FleetHttpClient
    journal: Journal
    handler: MessageHandler
    last_message_s: float = float("-inf")
    """When the last message was dealt with (monotonic)."""
    is_stranger: bool = False
    """The coordinator does not know the node by its id: it was set up again, and may have another for the same key."""

    def run(self) -> None:
        heart = HeartbeatSender(self._beat)
        heart.start()
        try:
            while not self.retry.stop.is_set():
                self._session()
        except StoppedError:
            pass
        finally:
            heart.stop()
            self._leave()

    def _session(self) -> None:
        """Be connected, until something happens after which one has to begin again."""
        try:
            self._connect()
            for name in self.journal.pending():
                self.handler.finish(name)
                self.last_message_s = time.monotonic()
            while not self.retry.stop.is_set() and not self.is_stranger:
                self._poll()
        except UnknownKeyError:
            self.retry.stop.wait(FIRST_PAUSE_S)
        except StoppedError:
            raise
        except Exception:
            # A defect of ours, or of Flower's: the site stays, and what it has in its journal it tries again.
            log.exception("unexpected; going on in %.0f s", LONGEST_PAUSE_S)
            self.retry.stop.wait(LONGEST_PAUSE_S)

    def _poll(self) -> None:
        """Ask for a message; if there is none, wait a little, and longer if the coordinator has much to do."""
        began = time.monotonic()
        parts = self.handler.fetch()
        now = time.monotonic()
        if parts:
            self.handler.take(parts)
            self.last_message_s = time.monotonic()
            return
        silence_s = now - self.last_message_s
        if silence_s > QUIET_S:
            self.handler.confirm()
        self.retry.report("waiting" if silence_s < RUN_ALIVE_S else "idle")
        if self.handler.uses_fast_path:  # the gateway has held the question for a while
            self.retry.stop.wait(SHORT_PAUSE_S)
            return
        pause_s = POLL_S + silence_s / RUN_ALIVE_S
        self.retry.stop.wait(max(min(pause_s, IDLE_POLL_S), 2 * (now - began)))

    # --- being a node -----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        address = self.retry.endpoint.address
        self.retry.report("connecting", address)
        self.handler.node = Node(node_id=self.retry.until_done(self._identify))
        self.is_stranger = False
        log.info("connected to %s as node %d", address, self.handler.node.node_id)

    def _identify(self) -> int:
        """The id of this site's node, online.

        The coordinator activates no node that it takes to be online, as it does for a minute after one was killed; but
        any heartbeat of a node that says its id is welcome. So the id is node_id.
        """
        endpoint, node_id = self.retry.endpoint, self._recorded_id()
        try:
            if node_id and ask(endpoint, self.client.SendNodeHeartbeat, _heartbeat(node_id)).success:
                return node_id
        except UnknownKeyError:
            pass  # the coordinator may have another id for it, if it was set up again
        request = ActivateNodeRequest(public_key=endpoint.public_key, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        try:
            node_id = int(ask(endpoint, self.client.ActivateNode, request).node_id)
        except UnknownKeyError as error:
            raise LinkError(f"{endpoint.address} does not take this site's key: {error}") from None
        self.journal.write(NODE, [node_id.to_bytes(8, "little")])
        return node_id

    def _recorded_id(self) -> int:
        try:
            return int.from_bytes(self.journal.read(NODE)[0], "little") if self.journal.has(NODE) else 0
        except WireError:
            return 0

    def _beat(self) -> bool:
        """Says, from a thread of its own, that the site is there, also while it trains."""
        if not (node_id := self.handler.node.node_id):
            return False
        try:
            is_welcome = ask(self.retry.endpoint, self.client.SendNodeHeartbeat, _heartbeat(node_id)).success
        except (LinkError, NobodyWaitsError):
            return False  # the main thread finds out why
        except UnknownKeyError:
            is_welcome = False
        # The fast path goes by the key alone: messages may still come to a node that no run takes to be there.
        self.is_stranger = not is_welcome
        return is_welcome

    def _leave(self) -> None:
        if not self.handler.node.node_id:
            return
        try:
            request = DeactivateNodeRequest(node_id=self.handler.node.node_id)
            ask(self.retry.endpoint, self.client.DeactivateNode, request)
        except (LinkError, UnknownKeyError, NobodyWaitsError) as error:
            log.info("left without saying so: %s", error)


def _heartbeat(node_id: int) -> SendNodeHeartbeatRequest:
    return SendNodeHeartbeatRequest(node=Node(node_id=node_id), heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)

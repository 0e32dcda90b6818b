"""The receiver of a C-MOVE: it listens while something is pulled, takes what was asked for, and keeps it in memory.

Who may send is listed by AE title, and over TLS by certificate. An object that nobody asked for is refused. Where what
arrived is not fetched, the sender waits: no more than a few objects are ever held.
"""

import queue
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.presentation import PresentationContext

from client.pacs.archive import ArrivedObject
from client.pacs.link_bounds import bounds
from client.pacs.pacs_settings import DimsePacs
from client.readers import MAX_BYTES
from common.errors import PacsError

HELD = 4
"""Objects that wait to be fetched."""
SYNTAXES = (
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.5",
)  # fmt: skip
"""Transfer syntaxes that the readers decode."""
MOST_CONNECTIONS = 8
HANDSHAKE_S = 5.0
NOT_ASKED, NO_ROOM, STOPPED = 0xA900, 0xA700, 0xC001


@dataclass
class StoreReceiver:
    """Listens while it is open."""

    settings: DimsePacs
    wanted_uids: set[str] = field(default_factory=set)
    """SOP Instance UIDs that are asked for now."""
    strange: int = 0
    """Objects that came and that nobody had asked for."""
    arrived_s: float = 0.0
    """When the last one came that was taken (`time.monotonic`)."""

    def __post_init__(self) -> None:
        self._waiting: queue.Queue[ArrivedObject | None] = queue.Queue(HELD)
        self._open = True
        entity = AE(self.settings.our_ae)
        entity.require_called_aet = True
        entity.require_calling_aet = [self.settings.ae, *self.settings.senders]
        entity.maximum_associations = MOST_CONNECTIONS
        entity.maximum_pdu_size = 1 << 17
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self.settings.timeout_s
        try:
            self._server = entity.start_server(
                (self.settings.listen, self.settings.our_port), block=False, contexts=_contexts(),
                ssl_context=_timed(self.settings),
                evt_handlers=[
                    *bounds(self.settings.timeout_s), (evt.EVT_C_STORE, self._take), (evt.EVT_DATA_RECV, self._bound),
                ],
            )  # fmt: skip
        except OSError as error:
            raise PacsError(
                "unreachable",
                f"port {self.settings.our_port}: cannot be listened at ({error.strerror}); the archive sends to it. "
                "Is another pull going on? Otherwise choose another with --our-port, and tell the archive.",
            ) from None

    def close(self) -> None:
        """Listen no more; whoever is sending is refused, and whoever is silent cut off."""
        self._open = False
        self._server.shutdown()
        for link in self._server.active_associations:
            link.abort(block=False)

    def finish(self) -> None:
        """Nothing more will come of what is expected: called by the thread that asked for it."""
        while self._open:
            try:
                return self._waiting.put(None, timeout=0.2)
            except queue.Full:
                continue

    def objects(self) -> Iterator[ArrivedObject]:
        """What arrives, until `finish`."""
        while (one := self._waiting.get()) is not None:
            yield one

    def _take(self, event: evt.Event) -> int:
        event.assoc.consilium_bytes = 0
        uid = str(event.request.AffectedSOPInstanceUID)
        if uid not in self.wanted_uids:
            self.strange += 1
            return NOT_ASKED
        one = ArrivedObject(uid, event.encoded_dataset())
        while self._open:
            try:
                self._waiting.put(one, timeout=0.2)
            except queue.Full:
                continue
            self.arrived_s = time.monotonic()
            return 0x0000
        return STOPPED

    def _bound(self, event: evt.Event) -> None:
        """End a connection that sends one object without end."""
        event.assoc.consilium_bytes = getattr(event.assoc, "consilium_bytes", 0) + len(event.data)
        if event.assoc.consilium_bytes > MAX_BYTES:
            event.assoc.abort()


@dataclass(frozen=True)
class _TimedTls:
    """TLS whose handshake has to end: who connects and stays silent would keep all others out otherwise."""

    context: ssl.SSLContext
    timeout_s: float

    def wrap_socket(self, plain: socket.socket, server_side: bool) -> ssl.SSLSocket:
        plain.settimeout(self.timeout_s)
        wrapped = self.context.wrap_socket(plain, server_side=server_side)
        wrapped.settimeout(None)
        return wrapped


def _timed(settings: DimsePacs) -> Any:
    context = settings.server_context()
    return _TimedTls(context, min(HANDSHAKE_S, settings.timeout_s / 4)) if context else None


def _contexts() -> list[PresentationContext]:
    contexts = []
    for each in StoragePresentationContexts:
        context = PresentationContext()
        context.abstract_syntax = each.abstract_syntax
        context.transfer_syntax = list(SYNTAXES)
        contexts.append(context)
    return contexts

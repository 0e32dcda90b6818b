"""No connection over DIMSE holds this process for longer than it was given.

pynetdicom ends a connection by waiting, without a bound, for its thread at the socket; and that thread waits, without a
bound, for the rest of what the other side began to send. A machine that goes down in the middle of an answer would hold
a pull for ever. So each read and write has the time-out of the archive's settings, and who was given up is cut off.
"""

import contextlib
import socket
import threading
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType

GRACE_S = 1.0
"""In which an abort may still be sent."""


def bounds(timeout_s: float) -> list[EventHandlerType]:
    """Handlers for a connection, or for all connections of a server."""
    return [(evt.EVT_CONN_OPEN, _begin, [timeout_s]), (evt.EVT_ABORTED, _disconnect_soon)]


def disconnect(link: Association) -> None:
    """End a connection at once, whatever its threads wait for."""
    link.dul.kill_dul()
    if (wrapped := link.dul.socket) and wrapped.socket:
        with contextlib.suppress(OSError):  # it has ended
            socket.socket.shutdown(wrapped.socket, socket.SHUT_RDWR)  # under TLS too: its own would go on in the clear


def settle(link: Association) -> None:
    """What a connection that asks, and serves nothing, is spared of pynetdicom's reactor thread.

    It takes no answer: it is told to pause while one is waited for, but may be past the place where it looks, and an
    answer that it took was lost without a word, a study of a C-FIND among them. And when it has ended, nobody waits for
    it to pause, which is done without a bound.
    """
    next_message = link.dimse.get_msg

    def get_msg(block: bool = False) -> Any:
        return (None, None) if threading.current_thread() is link else next_message(block)

    def watch() -> None:
        link.join()
        link._is_paused = True

    link.dimse.get_msg = get_msg
    threading.Thread(target=watch, daemon=True).start()


def _begin(event: evt.Event, timeout_s: float) -> None:
    """A time-out; and nothing waits for what could be sent with it: a request is several writes of 40 ms otherwise."""
    if (wrapped := event.assoc.dul.socket) and wrapped.socket:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wrapped.socket.settimeout(timeout_s)


def _disconnect_soon(event: evt.Event) -> None:
    timer = threading.Timer(GRACE_S, disconnect, [event.assoc])
    timer.daemon = True
    timer.start()

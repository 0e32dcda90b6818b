"""The fast path: a node's next message whole in one answer, and its whole reply in one request.

Flower's Fleet API moves a message in seven requests or more, each of which the SuperLink's web server takes 10 ms for.
Here the gateway reads and writes Flower's database itself (server/superlink/store.py). What is taken and given is
checked as the SuperLink would: the node is the one whose key signed the request, and a reply is its own.
"""

import asyncio
import time
from base64 import b64decode
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from common.errors import IdentityError, WireError
from common.secagg.transcript import frame, read_frames
from server.gateway.authentication import PUBLIC_KEY
from server.gateway.request_limits import RequestRefusedError, whole_body
from server.superlink.notify import Signal, SignalWatch, of_run
from server.superlink.store import MessageStore, OutgoingMessage, RunOverError

FRAMES, GOT = "application/octet-stream", "consilium-got"
TAKE_BYTES, GIVE_BYTES = 2 * 2**20, 8 * 2**20
HOLD_S = 4.0
"""How long a node's question is held until a message comes."""
LOOK_S = 1.0
"""How often the database is looked at meanwhile, though nobody signals that something is new there."""

Handler = Callable[[str, int, Request], Awaitable[Response]]
"""Answers a request of a site's node: its name, its node's number, the request."""


class WholeMessages:
    """Takes messages for nodes out of Flower's database, and puts their replies in. For one event loop.

    Args:
        store: the database of the running SuperLink.
        signals: the folder of the signals between processes (server/superlink/notify.py).
    """

    def __init__(self, store: MessageStore, signals: Path) -> None:
        self._store = store
        self._signals, self._watch = signals, SignalWatch(signals)
        self._unconfirmed: dict[str, OutgoingMessage] = {}
        """What each site was sent and may not have received."""
        self._taken: defaultdict[str, int] = defaultdict(lambda: -1)
        """How many of each site's signals are dealt with: each message that was found, or all where none was."""
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def close(self) -> None:
        """Let go of the signals."""
        self._watch.close()

    async def answer(self, handler: Handler, site: str, request: Request) -> Response:
        """What `take` or `give` answers to a node whose signature was verified.

        Raises:
            IdentityError: the SuperLink does not know the node.
            RequestRefusedError: not a reply of this node.
        """
        try:
            key = b64decode(request.headers[PUBLIC_KEY])
            node = self._store.remembered_node_id(key) or await run_in_threadpool(self._store.node_id, key)
            if node is None:
                raise IdentityError("not-registered", "this node is not registered yet. Try again in a moment.")
            return await handler(site, node, request)
        except RunOverError as error:
            return JSONResponse({"error": "over", "detail": str(error)}, 410)
        except WireError as error:
            raise RequestRefusedError(400, error.code, str(error)) from None

    async def take(self, site: str, node: int, request: Request) -> Response:
        """The next message for a node, whole where it is small; waits for one a while.

        What was sent is sent again until the node says that it has received it: a connection may break in between, and
        a message that is lost would be a dropout.
        """
        message = self._unconfirmed.get(site)
        if message and message.name != request.headers.get(GOT, ""):
            return _framed(message)
        if message:
            del self._unconfirmed[site]
            with suppress(RunOverError):  # with its run, all of it is freed
                await run_in_threadpool(self._store.confirm, node, message)
        signal, until_s = Signal(self._signals / site), time.monotonic() + HOLD_S
        if (count := signal.count()) == self._taken[site]:  # there is no message: a look would cost 3 ms
            await self._watch.wait(site, count, LOOK_S)
        while time.monotonic() < until_s:
            count = signal.count()
            # An earlier question of this site may still wait beside this one, on a connection that is dead.
            async with self._one_at_a_time[site]:
                if message := self._unconfirmed.get(site):
                    return _framed(message)
                if message := await run_in_threadpool(self._store.next_message, node, TAKE_BYTES):
                    self._taken[site] += 1
                    self._unconfirmed[site] = message
                    return _framed(message)
                self._taken[site] = count
            await self._watch.wait(site, count, LOOK_S)
        return Response(status_code=204)

    async def give(self, site: str, node: int, request: Request) -> Response:
        """A node's whole reply."""
        body = await whole_body(request, GIVE_BYTES)
        parts = list(read_frames(BytesIO(body)))
        run = await run_in_threadpool(self._store.store_reply, node, parts)  # refuses a reply in another node's name
        Signal(self._signals / of_run(run)).send()
        return JSONResponse({})


def _framed(message: OutgoingMessage) -> Response:
    return Response(b"".join(map(frame, message.parts)), media_type=FRAMES)

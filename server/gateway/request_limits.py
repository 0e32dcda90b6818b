"""How much of the gateway one request and one site may take: bytes, time, and requests at a time.

Whoever can connect can try to wear the gateway out: a body that never ends, one that trickles in a byte a minute, one
that is declared small and is not, a thousand requests at once. Each has its end here. What comes before a request is
whole, its header, is limited by server/gateway/http_limits.py.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request

from common.errors import LinkError

BODY_S = 30.0
"""How long a member may pause within a body; all of one to the site API must come within as much."""
AT_ONCE = 16
"""Requests of one site that are under way."""


class RequestRefusedError(Exception):
    """A request that gets no further: with the HTTP status, the cause in a word, and what to do."""

    def __init__(self, status: int, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.cause = cause


class SiteLoad:
    """How many requests of each site are under way. For one event loop."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()

    @contextmanager
    def one_more(self, site: str) -> Iterator[None]:
        """Count a request as long as the block lasts.

        Raises:
            LinkError: the site has as many already as one may have: a member must not keep the others out.
        """
        if self._requests[site] >= AT_ONCE:
            raise LinkError(f"more than {AT_ONCE} requests of one site at a time. Wait for an answer.")
        self._requests[site] += 1
        try:
            yield
        finally:
            self._requests[site] -= 1


async def body_pieces(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    """A request's body, piece by piece.

    Raises:
        RequestRefusedError: too long, or too slow.
    """
    length = 0
    # The declared length is refused before a byte is read, and then not trusted: what comes is counted as well.
    if int(request.headers.get("content-length", "0")) > most_bytes:
        raise RequestRefusedError(413, "too-large", f"more than {most_bytes} bytes.")
    more = True
    while more:
        try:
            async with asyncio.timeout(BODY_S):
                message = await request.receive()
        except TimeoutError:
            raise _too_slow() from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece, more = message.get("body", b""), message.get("more_body", False)
        length += len(piece)
        if length > most_bytes:
            raise RequestRefusedError(413, "too-large", f"more than {most_bytes} bytes.")
        if piece:
            yield piece


async def whole_body(request: Request, most_bytes: int) -> bytes:
    """A request's body of which every piece comes in time; raises as `body_pieces`."""
    return b"".join([piece async for piece in body_pieces(request, most_bytes)])


async def whole_body_soon(request: Request, most_bytes: int) -> bytes:
    """A request's body, all of which comes in time: for whoever has not shown yet that it is a member."""
    try:
        async with asyncio.timeout(BODY_S):
            return await whole_body(request, most_bytes)
    except TimeoutError:
        raise _too_slow() from None


def _too_slow() -> RequestRefusedError:
    return RequestRefusedError(408, "slow", "the body did not come in time.")

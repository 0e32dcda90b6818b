"""uvicorn's HTTP protocol with limits: alone it waits for ever for the rest of a header, and keeps one of any length.

Whoever opens a thousand connections and sends each a byte a minute (Slowloris), or one header without an end, would
need neither key nor certificate to shut everybody out. Here such a connection is cut after `HEADER_S` or
`HEADER_BYTES`.
"""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_S, HEADER_BYTES = 10.0, 64 * 2**10
ON_LOST = "on_connection_lost"
"""In a request's scope: by name, what is called when its connection is lost."""


class LimitedHttp(HttpToolsProtocol):
    """Closes a connection whose header is not there in time, or is too long; tells a request's whole target."""

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _on_lost: dict[str, Callable[[], None]]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A header is expected from now on."""
        super().connection_made(transport)
        self._on_lost = {}
        self._expect_header()

    def data_received(self, data: bytes) -> None:
        """Pass on bytes that came in, and watch how fast they come."""
        super().data_received(data)
        if self._deadline is not None:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        super().on_message_begin()
        self._expect_header()

    def on_headers_complete(self) -> None:
        """A whole header: the rest is up to the application."""
        self._end_deadline()
        super().on_headers_complete()
        self.scope["raw_path"] = self.url  # all of it: uvicorn has cut off where it ends, and what stands before it
        self.scope[ON_LOST] = self._on_lost  # type: ignore[literal-required]  # ours

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has gone."""
        self._end_deadline()
        for callback in self._on_lost.values():
            callback()
        super().connection_lost(exc)

    def _expect_header(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_S, self.transport.abort)
            self._header_bytes = 0

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None

"""uvicorn's HTTP protocol, impatient: alone it waits for ever for the rest of a header, and keeps one of any length."""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_S, HEADER_BYTES = 10.0, 64 * 2**10


class Impatient(HttpToolsProtocol):
    """Closes a connection whose header is not there in time, or is too long; tells a request's whole target.

    In a request's scope, `lost` holds by name what is called when its connection is lost.
    """

    _patience: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _lost: dict[str, Callable[[], None]]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A header is expected from now on."""
        super().connection_made(transport)
        self._lost = {}
        self._expect_header()

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        super().data_received(data)
        if self._patience is not None:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._expect_header()

    def on_headers_complete(self) -> None:
        """A whole header: the rest is up to the application."""
        self._no_more_patience()
        super().on_headers_complete()
        self.scope["raw_path"] = self.url  # all of it: uvicorn has cut off where it ends, and what stands before it
        self.scope["lost"] = self._lost  # type: ignore[typeddict-unknown-key]  # ours

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has gone."""
        self._no_more_patience()
        for tell in self._lost.values():
            tell()
        super().connection_lost(exc)

    def _expect_header(self) -> None:
        if self._patience is None:
            self._patience, self._header_bytes = self.loop.call_later(HEADER_S, self.transport.abort), 0

    def _no_more_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None

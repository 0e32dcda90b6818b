"""What is pushed to the pages that are open: the parts that changed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from server.consortium.home import Home
from server.dashboard.live_page import PageContent

POLL_S, BEAT_S = 0.5, 2.0
"""How often the folder is read for changes, and how often something is sent all the same: silence means loss."""
MOST_STREAMS = 32


@dataclass
class EventStreams:
    """The streams by which every open page hears what has changed.

    Args:
        goes_on: whether a request's session does.
    """

    home: Home
    goes_on: Callable[[Request], bool]
    _streams: int = 0
    _contents: dict[str, tuple[float, PageContent]] = field(default_factory=dict)
    _one_reader: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def events(self, request: Request) -> Response:
        """A page's stream, as long as its session goes on."""
        name = request.query_params.get("run", "")
        if self._streams >= MOST_STREAMS:
            return Response("too many pages are open", 503)
        await self.current_content(name)  # what does not exist is said before the stream begins
        return StreamingResponse(self._stream(name, request), media_type="text/event-stream")

    async def _stream(self, name: str, request: Request) -> AsyncIterator[str]:
        """At first all parts, then those that changed, and every two seconds at least something."""
        if self._streams >= MOST_STREAMS:  # others came while all of them waited for the first content
            return
        last_parts, last_sent_s = dict[str, str](), 0.0
        self._streams += 1
        try:
            while await run_in_threadpool(self.goes_on, request):
                parts = (await self.current_content(name)).html_parts
                changes = {part: html for part, html in parts.items() if last_parts.get(part) != html}
                if changes or time.monotonic() - last_sent_s >= BEAT_S:
                    yield f"data: {json.dumps({'parts': changes})}\n\n"
                    last_parts, last_sent_s = parts, time.monotonic()
                await asyncio.sleep(POLL_S)
        finally:
            self._streams -= 1

    async def current_content(self, name: str) -> PageContent:
        """All parts; however many pages are open, the folder is read once."""
        async with self._one_reader:
            at_s, content = self._contents.get(name, (float("-inf"), None))
            if content is None or time.monotonic() - at_s >= POLL_S / 2:
                content = await run_in_threadpool(PageContent.at, self.home, name)
                self._contents = {
                    n: entry for n, entry in self._contents.items() if time.monotonic() - entry[0] < BEAT_S
                }
                self._contents[name] = time.monotonic(), content
            return content

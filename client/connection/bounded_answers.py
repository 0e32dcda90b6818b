"""What a site reads of an answer, whoever gives it: so many bytes and no more, not for ever, and nothing to unpack.

The coordinator's machine may have been taken over, and then says what it likes: an answer without an end would fill the
hospital's memory, one that drips would hold a command for ever.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

MOST_BYTES = 64 * 2**20
"""Of one answer; the largest that a gateway of ours gives is a piece of an array."""
PATIENCE_S, LEAST_BYTES_A_SECOND = 60.0, 1000
"""How long an answer may take, and a second more for so many bytes."""


@dataclass
class BoundedStream(httpx.SyncByteStream):
    """The bytes of an answer, as they come."""

    stream: httpx.SyncByteStream
    began_s: float = field(default_factory=time.monotonic)

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self.stream:
            size += len(piece)
            if size > MOST_BYTES:
                raise httpx.ReadError(f"its answer is longer than {MOST_BYTES // 2**20} MB")
            if time.monotonic() - self.began_s > PATIENCE_S + size / LEAST_BYTES_A_SECOND:
                raise httpx.ReadTimeout("its answer does not come to an end")
            yield piece

    def close(self) -> None:
        """Close the connection."""
        self.stream.close()


def bound(answer: httpx.Response) -> None:
    """Read no more of an answer than is bearable: a hook of a client's for what comes, before any of it is read.

    Raises:
        httpx.DecodingError: it is compressed, which nobody asked for: a few bytes could become gigabytes.
    """
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise httpx.DecodingError("its answer is compressed", request=answer.request)
    if isinstance(answer.stream, httpx.SyncByteStream):
        answer.stream = BoundedStream(answer.stream)


def bounded_client(**settings: Any) -> httpx.Client:
    """A client whose answers are bounded; settings as those of `httpx.Client`."""
    return httpx.Client(headers={"accept-encoding": "identity"}, event_hooks={"response": [bound]}, **settings)

"""Messages by our own gateway's short way: one whole in one answer, a whole reply in one request.

Flower's Fleet API moves a message in seven requests or more, each of which the SuperLink's web server takes 10 ms for,
and a long line as much as it takes. A coordinator whose gateway does not know these two addresses is asked as Flower
has it.
"""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx

from client.connection.fleet_client import (
    Clock,
    Link,
    NobodyWaitsError,
    UnknownKeyError,
    signed,
    told,
    trusting,
    unreachable,
)
from common.errors import LinkError, WireError
from common.secagg.audit import frame, read_frames

TAKE, GIVE, GOT = "/v1/consilium/take", "/v1/consilium/give", "consilium-got"
MOST_BYTES = 7 * 2**20
"""Of a reply that goes whole; a larger one goes in Flower's pieces, so that a line that breaks costs a piece."""
TIMEOUT_S = 30.0


class UnknownWayError(Exception):
    """The coordinator is reached by another way: no gateway of ours."""


@dataclass
class Express:
    """The short way."""

    link: Link
    clock: Clock
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._client = httpx.Client(
            base_url=f"https://{self.link.address}", verify=trusting(self.link), timeout=TIMEOUT_S
        )  # fmt: skip

    def take(self, got: str) -> list[bytes]:
        """The next message, as a PullMessagesResponse and objects of its content; nothing where none came in a while.

        Args:
            got: the last message that has safely arrived; any other is handed out again.

        Raises:
            UnknownWayError, UnknownKeyError: as they say.
            LinkError: for all that may be better soon.
        """
        answer = self._post(TAKE, b"", {GOT: got})
        try:
            return list(read_frames(BytesIO(answer.content)))
        except WireError:
            raise LinkError(f"{self.link.address} broke off in the middle of a message.") from None

    def give(self, parts: list[bytes]) -> None:
        """Hand in a reply: a PushMessagesRequest, then all its objects.

        Raises:
            NobodyWaitsError: its run is over. Others as `take`.
        """
        self._post(GIVE, b"".join(map(frame, parts)), {})

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        answer = self._once(path, body, headers)
        if self.clock.learn(answer.headers.get("date")) and answer.status_code == httpx.codes.UNAUTHORIZED:
            answer = self._once(path, body, headers)
        status = answer.status_code
        if answer.is_success:
            return answer
        code, said = told(answer)
        if status in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
            raise UnknownWayError
        if status == httpx.codes.GONE:
            raise NobodyWaitsError("its run is not going on any more")
        if status == httpx.codes.UNAUTHORIZED:
            raise UnknownKeyError(said)
        raise LinkError(f"{self.link.address} answers {status} ({code}: {said}). It may be restarting.")

    def _once(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        whole: dict[str, Any] = {**signed(self.link, self.clock), **headers}
        try:
            return self._client.post(path, content=body, headers=whole)
        except httpx.RequestError as error:
            raise LinkError(f"{self.link.address} {unreachable(error)}") from None

"""Messages by our own gateway's short way: one whole in one answer, a whole reply in one request.

Flower's Fleet API moves a message in seven requests or more, each of which the SuperLink's web server takes 10 ms for,
and a long line as much as it takes. A coordinator whose gateway does not know these two addresses is asked as Flower
has it.
"""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx

from client.connection.bounded_answers import bounded_client
from client.connection.fleet_client import (
    Clock,
    Endpoint,
    NobodyWaitsError,
    UnknownKeyError,
    error_of,
    signature_headers,
    tls_context,
    unreachable,
)
from common.errors import LinkError, WireError
from common.secagg.transcript import frame, read_frames

TAKE, GIVE, GOT = "/v1/consilium/take", "/v1/consilium/give", "consilium-got"
MOST_BYTES = 7 * 2**20
"""Of a reply that goes whole; a larger one goes in Flower's pieces, so that a line that breaks costs a piece."""
TIMEOUT_S = 30.0


class UnknownWayError(Exception):
    """The coordinator is reached by another way: no gateway of ours."""


@dataclass
class FastPath:
    """The gateway's short way for messages: one request each."""

    endpoint: Endpoint
    clock: Clock
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._client = bounded_client(
            base_url=f"https://{self.endpoint.address}", verify=tls_context(self.endpoint), timeout=TIMEOUT_S,
            proxy=self.endpoint.proxy or None,
        )  # fmt: skip

    def take(self, last_id: str) -> list[bytes]:
        """The next message, as a PullMessagesResponse and objects of its content; nothing where none came in a while.

        Args:
            last_id: the last message that has safely arrived; any other is handed out again.

        Raises:
            UnknownWayError, UnknownKeyError: as they say.
            LinkError: for all that may be better soon.
        """
        answer = self._post(TAKE, b"", {GOT: last_id})
        try:
            return list(read_frames(BytesIO(answer.content)))
        except WireError:
            raise LinkError(f"{self.endpoint.address} broke off in the middle of a message.") from None

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
        code, reason = error_of(answer)
        if status in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
            raise UnknownWayError
        if status == httpx.codes.GONE:
            raise NobodyWaitsError("its run is not going on any more")
        if status == httpx.codes.UNAUTHORIZED:
            raise UnknownKeyError(reason)
        raise LinkError(f"{self.endpoint.address} answers {status} ({code}: {reason}). It may be restarting.")

    def _once(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        whole: dict[str, Any] = {**signature_headers(self.endpoint, self.clock), **headers}
        try:
            return self._client.post(path, content=body, headers=whole)
        except httpx.RequestError as error:
            raise LinkError(f"{self.endpoint.address} {unreachable(error, self.endpoint.proxy)}") from None

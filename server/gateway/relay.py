"""Requests of Flower's Fleet API, passed on to the SuperLink, and its answers back.

The SuperLink serves on one port what sites may ask and what they must not. So nothing is passed on as it came: the path
is one of `FLEET`, the headers are those of `PASSED_ON`, the framing of the body is our own HTTP client's. A second
request that is hidden in a body or between two lengths of it (request smuggling), a header that a proxy believes, a
path that is decoded twice: none of them reaches the SuperLink.
"""

import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from starlette.requests import Request
from starlette.types import Send

from common.errors import LinkError
from server.gateway.push_guard import refuse_other_names
from server.gateway.request_limits import body_pieces, whole_body
from server.superlink.notify import COORDINATOR, Signal

log = logging.getLogger("consilium")

FLEET = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        "activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "push-messages", "get-run",
        "get-fab", "push-object", "pull-object", "confirm-message-received",
    )
)  # fmt: skip
"""All of Flower's but register-node and unregister-node: the coordinator alone says who is a node."""
PULL = "/v1/fleet/pull-messages"
PUSH = "/v1/fleet/push-messages"
PUSHES = {PUSH, "/v1/fleet/push-object"}
FLEET_BYTES, PUSH_BYTES = 64 * 2**20, 2 * 2**20
PASSED_ON = ("content-type", "content-length", "accept", "accept-encoding", "flwr-")
PASSED_BACK = ("content-type", "content-length", "content-encoding", "flwr-")
# The SuperLink closes after 5 s: a connection that it closes while we begin to use it would be a request lost.
UPSTREAM_KEEP_ALIVE_S = 3.0


class Relay:
    """The way to the SuperLink and back.

    Args:
        superlink: its URL on this machine.
        authority: the consortium's certificate, PEM, by which the SuperLink shows who it is.
        signals: the folder of the signals between processes (server/superlink/notify.py).
    """

    def __init__(self, superlink: str, authority: Path, signals: Path) -> None:
        self._superlink = superlink
        self._signals = signals
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=str(authority)),
            trust_env=False,  # no proxy stands between two processes of one machine
            timeout=httpx.Timeout(60.0, connect=5.0, pool=10.0),
            limits=httpx.Limits(max_connections=200, keepalive_expiry=UPSTREAM_KEEP_ALIVE_S),
        )

    async def close(self) -> None:
        """Close the connections to the SuperLink."""
        await self._client.aclose()

    async def forward(self, site: str, path: str, request: Request, send: Send) -> None:
        """One request to the SuperLink and its answer back, piece by piece.

        Raises:
            LinkError: the SuperLink does not answer.
            IdentityError: a push of messages in another node's name.
        """
        headers = {k: v for k, v in request.headers.items() if k.startswith(PASSED_ON)}
        body: AsyncIterator[bytes] | bytes = body_pieces(request, FLEET_BYTES)
        if path == PUSH:
            body = await whole_body(request, PUSH_BYTES)
            refuse_other_names(body)
        has_begun = False
        try:
            async with self._client.stream("POST", self._superlink + path, headers=headers, content=body) as answer:
                back = [(k, v) for k, v in answer.headers.raw if k.decode().lower().startswith(PASSED_BACK)]
                has_begun = True
                await send({"type": "http.response.start", "status": answer.status_code, "headers": back})
                async for piece in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            if path in PUSHES:
                Signal(self._signals / COORDINATOR).send()
        except httpx.TransportError as error:
            log.warning("the SuperLink did not answer %s of %s: %s", path, site, str(error) or type(error).__name__)
            if not has_begun:  # else nothing can be said any more: the server closes the connection
                raise LinkError("the coordinator's SuperLink does not answer; it is being restarted.") from None

"""The one door of the coordinator: what sites may ask Flower's SuperLink, and a board of our own. All else is refused.

The SuperLink serves on one port what sites may ask and what they must not. The gateway lets its Fleet API through,
and of it only requests that a member's node signed, within Flower's window, each one once. It passes nothing on as it
came: path, headers and framing are its own, so that nothing can hide in them.

    POST /v1/fleet/…              to the SuperLink, signed with the node's key (Flower's headers)
    GET  /v1/consilium/board      roster and plans, signed with the site's identity (common/credentials.py)
    POST /v1/consilium/decision   a signed decision on a plan, likewise
    POST /v1/consilium/doing      what the site is doing, likewise
    GET  /v1/consilium/health     for anybody: that the gateway runs, and its time
"""

import asyncio
import json
import logging
import resource
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from common.command import exit_status
from common.errors import ConsiliumError, IdentityError, LinkError, SecAggError, WireError
from server.board import FolderBoard
from server.doorkeeper import Doorkeeper
from server.home import Home
from server.impatience import Impatient

log = logging.getLogger("consilium")

FLEET = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        "activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "push-messages", "get-run",
        "get-fab", "push-object", "pull-object", "confirm-message-received",
    )
)  # fmt: skip
"""All of Flower's but register-node and unregister-node: the coordinator alone says who is a node."""
BOARD = "/v1/consilium/"
FLEET_BYTES, BOARD_BYTES = 64 * 2**20, 16 * 2**10
BODY_S = 30.0
"""How long a member may pause within a body; all of one to the board must come within as much."""
AT_ONCE = 16
"""Requests of one site that are under way."""
CONNECTIONS = 1000
KEEP_ALIVE_S = 75
# The SuperLink closes after 5 s: a connection that it closes while we begin to use it would be a request lost.
UPSTREAM_KEEP_ALIVE_S = 3.0
PASSED_ON = ("content-type", "content-length", "accept", "accept-encoding", "flwr-")
PASSED_BACK = ("content-type", "content-length", "content-encoding", "flwr-")

CLOSE = {"connection": "close"}

Json = dict[str, Any]


class Board(Protocol):
    """What the gateway tells sites and hears from them: server/board.py. Called by one thread at a time.

    Raises:
        ConsiliumError: every method; the site is told.
    """

    def board(self, site: str) -> Json:
        """Roster and plans for one site."""

    def decision(self, site: str, told: Json) -> Json:
        """Take a site's decision on a plan."""

    def doing(self, site: str, told: Json) -> Json:
        """Take what a site says it is doing."""


class RefusedError(Exception):
    """A request that gets no further."""

    def __init__(self, status: int, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.cause = status, cause


class Gateway:
    """The application.

    Args:
        superlink: its URL on this machine.
        authority: the consortium's certificate, PEM, by which the SuperLink shows who it is.
    """

    def __init__(self, doorkeeper: Doorkeeper, board: Board, superlink: str, authority: Path) -> None:
        self._doorkeeper, self._board, self._superlink = doorkeeper, board, superlink
        self._busy: Counter[str] = Counter()
        self._writing = asyncio.Lock()
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=str(authority)),
            trust_env=False,  # no proxy stands between two processes of one machine
            timeout=httpx.Timeout(60.0, connect=5.0, pool=10.0),
            limits=httpx.Limits(max_connections=200, keepalive_expiry=UPSTREAM_KEEP_ALIVE_S),
        )

    def app(self) -> Starlette:
        """As an ASGI application with its background work."""
        return Starlette(routes=[Mount("/", app=self._answer)], lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        noting = asyncio.create_task(self._note())
        yield
        noting.cancel()
        self._doorkeeper.note()
        await self._client.aclose()

    async def _note(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._doorkeeper.note()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await self._route(request, send)
        except ClientDisconnect:
            return
        except RefusedError as error:
            await self._refuse(request, send, error)
        except IdentityError as error:
            await self._refuse(request, send, RefusedError(401, error.cause, str(error)))
        except LinkError as error:
            await self._refuse(request, send, RefusedError(503, "unavailable", str(error)))

    async def _route(self, request: Request, send: Send) -> None:
        # Compared as it came, before anything is decoded: what is not one of these, letter by letter, does not exist.
        path = request.scope["raw_path"].decode("ascii", "replace")
        headers, asked = request.headers, (request.method, path)
        if "transfer-encoding" in headers and "content-length" in headers:
            raise RefusedError(400, "malformed", "a body of two lengths.")
        if request.method == "POST" and path in FLEET:
            await self._forward(self._doorkeeper.node(headers), path, request, send)
        elif asked == ("GET", f"{BOARD}health"):
            told = {"ok": True, "now_s": time.time()}
            await JSONResponse(told, headers=CLOSE)(request.scope, request.receive, send)
        elif asked == ("GET", f"{BOARD}board"):
            await self._ask(lambda site, _: self._board.board(site), path, request, send)
        elif asked == ("POST", f"{BOARD}decision"):
            await self._ask(self._board.decision, path, request, send)
        elif asked == ("POST", f"{BOARD}doing"):
            await self._ask(self._board.doing, path, request, send)
        else:
            raise RefusedError(404, "not-found", "there is nothing here.")

    async def _ask(self, handler: Callable[[str, Json], Json], path: str, request: Request, send: Send) -> None:
        """One question to the board."""
        try:
            async with asyncio.timeout(BODY_S):
                body = b"".join([piece async for piece in _body(request, BOARD_BYTES)])
        except TimeoutError:
            raise RefusedError(408, "slow", "the body did not come in time.") from None
        site = self._doorkeeper.site(request.headers, request.method, path, body)
        try:
            told = json.loads(body) if body else {}
            if not isinstance(told, dict):
                raise WireError("expected an object, JSON.")
            async with self._writing:
                answer = await run_in_threadpool(handler, site, told)
        except (ValueError, RecursionError):
            raise RefusedError(400, "WIRE", "expected an object, JSON.") from None
        except ConsiliumError as error:
            cause = error.cause if isinstance(error, SecAggError) else error.code
            raise RefusedError(400, cause, str(error)) from None
        except OSError as error:
            raise LinkError(f"the coordinator could not take it down ({error.strerror}). Try again later.") from None
        await JSONResponse(answer)(request.scope, request.receive, send)

    async def _forward(self, site: str, path: str, request: Request, send: Send) -> None:
        """One request to the SuperLink and its answer back, piece by piece."""
        if self._busy[site] >= AT_ONCE:
            raise LinkError(f"more than {AT_ONCE} requests of one site at a time. Wait for an answer.")
        self._busy[site] += 1
        begun = False
        try:
            headers = {k: v for k, v in request.headers.items() if k.startswith(PASSED_ON)}
            body = _body(request, FLEET_BYTES)
            async with self._client.stream("POST", self._superlink + path, headers=headers, content=body) as answer:
                back = [(k, v) for k, v in answer.headers.raw if k.decode().lower().startswith(PASSED_BACK)]
                begun = True
                await send({"type": "http.response.start", "status": answer.status_code, "headers": back})
                async for piece in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except httpx.TransportError as error:
            log.warning("the SuperLink did not answer %s of %s: %s", path, site, str(error) or type(error).__name__)
            if not begun:  # else nothing can be said any more: the server closes the connection
                raise LinkError("the coordinator's SuperLink does not answer; it is being restarted.") from None
        finally:
            self._busy[site] -= 1

    async def _refuse(self, request: Request, send: Send, why: RefusedError) -> None:
        client = request.client.host if request.client else "?"
        path = request.scope["raw_path"][:100]
        log.warning("refused (%d %s): %s %r from %s", why.status, why.cause, request.method[:20], path, client)
        response = JSONResponse({"error": why.cause, "detail": str(why)}, why.status, CLOSE)
        await response(request.scope, request.receive, send)


async def _body(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    """A request's body, piece by piece.

    Raises:
        RefusedError: too long, or too slow.
    """
    length, more = 0, True
    if int(request.headers.get("content-length", "0")) > most_bytes:
        raise RefusedError(413, "too-large", f"more than {most_bytes} bytes.")
    while more:
        try:
            async with asyncio.timeout(BODY_S):
                message = await request.receive()
        except TimeoutError:
            raise RefusedError(408, "slow", "the body did not come in time.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece, more = message.get("body", b""), message.get("more_body", False)
        if (length := length + len(piece)) > most_bytes:
            raise RefusedError(413, "too-large", f"more than {most_bytes} bytes.")
        if piece:
            yield piece


def server(home: Home, board: Board) -> uvicorn.Server:
    """The gateway of a coordinator's folder; its `run` serves until SIGTERM.

    Raises:
        ConsiliumError: no consortium there, or one with a fault.
    """
    settings, tls = home.settings, home.folder / "tls"
    home.identities()  # an error of the roster is better told now
    doorkeeper = Doorkeeper(home, [home.folder / "roster", home.folder / "sites"], home.live / "heard.json")
    gateway = Gateway(doorkeeper, board, f"https://127.0.0.1:{settings.superlink_port}", home.authority)
    config = uvicorn.Config(
        gateway.app(), settings.listen, settings.port, http=Impatient, ws="none", lifespan="on", log_config=None,
        access_log=False, proxy_headers=False, server_header=False, limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=1,
        ssl_certfile=tls / "server.crt", ssl_keyfile=tls / "server.key",
    )  # fmt: skip
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return uvicorn.Server(config)


def main(folder: Path) -> int:
    """Serve; what is worth knowing goes to the standard error stream, and from there to the supervisor's log."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a connection is a file; the usual 1024 are soon used up by a stranger
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    home = Home(folder)
    server(home, FolderBoard(home)).run()
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(Path(sys.argv[1])), "the gateway has ended."))

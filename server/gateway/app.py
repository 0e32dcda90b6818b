"""The one door of the coordinator: what sites may ask Flower's SuperLink, and a board of our own. All else is refused.

The SuperLink serves on one port what sites may ask and what they must not. The gateway lets its Fleet API through,
and of it only requests that a member's node signed, within Flower's window, each one once. It passes nothing on as it
came: path, headers and framing are its own, so that nothing can hide in them.

    POST /v1/fleet/…              to the SuperLink, signed with the node's key (Flower's headers)
    POST /v1/consilium/take       the next message for a node, whole, signed like the Fleet API; waits for one a while
    POST /v1/consilium/give       a node's whole reply, likewise
    GET  /v1/consilium/board      roster and plans, signed with the site's identity (common/trust/request_signing.py)
    POST /v1/consilium/decision   a signed decision on a plan, likewise
    POST /v1/consilium/doing      what the site is doing, likewise
    POST /v1/consilium/history    a signed head of the coordinator's log, and proof that it extends one before, likewise
    GET  /v1/consilium/health     for anybody: that the gateway runs, and its time
"""

import asyncio
import json
import logging
import resource
import ssl
import time
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from common.errors import ConsiliumError, IdentityError, LinkError, SecAggError, WireError
from common.secagg.audit import frame, read_frames
from server.consortium.home import Home
from server.gateway.authentication import PUBLIC_KEY, Doorkeeper
from server.gateway.http_limits import Impatient
from server.gateway.push_guard import refuse_other_names
from server.gateway.site_api import FolderBoard
from server.superlink.notify import COORDINATOR, Bell
from server.superlink.store import Handed, OverError, Store

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
OFFER_BYTES, PIECE_BYTES = 64 * 2**10, 512 * 2**10
"""An entry of the catalogue, and a piece of a package as base64."""
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

FRAMES, GOT = "application/octet-stream", "consilium-got"
TAKE_BYTES, GIVE_BYTES = 2 * 2**20, 8 * 2**20
HOLD_S, LOOK_S, BELL_S = 4.0, 1.0, 0.005
"""How long a node's question is held, how often it is looked for a message, and how often for the bell meanwhile."""
PULL = "/v1/fleet/pull-messages"
PUSH, PUSH_BYTES = "/v1/fleet/push-messages", 2 * 2**20
PUSHES = {PUSH, "/v1/fleet/push-object"}

Json = dict[str, Any]


class Board(Protocol):
    """What the gateway tells sites and hears from them: server/gateway/site_api.py. Called by one thread at a time.

    Raises:
        ConsiliumError: every method; the site is told.
    """

    def board(self, site: str) -> Json:
        """Roster and plans for one site."""

    def decision(self, site: str, told: Json) -> Json:
        """Take a site's decision on a plan."""

    def doing(self, site: str, told: Json) -> Json:
        """Take what a site says it is doing."""

    def history(self, site: str, told: Json) -> Json:
        """What was done at the coordinator: a signed head, and proof that it extends the one that the site saw last."""

    def catalogue(self, site: str, told: Json) -> Json:
        """What all partners offer."""

    def offer(self, site: str, told: Json) -> Json:
        """Take what a site offers."""

    def deposit(self, site: str, told: Json) -> Json:
        """Take a piece of a package that a site will offer."""

    def package(self, site: str, told: Json) -> Json:
        """Give a piece of a package that is offered."""


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
        live: where the SuperLink's database is, and the bells.
    """

    def __init__(self, doorkeeper: Doorkeeper, board: Board, superlink: str, authority: Path, live: Path) -> None:
        self._doorkeeper, self._board, self._superlink = doorkeeper, board, superlink
        self._store, self._bells = Store(live / "flower" / "state.db"), live / "bells"
        self._asked: dict[str, tuple[Callable[[str, Json], Json], int]] = {
            f"{BOARD}decision": (board.decision, BOARD_BYTES), f"{BOARD}doing": (board.doing, BOARD_BYTES),
            f"{BOARD}history": (board.history, BOARD_BYTES), f"{BOARD}catalogue": (board.catalogue, BOARD_BYTES),
            f"{BOARD}offer": (board.offer, OFFER_BYTES), f"{BOARD}deposit": (board.deposit, PIECE_BYTES),
            f"{BOARD}package": (board.package, BOARD_BYTES),
        }  # fmt: skip
        """Who answers what a site posts to the board, and the most bytes that are read of it."""
        self._handed: dict[str, Handed] = {}
        """What each site was handed and may not have got."""
        self._taking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
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
        except WireError as error:
            await self._refuse(request, send, RefusedError(400, error.code, str(error)))

    async def _route(self, request: Request, send: Send) -> None:
        # Compared as it came, before anything is decoded: what is not one of these, letter by letter, does not exist.
        path = request.scope["raw_path"].decode("ascii", "replace")
        headers, asked = request.headers, (request.method, path)
        if "transfer-encoding" in headers and "content-length" in headers:
            raise RefusedError(400, "malformed", "a body of two lengths.")
        if request.method == "POST" and path in FLEET:
            await self._forward(self._node(request), path, request, send)
        elif asked == ("POST", f"{BOARD}take"):
            await self._counted(self._take, request, send)
        elif asked == ("POST", f"{BOARD}give"):
            await self._counted(self._give, request, send)
        elif asked == ("GET", f"{BOARD}health"):
            told = {"ok": True, "now_s": time.time()}
            await JSONResponse(told, headers=CLOSE)(request.scope, request.receive, send)
        elif asked == ("GET", f"{BOARD}board"):
            await self._ask(lambda site, _: self._board.board(site), BOARD_BYTES, path, request, send)
        elif request.method == "POST" and path in self._asked:
            await self._ask(*self._asked[path], path, request, send)
        else:
            raise RefusedError(404, "not-found", "there is nothing here.")

    def _node(self, request: Request) -> str:
        """The site whose node asks; its connection is remembered."""
        site = self._doorkeeper.node(request.headers)
        self._doorkeeper.holds(site, request.scope["lost"])
        return site

    async def _ask(
        self, handler: Callable[[str, Json], Json], most_bytes: int, path: str, request: Request, send: Send
    ) -> None:
        """One question to the board."""
        try:
            async with asyncio.timeout(BODY_S):
                body = b"".join([piece async for piece in _body(request, most_bytes)])
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

    async def _counted(
        self, handle: Callable[[str, int, Request], Awaitable[Response]], request: Request, send: Send
    ) -> None:
        """A question of a node about its messages, which is answered out of Flower's database."""
        site = self._node(request)
        self._refuse_too_busy(site)
        self._busy[site] += 1
        try:
            node = await run_in_threadpool(self._store.node, b64decode(request.headers[PUBLIC_KEY]))
            if node is None:
                raise IdentityError("not-registered", "this node is not registered yet. Try again in a moment.")
            response = await handle(site, node, request)
        except OverError as error:
            response = JSONResponse({"error": "over", "detail": str(error)}, 410)
        except WireError as error:
            raise RefusedError(400, error.code, str(error)) from None
        finally:
            self._busy[site] -= 1
        await response(request.scope, request.receive, send)

    async def _take(self, site: str, node: int, request: Request) -> Response:
        """The next message for a node, whole where it is small; waits for one a while.

        What was handed out is handed out again until the node says that it has got it: a line may break in between.
        """
        self._doorkeeper.takes(site, True)
        got, handed = request.headers.get(GOT, ""), self._handed.get(site)
        if handed and handed.name != got:
            return _whole(handed)
        if handed:
            del self._handed[site]
            with suppress(OverError):  # with its run, all of it is freed
                await run_in_threadpool(self._store.confirm, node, handed)
        bell, until_s = Bell(self._bells / site), time.monotonic() + HOLD_S
        while time.monotonic() < until_s:
            rung, again_s = bell.rung(), time.monotonic() + LOOK_S
            async with self._taking[site]:  # an earlier question may wait beside this one, on a line that is dead
                handed = self._handed.get(site) or await run_in_threadpool(self._store.take, node, TAKE_BYTES)
                if handed:
                    self._handed[site] = handed
                    return _whole(handed)
            while bell.rung() == rung and time.monotonic() < again_s:
                await asyncio.sleep(BELL_S)
        return Response(status_code=204)

    async def _give(self, site: str, node: int, request: Request) -> Response:
        """A node's whole reply."""
        body = b"".join([piece async for piece in _body(request, GIVE_BYTES)])
        parts = list(read_frames(BytesIO(body)))
        await run_in_threadpool(self._store.give, node, parts)
        Bell(self._bells / COORDINATOR).ring()
        return JSONResponse({})

    async def _forward(self, site: str, path: str, request: Request, send: Send) -> None:
        """One request to the SuperLink and its answer back, piece by piece."""
        if path == PULL:
            self._doorkeeper.takes(site, False)
        self._refuse_too_busy(site)
        self._busy[site] += 1
        begun = False
        try:
            headers = {k: v for k, v in request.headers.items() if k.startswith(PASSED_ON)}
            body: AsyncIterator[bytes] | bytes = _body(request, FLEET_BYTES)
            if path == PUSH:
                body = b"".join([piece async for piece in _body(request, PUSH_BYTES)])
                refuse_other_names(body)
            async with self._client.stream("POST", self._superlink + path, headers=headers, content=body) as answer:
                back = [(k, v) for k, v in answer.headers.raw if k.decode().lower().startswith(PASSED_BACK)]
                begun = True
                await send({"type": "http.response.start", "status": answer.status_code, "headers": back})
                async for piece in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            if path in PUSHES:
                Bell(self._bells / COORDINATOR).ring()
        except httpx.TransportError as error:
            log.warning("the SuperLink did not answer %s of %s: %s", path, site, str(error) or type(error).__name__)
            if not begun:  # else nothing can be said any more: the server closes the connection
                raise LinkError("the coordinator's SuperLink does not answer; it is being restarted.") from None
        finally:
            self._busy[site] -= 1

    def _refuse_too_busy(self, site: str) -> None:
        if self._busy[site] >= AT_ONCE:
            raise LinkError(f"more than {AT_ONCE} requests of one site at a time. Wait for an answer.")

    async def _refuse(self, request: Request, send: Send, why: RefusedError) -> None:
        client = request.client.host if request.client else "?"
        path = request.scope["raw_path"][:100]
        log.warning("refused (%d %s): %s %r from %s", why.status, why.cause, request.method[:20], path, client)
        response = JSONResponse({"error": why.cause, "detail": str(why)}, why.status, CLOSE)
        await response(request.scope, request.receive, send)


def _whole(handed: Handed) -> Response:
    return Response(b"".join(map(frame, handed.parts)), media_type=FRAMES)


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
    superlink = f"https://127.0.0.1:{settings.superlink_port}"
    gateway = Gateway(doorkeeper, board, superlink, home.authority, home.live)
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
    logging.getLogger("flwr").setLevel(logging.WARNING)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a connection is a file; the usual 1024 are soon used up by a stranger
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    home = Home(folder)
    server(home, FolderBoard(home)).run()
    return 0

"""What may be asked at the gateway, by whom, and who answers. All else does not exist.

POST /v1/fleet/…              to the SuperLink, signed with the node's key (Flower's headers): relay.py
POST /v1/consilium/take       the next message for a node, whole, signed like the Fleet API: whole_messages.py
POST /v1/consilium/give       a node's whole reply, likewise
GET  /v1/consilium/board      roster and plans, signed with the site's identity: site_api.py
POST /v1/consilium/decision   a signed decision on a plan, likewise
POST /v1/consilium/doing      what the site is doing, likewise
POST /v1/consilium/history    a signed head of the coordinator's log, and proof that it extends one before, likewise
POST /v1/consilium/catalogue  what all partners offer, likewise
POST /v1/consilium/offer      what this site offers, or withdraws, likewise
POST /v1/consilium/deposit    a piece of a package that this site will offer, likewise
POST /v1/consilium/package    a piece of a package that is offered, likewise
GET  /v1/consilium/health     for anybody: that the gateway runs, and its time
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Send

from common.errors import ConsiliumError, LinkError, SecAggError, WireError
from common.web.http_limits import ON_LOST
from server.gateway.authentication import RequestAuthentication
from server.gateway.relay import FLEET, PULL, Relay
from server.gateway.request_limits import RequestRefusedError, SiteLoad, whole_body_soon
from server.gateway.site_contacts import SiteContacts
from server.gateway.whole_messages import Handler, WholeMessages

OURS = "/v1/consilium/"
SITE_BYTES = 16 * 2**10
OFFER_BYTES, PIECE_BYTES = 64 * 2**10, 512 * 2**10
"""An entry of the catalogue, and a piece of a package as base64."""
CLOSE = {"connection": "close"}

Json = dict[str, Any]


class SiteApi(Protocol):
    """What the gateway tells sites and hears from them: server/gateway/site_api.py. Called by one thread at a time.

    Raises:
        ConsiliumError: every method; the site is told.
    """

    def roster_and_plans(self, site: str) -> Json:
        """Roster and plans for one site."""

    def take_decision(self, site: str, content: Json) -> Json:
        """Take a site's decision on a plan."""

    def take_activity(self, site: str, content: Json) -> Json:
        """Take what a site says it is doing."""

    def log_head(self, site: str, content: Json) -> Json:
        """What was done at the coordinator: a signed head, and proof that it extends the one that the site saw last."""

    def catalogue(self, site: str, content: Json) -> Json:
        """What all partners offer."""

    def take_offer(self, site: str, content: Json) -> Json:
        """Take what a site offers."""

    def take_package_piece(self, site: str, content: Json) -> Json:
        """Take a piece of a package that a site will offer."""

    def package_piece(self, site: str, content: Json) -> Json:
        """Give a piece of a package that is offered."""


class Router:
    """Leads each request to who answers it, once it is known who asks."""

    def __init__(
        self,
        authentication: RequestAuthentication,
        contacts: SiteContacts,
        site_api: SiteApi,
        relay: Relay,
        messages: WholeMessages,
    ) -> None:
        self._authentication = authentication
        self._contacts = contacts
        self._site_api = site_api
        self._relay = relay
        self._messages = messages
        self._load = SiteLoad()
        self._posts: dict[str, tuple[Callable[[str, Json], Json], int]] = {
            f"{OURS}decision": (site_api.take_decision, SITE_BYTES),
            f"{OURS}doing": (site_api.take_activity, SITE_BYTES),
            f"{OURS}history": (site_api.log_head, SITE_BYTES),
            f"{OURS}catalogue": (site_api.catalogue, SITE_BYTES),
            f"{OURS}offer": (site_api.take_offer, OFFER_BYTES),
            f"{OURS}deposit": (site_api.take_package_piece, PIECE_BYTES),
            f"{OURS}package": (site_api.package_piece, SITE_BYTES),
        }
        """Who answers what a site posts, and the most bytes that are read of it."""
        self._one_writer = asyncio.Lock()

    async def answer(self, request: Request, send: Send) -> None:
        """Answer one request.

        Raises:
            RequestRefusedError: it asks for what does not exist, or is too much.
            IdentityError: not signed by who may ask.
            LinkError, WireError: as those raise who answer.
        """
        # Compared as it came, before anything is decoded: what is not one of these, letter by letter, does not exist.
        # So %2e%2e, a second slash, a host within the path or a query cannot make another path of an allowed one.
        path = request.scope["raw_path"].decode("ascii", "replace")
        wish = (request.method, path)
        # Two lengths of one body: the one server believes the first, the next one the second, and what lies between
        # them is a request that nobody has checked.
        if "transfer-encoding" in request.headers and "content-length" in request.headers:
            raise RequestRefusedError(400, "malformed", "a body of two lengths.")
        if request.method == "POST" and path in FLEET:
            await self._forward(path, request, send)
        elif wish == ("POST", f"{OURS}take"):
            await self._exchange_whole(self._take, request, send)
        elif wish == ("POST", f"{OURS}give"):
            await self._exchange_whole(self._messages.give, request, send)
        elif wish == ("GET", f"{OURS}health"):
            health = JSONResponse({"ok": True, "now_s": time.time()}, headers=CLOSE)
            await health(request.scope, request.receive, send)
        elif wish == ("GET", f"{OURS}board"):
            await self._ask(lambda site, _: self._site_api.roster_and_plans(site), SITE_BYTES, path, request, send)
        elif request.method == "POST" and path in self._posts:
            await self._ask(*self._posts[path], path, request, send)
        else:
            raise RequestRefusedError(404, "not-found", "there is nothing here.")

    def _site_of_node(self, request: Request) -> str:
        """The site whose node asks; its connection is counted among the site's."""
        site = self._authentication.site_of_node(request.headers)
        self._contacts.count_connection(site, request.scope[ON_LOST])
        return site

    async def _forward(self, path: str, request: Request, send: Send) -> None:
        """A request of a node to Flower's Fleet API."""
        site = self._site_of_node(request)
        if path == PULL:
            self._contacts.note_path(site, fast=False)
        with self._load.one_more(site):
            await self._relay.forward(site, path, request, send)

    async def _exchange_whole(self, handler: Handler, request: Request, send: Send) -> None:
        """A request of a node about its messages, which is answered out of Flower's database."""
        site = self._site_of_node(request)
        with self._load.one_more(site):
            response = await self._messages.answer(handler, site, request)
        await response(request.scope, request.receive, send)

    async def _take(self, site: str, node: int, request: Request) -> Response:
        self._contacts.note_path(site, fast=True)
        return await self._messages.take(site, node, request)

    async def _ask(
        self, handler: Callable[[str, Json], Json], most_bytes: int, path: str, request: Request, send: Send
    ) -> None:
        """One request to the site API."""
        # The signature covers the body, so a stranger's is read too: little of it, and not for long.
        body = await whole_body_soon(request, most_bytes)
        site = self._authentication.site_of_identity(request.headers, request.method, path, body)
        try:
            content = json.loads(body) if body else {}
            if not isinstance(content, dict):
                raise WireError("expected an object, JSON.")
            async with self._one_writer:
                answer = await run_in_threadpool(handler, site, content)
        except (ValueError, RecursionError):  # not JSON, or nested so deep that reading it would end the process
            raise RequestRefusedError(400, "WIRE", "expected an object, JSON.") from None
        except ConsiliumError as error:
            cause = error.cause if isinstance(error, SecAggError) else error.code
            raise RequestRefusedError(400, cause, str(error)) from None
        except OSError as error:
            raise LinkError(f"the coordinator could not take it down ({error.strerror}). Try again later.") from None
        await JSONResponse(answer)(request.scope, request.receive, send)

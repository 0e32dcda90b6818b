"""The gateway: the one process of the coordinator that is reached from outside. It lets nothing through as it came.

Behind it is Flower's SuperLink, which serves on one port what sites may ask and what they must not (submit a run,
register a node). The gateway lets its Fleet API through, and of it only requests that a member's node signed, within
Flower's window, each one once; beside it there is an API of our own for sites.

    http_limits      before a request: an end to headers that are slow or endless
    routes           what may be asked, by whom; all else does not exist
    authentication   which member asks
    request_limits   how much one request and one site may take
    relay            Flower's Fleet API, passed on to the SuperLink
    push_guard       whose names stand in what a node pushes
    whole_messages   the fast path: messages straight out of Flower's database
    site_api         roster, plans, decisions, the log, the catalogue: the coordinator's folder as sites see it
    site_contacts    when each site was heard
"""

import asyncio
import logging
import resource
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from common.errors import IdentityError, LinkError, WireError
from common.web.http_limits import LimitedHttp
from server.consortium import certificate
from server.consortium.home import Home
from server.gateway.authentication import RequestAuthentication
from server.gateway.relay import Relay
from server.gateway.request_limits import RequestRefusedError
from server.gateway.routes import CLOSE, Router, SiteApi
from server.gateway.site_api import FolderSiteApi
from server.gateway.site_contacts import SiteContacts
from server.gateway.whole_messages import WholeMessages
from server.superlink.store import MessageStore

log = logging.getLogger("consilium")

CONNECTIONS = 1000
LOOK_AT_CERTIFICATE_S = 1.0
KEEP_ALIVE_S = 75
SAVE_S = 1.0
"""How often is written down when sites were heard."""


class Gateway:
    """The application: answers requests, or says why not; writes down when sites were heard."""

    def __init__(self, router: Router, relay: Relay, messages: WholeMessages, contacts: SiteContacts) -> None:
        self._router = router
        self._relay = relay
        self._messages = messages
        self._contacts = contacts

    @classmethod
    def of(cls, home: Home, site_api: SiteApi) -> "Gateway":
        """The gateway of a coordinator's folder."""
        signals = home.live / "bells"
        contacts = SiteContacts(home.live / "heard.json")
        authentication = RequestAuthentication(home, [home.folder / "roster", home.folder / "sites"], contacts)
        relay = Relay(f"https://127.0.0.1:{home.settings.superlink_port}", home.authority, signals)
        messages = WholeMessages(MessageStore(home.live / "flower" / "state.db"), signals)
        return cls(Router(authentication, contacts, site_api, relay, messages), relay, messages, contacts)

    def app(self, beside: Callable[[], Coroutine[Any, Any, None]]) -> Starlette:
        """As an ASGI application with its background work, and what else goes on as long as it serves."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            tasks = [asyncio.create_task(work()) for work in (self._save_contacts, beside)]
            yield
            for task in tasks:
                task.cancel()
            await self._close()

        return Starlette(routes=[Mount("/", app=self._answer)], lifespan=lifespan)

    async def _close(self) -> None:
        self._contacts.save()
        self._messages.close()
        await self._relay.close()

    async def _save_contacts(self) -> None:
        while True:
            await asyncio.sleep(SAVE_S)
            self._contacts.save()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await self._router.answer(request, send)
        except ClientDisconnect:
            return
        except RequestRefusedError as error:
            await _refuse(request, send, error)
        except IdentityError as error:
            await _refuse(request, send, RequestRefusedError(401, error.cause, str(error)))
        except LinkError as error:
            await _refuse(request, send, RequestRefusedError(503, "unavailable", str(error)))
        except WireError as error:
            await _refuse(request, send, RequestRefusedError(400, error.code, str(error)))


async def _refuse(request: Request, send: Send, error: RequestRefusedError) -> None:
    """Answer that a request is refused, and close its connection: what is left of its body is not read."""
    client = request.client.host if request.client else "?"
    # %r, and cut: a path is a stranger's text, which must not write lines of its own into this log, nor fill it.
    path = request.scope["raw_path"][:100]
    log.warning("refused (%d %s): %s %r from %s", error.status, error.cause, request.method[:20], path, client)
    response = JSONResponse({"error": error.cause, "detail": str(error)}, error.status, CLOSE)
    await response(request.scope, request.receive, send)


def server(home: Home, site_api: SiteApi) -> uvicorn.Server:
    """The gateway of a coordinator's folder; its `run` serves until SIGTERM.

    Raises:
        ConsiliumError: no consortium there, or one with a fault.
    """
    settings, tls = home.settings, home.folder / "tls"
    home.identities()  # an error of the roster is better told now
    config = uvicorn.Config(
        Gateway.of(home, site_api).app(lambda: _take_up_certificates(home, config)), settings.listen, settings.port,
        http=LimitedHttp, ws="none", lifespan="on",
        log_config=None, access_log=False, proxy_headers=False, server_header=False, limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=1,
        ssl_certfile=tls / "server.crt", ssl_keyfile=tls / "server.key",
    )  # fmt: skip
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return uvicorn.Server(config)


async def _take_up_certificates(home: Home, config: uvicorn.Config) -> None:
    """Connections from then on get a certificate that was renewed; those that are open stay as they are."""
    changed_ns, crt = certificate.changed_ns(home), certificate.certificate_file(home)
    while (context := config.ssl) is not None:
        await asyncio.sleep(LOOK_AT_CERTIFICATE_S)
        try:
            if changed_ns == (now_ns := certificate.changed_ns(home)):
                continue
            context.load_cert_chain(crt, home.folder / "tls" / "server.key")
            changed_ns = now_ns
            log.info("the gateway has a new certificate")
        except (OSError, ssl.SSLError) as error:  # half of the pair is written: looked at again
            log.warning("the new certificate cannot be taken up: %s", error)


def main(folder: Path) -> int:
    """Serve; what is worth knowing goes to the standard error stream, and from there to the supervisor's log."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    logging.getLogger("flwr").setLevel(logging.WARNING)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a connection is a file; the usual 1024 are soon used up by a stranger
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    home = Home(folder)
    server(home, FolderSiteApi(home)).run()
    return 0

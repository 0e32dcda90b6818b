"""A page's application: who is let in, before anything is answered, and what a browser is told not to do.

GET  /                       the page; ?token=… exchanges a link for a session
GET  /session                204: this session goes on
GET, POST /login             and POST /logout
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.audit.entries import Outcome
from common.errors import ConfigError, ConsiliumError
from common.web.form import form_fields
from common.web.login import Login, LoginRefusedError
from common.web.markup import Child, el
from common.web.page_frame import ASSETS, asset, page

OPEN = frozenset({"/login", "/page.css"})
"""What whoever is not logged in gets."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "x-frame-options": "DENY", "x-content-type-options": "nosniff", "cache-control": "no-store",
    "referrer-policy": "same-origin",  # without any, a browser would not say where a form comes from
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}  # fmt: skip


@dataclass
class PageApp:
    """A page as a web application, and who is let in.

    Args:
        owner: whose page it is.
        how: how people get in where there is no password, for the login page.
        routes: the addresses behind the login.
        ways: addresses of the pages there are, with their names.
        hosts: names under which the page may be asked for; another is somebody else's page, turned to this address.
        note: writes down what was done (`page login`, `page logout`), and whether it succeeded.
        secure: whether it is served with TLS.
        cookie: the session's name in the browser, which does not tell ports of one machine apart.
        on_link_used: called when a link was followed.
        open_paths: what whoever is not logged in gets.
        has_links: whether links that work once let people in.
        stopping: whether the process is coming to its end; open streams of events end then.
    """

    login: Login
    owner: str
    how: Child
    routes: Callable[["PageApp"], Sequence[Route]]
    ways: Mapping[str, str]
    hosts: Collection[str]
    note: Callable[[str, Outcome], object] = lambda what, outcome: None
    secure: bool = False
    cookie: str = "consilium"
    on_link_used: Callable[[], None] = lambda: None
    stopping: Callable[[], bool] = lambda: False
    open_paths: frozenset[str] = OPEN
    has_links: bool = True

    def app(self) -> ASGIApp:
        """The ASGI application with all its routes."""
        routes = [
            *self.routes(self), *(Route(f"/{name}", _asset) for name in ASSETS), Route("/session", self._session),
            Route("/login", self._login), Route("/login", self._enter, methods=["POST"]),
            Route("/logout", self._leave, methods=["POST"]),
        ]  # fmt: skip
        return _RequestGuard(
            self, Starlette(routes=routes, exception_handlers={ConsiliumError: self._missing, 404: self._missing})
        )

    def admits(self, request: Request) -> bool:
        """Whether a request belongs to a session."""
        return self.login.admits(request.cookies.get(self.cookie, ""))

    async def _session(self, _: Request) -> Response:
        return Response(status_code=204)

    async def _login(self, request: Request) -> Response:
        return RedirectResponse("/", 303) if self.admits(request) else self.form()

    async def _enter(self, request: Request) -> Response:
        try:
            fields = await form_fields(request)
        except ConfigError:
            return Response("expected a form", 400)
        password = fields.get("password", "")
        return await self.let_in(lambda: self.login.enter(password))

    async def follow(self, token: str) -> Response:
        """Exchange a link's token for a session; it is gone from the address then."""
        answer = await self.let_in(lambda: self.login.follow(token))
        if answer.status_code == 303:
            self.on_link_used()
        return answer

    async def let_in(self, attempt: Callable[[], str]) -> Response:
        """A session for whoever an attempt lets in, written down; else the login page, and why not."""
        try:
            session = await run_in_threadpool(attempt)
        except LoginRefusedError as error:
            with suppress(ConsiliumError, OSError):  # refused it is in any case
                if await run_in_threadpool(self.login.to_note):
                    await run_in_threadpool(self.note, "page login", "failed")
            answer = self.form(f"Not let in: {error}", 429 if error.wait_s else 403)
            if error.wait_s:
                answer.headers["retry-after"] = str(int(error.wait_s) + 1)
            return answer
        try:
            await run_in_threadpool(self.note, "page login", "done")
        except (ConsiliumError, OSError) as error:  # nobody looks without its being written down
            await run_in_threadpool(self.login.leave, session)
            return self.form(f"Not let in: the login could not be written down. {error}", 503)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self.cookie, session, max_age=int(self.login.lasts_s), httponly=True, samesite="strict",
                          secure=self.secure)  # fmt: skip
        return answer

    async def _leave(self, request: Request) -> Response:
        await run_in_threadpool(self.login.leave, request.cookies.get(self.cookie, ""))
        with suppress(ConsiliumError, OSError):
            await run_in_threadpool(self.note, "page logout", "done")
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self.cookie, httponly=True, samesite="strict", secure=self.secure)
        return answer

    async def _missing(self, _: Request, error: Exception) -> Response:
        """The page for what does not exist."""
        what = str(error) if isinstance(error, ConsiliumError) else "There is no page at this address."
        body = [el("h1", "Not there"), el("p", what), el("p", el("a", "To the first page", href="/"))]
        return HTMLResponse(page("Not there – Consilium", self.owner, self.ways, body), 404)

    def form(self, problem: str = "", status: int = 200) -> Response:
        """The login page."""
        form: Child = el("p", self.how) if isinstance(self.how, str) else self.how
        if self.login.has_password:
            form = el(
                "form", el("label", "Password", for_="password"),
                el("input", id="password", name="password", type="password", autocomplete="current-password",
                   required="", autofocus="", aria_describedby="problem" if problem else None),
                el("button", "Log in", type="submit"), method="post", action="/login", class_="login",
            )  # fmt: skip
        body = [
            el("h1", "Log in"),
            el("p", problem, id="problem", role="alert", class_="warn") if problem else None,
            form,
        ]
        return HTMLResponse(page("Log in – Consilium", self.owner, {}, body), status)


async def _asset(request: Request) -> Response:
    name = request.url.path[1:]
    return Response(asset(name), media_type=ASSETS[name])


@dataclass(frozen=True)
class _RequestGuard:
    """What every request passes first: is the page asked for by its own name, is a form from this page, is somebody
    logged in? Every answer gets the headers that say what a browser must not do with it.
    """

    application: PageApp
    inner: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, if it may be answered."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", POLICY)
                for name, value in HEADERS.items():
                    headers[name] = value
                if {"content-length", "transfer-encoding"} & set(request.headers):
                    headers["connection"] = "close"  # a body that nobody reads would keep the line for ever
            await send(message)

        request = Request(scope, receive)
        answer = await self._refusal(request)
        await (answer or self.inner)(scope, receive, guarded)

    async def _refusal(self, request: Request) -> Response | None:
        application, path = self.application, request.url.path
        if _host(request.headers.get("host", "")) not in application.hosts or len(request.headers.getlist("host")) != 1:
            return Response("this page is not served under that name", 421)
        if request.method not in ("GET", "HEAD") and not self._from_here(request):
            return Response("a form of another page", 403)
        if path == "/" and (token := request.query_params.get("token")) and request.method == "GET":
            return await application.follow(token)
        if path in application.open_paths or await run_in_threadpool(application.admits, request):
            return None
        wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        return RedirectResponse("/login", 303) if wants_page else Response("log in first", 401)

    def _from_here(self, request: Request) -> bool:
        """Whether a form was sent from a page of ours: browsers say so themselves, and what says nothing is refused."""
        scheme = "https" if self.application.secure else "http"
        return request.headers.get("origin") == f"{scheme}://{request.headers['host']}"


def _host(header: str) -> str:
    """The name in a Host header, without its port; empty if it is none."""
    try:
        return urlsplit(f"//{header}").hostname or "" if "@" not in header and "/" not in header else ""
    except ValueError:
        return ""

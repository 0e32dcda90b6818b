"""The live page's application: who is let in, what there is, and what is pushed. Nothing here acts on the consortium.

GET  /                       the live page; ?token=… exchanges a link for a session
GET  /runs/NAME              the same of one run, /runs/NAME/report.html its report
GET  /catalogue              what partners offer
GET  /errors                 what error codes mean
GET  /events                 what changes on a page (server-sent events; ?run=NAME)
GET  /session                204: this session goes on
GET, POST /login             and POST /logout
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit
from xml.etree.ElementTree import Element

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import ConsiliumError, PlanError
from server.catalogue import Catalogue
from server.dashboard import errors, live
from server.dashboard.live import Shown
from server.dashboard.lock import SESSION_S, Lock, RefusedError
from server.dashboard.shell import asset, finder, page
from server.home import Home
from server.report import catalogue
from server.report.markup import Child, el
from server.runs import Run

log = logging.getLogger("consilium")

PAGES: dict[str, tuple[str, Callable[[Home], list[Child]]]] = {
    "/catalogue": ("Catalogue", lambda home: catalogue.content(Catalogue(home).listing(), finder())),
    "/errors": ("Errors", lambda _: errors.content()),
}
"""Pages that stand still, by address: name, content."""
ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "find.js": "text/javascript"}
WAYS = {"/": "Live"} | {path: name for path, (name, _) in PAGES.items()}
OPEN = {"/login", "/page.css"}
"""What whoever is not logged in gets."""
LOOK_S, BEAT_S = 0.5, 2.0
"""How often is looked for what changed, and how often something is sent all the same, so that silence means loss."""
FORM_BYTES, MOST_STREAMS = 4096, 32
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = "sandbox allow-downloads; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""A report brings its own style, and is let do nothing."""
HEADERS = {
    "x-frame-options": "DENY", "x-content-type-options": "nosniff", "cache-control": "no-store",
    "referrer-policy": "same-origin",  # without any, a browser would not say where a form comes from
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}  # fmt: skip


@dataclass
class Door:
    """The application.

    Args:
        hosts: names under which the page may be asked for; another is somebody else's page, turned to this address.
        secure: whether it is served with TLS.
        cookie: the session's name in the browser, which does not tell ports of one machine apart.
        used: called when a link was followed.
    """

    home: Home
    lock: Lock
    hosts: Collection[str]
    secure: bool = False
    cookie: str = "consilium"
    used: Callable[[], None] = lambda: None
    stopping: Callable[[], bool] = lambda: False
    _streams: int = 0
    _looks: dict[str, tuple[float, Shown]] = field(default_factory=dict)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def app(self) -> ASGIApp:
        """As an ASGI application."""
        routes = [
            Route("/", self._live), Route("/runs/{run}", self._live), Route("/runs/{run}/report.html", self._report),
            *(Route(path, self._still) for path in PAGES), Route("/events", self._events),
            Route("/session", self._session), Route("/login", self._login),
            *(Route(f"/{name}", self._asset) for name in ASSETS), Route("/login", self._enter, methods=["POST"]),
            Route("/logout", self._leave, methods=["POST"]),
        ]  # fmt: skip
        return _Guarded(self, Starlette(routes=routes, exception_handlers={ConsiliumError: self._missing}))

    def admits(self, request: Request) -> bool:
        """Whether a request belongs to a session."""
        return self.lock.admits(request.cookies.get(self.cookie, ""))

    # --- pages ------------------------------------------------------------------------------------------------------

    async def _live(self, request: Request) -> Response:
        name = request.path_params.get("run", "")
        shown = await self._look(name)
        say = el("p", shown.said, id="said", role="status", class_="unseen")
        still = el(
            "noscript", el("p", "Without JavaScript this page stays as it was when it was loaded.", class_="warn")
        )
        sections = [_section(part, heading, shown.parts[part]) for part, heading in live.PARTS.items()]
        events = f"/events?run={name}" if name else "/events"
        return HTMLResponse(
            page(shown.title, self._consortium, WAYS, [say, still, *sections], request.url.path, events)
        )

    async def _still(self, request: Request) -> Response:
        name, content = PAGES[request.url.path]
        body = await run_in_threadpool(content, self.home)
        return HTMLResponse(page(f"{name} – Consilium", self._consortium, WAYS, body, request.url.path))

    async def _report(self, request: Request) -> Response:
        run = await run_in_threadpool(Run.find, self.home, request.path_params["run"])
        try:
            content = await run_in_threadpool((run.folder / "report.html").read_bytes)
        except FileNotFoundError:
            raise PlanError(f"run {run.name} has no report: it has not finished.") from None
        return HTMLResponse(content, headers={"content-security-policy": REPORT_POLICY})

    async def _asset(self, request: Request) -> Response:
        name = request.url.path[1:]
        return Response(asset(name), media_type=ASSETS[name])

    async def _missing(self, _: Request, error: Exception) -> Response:
        body = [el("h1", "Not there"), el("p", str(error))]
        return HTMLResponse(page("Not there – Consilium", self._consortium, WAYS, body), 404)

    @property
    def _consortium(self) -> str:
        return self.home.settings.consortium

    # --- what is pushed ---------------------------------------------------------------------------------------------

    async def _events(self, request: Request) -> Response:
        name, session = request.query_params.get("run", ""), request.cookies.get(self.cookie, "")
        if self._streams >= MOST_STREAMS:
            return Response("too many pages are open", 503)
        await self._look(name)  # what does not exist is said before the stream begins
        return StreamingResponse(self._stream(name, session), media_type="text/event-stream")

    async def _stream(self, name: str, session: str) -> AsyncIterator[str]:
        """At first all parts, then those that changed, and every two seconds at least something."""
        sent, sent_s = dict[str, str](), 0.0
        self._streams += 1
        try:
            while not self.stopping() and await run_in_threadpool(self.lock.admits, session):
                parts = (await self._look(name)).told
                changed = {part: told for part, told in parts.items() if sent.get(part) != told}
                if changed or time.monotonic() - sent_s >= BEAT_S:
                    yield f"data: {json.dumps({'parts': changed})}\n\n"
                    sent, sent_s = parts, time.monotonic()
                await asyncio.sleep(LOOK_S)
        finally:
            self._streams -= 1

    async def _look(self, name: str) -> Shown:
        """All parts; however many pages are open, the folder is read once."""
        async with self._looking:
            at_s, shown = self._looks.get(name, (float("-inf"), None))
            if shown is None or time.monotonic() - at_s >= LOOK_S / 2:
                shown = await run_in_threadpool(Shown.at, self.home, name)
                self._looks = {n: seen for n, seen in self._looks.items() if time.monotonic() - seen[0] < BEAT_S}
                self._looks[name] = time.monotonic(), shown
            return shown

    # --- who is let in ----------------------------------------------------------------------------------------------

    async def _session(self, _: Request) -> Response:
        return Response(status_code=204)

    async def _login(self, request: Request) -> Response:
        return RedirectResponse("/", 303) if self.admits(request) else self._form()

    async def _enter(self, request: Request) -> Response:
        try:
            told = parse_qs((await _small(request)).decode(), max_num_fields=4, encoding="utf-8", errors="strict")
        except (ValueError, RefusedError):
            return Response("expected a form", 400)
        password = told.get("password", [""])[0]
        return await self._let_in(lambda: self.lock.enter(password))

    async def follow(self, token: str) -> Response:
        """Exchange a link's token for a session; it is gone from the address then."""
        answer = await self._let_in(lambda: self.lock.follow(token))
        if answer.status_code == 303:
            self.used()
        return answer

    async def _let_in(self, attempt: Callable[[], str]) -> Response:
        try:
            session = await run_in_threadpool(attempt)
        except RefusedError as error:
            with suppress(ConsiliumError, OSError):  # refused it is in any case
                await run_in_threadpool(self._note, "page login", "failed")
            answer = self._form(f"Not let in: {error}", 429 if error.wait_s else 403)
            if error.wait_s:
                answer.headers["retry-after"] = str(int(error.wait_s) + 1)
            return answer
        try:
            await run_in_threadpool(self._note, "page login", "done")
        except (ConsiliumError, OSError) as error:  # nobody looks without its being written down
            await run_in_threadpool(self.lock.leave, session)
            return self._form(f"Not let in: the login could not be written down. {error}", 503)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self.cookie, session, max_age=int(SESSION_S), httponly=True, samesite="strict",
                          secure=self.secure)  # fmt: skip
        return answer

    async def _leave(self, request: Request) -> Response:
        await run_in_threadpool(self.lock.leave, request.cookies.get(self.cookie, ""))
        with suppress(ConsiliumError, OSError):
            await run_in_threadpool(self._note, "page logout", "done")
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self.cookie, httponly=True, samesite="strict", secure=self.secure)
        return answer

    def _note(self, what: str, outcome: str) -> None:
        self.home.log.record(what, "done" if outcome == "done" else "failed")

    def _form(self, problem: str = "", status: int = 200) -> Response:
        form: Child = el("p", "Follow the link that `python -m server dashboard` shows at its start. It works once.")
        if self.lock.has_password:
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
        return HTMLResponse(page("Log in – Consilium", self._consortium, {}, body), status)


def _section(part: str, heading: str, content: Element) -> Element:
    """A part of the page; above the page's own heading, which is in the part `run`, there is no other."""
    if part in ("top", "run"):
        return el("section", content, id=f"part-{part}", class_=part, aria_label=heading)
    named = el("h2", heading, id=f"of-{part}")
    return el(
        "section",
        named,
        finder() if part == "history" else None,
        content,
        id=f"part-{part}",
        class_=part,
        aria_labelledby=f"of-{part}",
    )


async def _small(request: Request) -> bytes:
    """The body of a form.

    Raises:
        RefusedError: too long, or no form.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise RefusedError("no form")
    body = b""
    with suppress(ClientDisconnect):
        async for piece in request.stream():
            body += piece
            if len(body) > FORM_BYTES:
                raise RefusedError("too long")
    return body


@dataclass(frozen=True)
class _Guarded:
    """Before everything: the name asked for, where a form comes from, the session. After: what a browser must not."""

    door: Door
    inner: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", POLICY)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        request = Request(scope, receive)
        answer = await self._refused(request)
        await (answer or self.inner)(scope, receive, guarded)

    async def _refused(self, request: Request) -> Response | None:
        door, path = self.door, request.url.path
        if _host(request.headers.get("host", "")) not in door.hosts or len(request.headers.getlist("host")) != 1:
            return Response("this page is not served under that name", 421)
        if request.method not in ("GET", "HEAD") and not self._from_here(request):
            return Response("a form of another page", 403)
        if path == "/" and (token := request.query_params.get("token")) and request.method == "GET":
            return await door.follow(token)
        if path in OPEN or await run_in_threadpool(door.admits, request):
            return None
        wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        return RedirectResponse("/login", 303) if wants_page else Response("log in first", 401)

    def _from_here(self, request: Request) -> bool:
        """Whether a form was sent from a page of ours: browsers say so themselves, and what says nothing is refused."""
        scheme = "https" if self.door.secure else "http"
        return request.headers.get("origin") == f"{scheme}://{request.headers['host']}"


def _host(header: str) -> str:
    """The name in a Host header, without its port; empty if it is none."""
    try:
        return urlsplit(f"//{header}").hostname or "" if "@" not in header and "/" not in header else ""
    except ValueError:
        return ""

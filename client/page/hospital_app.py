"""The hospital's page as an application: its addresses, and the two forms that act.

GET  /                        the plans: what waits, and all others
GET  /plans/NAME              one plan in full
POST /plans/NAME/approve      and /plans/NAME/refuse, with a reason
GET  /images                  is the site ready? POST: look again
GET  /models /privacy /coordinator /log

Every answer is made of what commands of `python -m client` print for programs. The command decides what is done, and
the gate before it who may: here nothing is decided. Who is let in: `common.web.page_app`.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from client.page import plan_sections, site_sections
from client.page.site_commands import CommandAnswer, PageUser, SiteCommands
from common.errors import ConfigError, ConsiliumError, PlanError
from common.web.form import form_fields
from common.web.login import Login
from common.web.markup import Child, el
from common.web.page_app import PageApp
from common.web.page_frame import page
from common.web.page_server import PageAddress, Server, server

HOW = "Follow the link that `python -m client page` shows at its start. It works once."
WAYS = {"/": "Plans", "/images": "Images", "/models": "Models", "/privacy": "Privacy", "/coordinator": "Coordinator",
        "/log": "Log"}  # fmt: skip
Draw = Callable[[SiteCommands, PageUser], list[Child]]


@dataclass
class HospitalPages:
    """All pages behind the login.

    Args:
        person_of: in whose name a request's commands are given.
        session_of: by what its session goes.
    """

    person_of: Callable[[Request], SiteCommands]
    session_of: Callable[[Request], str]
    _messages: dict[str, CommandAnswer] = field(default_factory=dict)
    """By session, how the last form ended, until it was shown: a page that is loaded again acts no second time."""
    _checks: dict[str, tuple[float, CommandAnswer]] = field(default_factory=dict)
    """By session, the last look at the images, and when it was."""

    def routes(self) -> Sequence[Route]:
        """The addresses of all pages."""
        return [
            Route("/", self._plans), Route("/plans/{name}", self._plan),
            Route("/plans/{name}/{verdict}", self._decide, methods=["POST"]),
            Route("/images", self._images), Route("/images", self._check, methods=["POST"]),
            Route("/models", self._models), Route("/privacy", self._privacy),
            Route("/coordinator", self._coordinator), Route("/log", self._log),
        ]  # fmt: skip

    # --- plans ------------------------------------------------------------------------------------------------------

    async def _plans(self, request: Request) -> Response:
        def draw(person: SiteCommands, me: PageUser) -> list[Child]:
            listing, witness = person.ask_all(("plans", "--json"), ("witness", "--json"))
            return plan_sections.plans(listing.json(), witness.json(), me)

        return await self._answer(request, "Plans", draw)

    async def _plan(self, request: Request) -> Response:
        name = _plan_name(request)

        def draw(person: SiteCommands, me: PageUser) -> list[Child]:
            return plan_sections.plan(person.ask("plans", name, "--json").json(), me)

        return await self._answer(request, name, draw)

    async def _decide(self, request: Request) -> Response:
        name, verdict = _plan_name(request), request.path_params["verdict"]
        if verdict not in ("approve", "refuse"):
            raise PlanError(f"{verdict}: a plan is approved or refused.")
        try:
            reason = (await form_fields(request)).get("reason", "").strip()
        except ConfigError as error:
            return Response(str(error), 400)
        if verdict == "refuse" and not reason:
            answer = CommandAnswer(2, "", "Nothing was refused: write down why, for the coordinator to read.")
        else:
            words = (verdict, name, f"--reason={reason}")
            answer = await run_in_threadpool(self.person_of(request).ask, *words)
        self._messages[self.session_of(request)] = answer
        return RedirectResponse(f"/plans/{name}", 303)

    # --- what there is to know --------------------------------------------------------------------------------------

    async def _images(self, request: Request) -> Response:
        last_check = self._checks.get(self.session_of(request))
        return await self._answer(request, "Images", lambda _, me: site_sections.images(last_check, me))

    async def _check(self, request: Request) -> Response:
        answer = await run_in_threadpool(self.person_of(request).ask, "check", "--json")
        self._checks[self.session_of(request)] = time.time(), answer
        return RedirectResponse("/images", 303)

    async def _models(self, request: Request) -> Response:
        def draw(person: SiteCommands, me: PageUser) -> list[Child]:
            worth = person.ask("compare", "--json").json() if me.may("compare") else None
            return site_sections.models(person.ask("catalogue", "--json"), worth, me.site)

        return await self._answer(request, "Models", draw)

    async def _privacy(self, request: Request) -> Response:
        return await self._answer(request, "Privacy", lambda person, _: site_sections.privacy(
            person.ask("privacy", "show", "--json").json()))  # fmt: skip

    async def _coordinator(self, request: Request) -> Response:
        return await self._answer(request, "Coordinator", lambda person, _: site_sections.coordinator(
            person.ask("witness", "--json").json()))  # fmt: skip

    async def _log(self, request: Request) -> Response:
        def draw(person: SiteCommands, me: PageUser) -> list[Child]:
            if not me.may("audit show"):
                return [el("h1", "Log"), el("p", site_sections.not_for(me, "audit show"))]
            return site_sections.log(person.ask("audit", "show", "--json", "--last", str(site_sections.LAST)).json())

        return await self._answer(request, "Log", draw)

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request, title: str, draw: Draw) -> Response:
        """A page, with how the last form ended on top of it."""
        person, message = self.person_of(request), self._messages.pop(self.session_of(request), None)
        status, owner = 200, ""

        def content() -> list[Child]:
            nonlocal status, owner
            try:
                me = person.me()
                owner = me.label
                return draw(person, me)
            except ConsiliumError as error:  # what a command answered: of one page
                status = 503
                return [el("h1", title), el("p", str(error), class_="warn", role="alert")]

        body = await run_in_threadpool(content)
        if message:
            role, class_ = ("alert", "warn") if message.status else ("status", "done")
            body.insert(0, el("p", message.words, class_=class_, role=role, tabindex="-1", id="message"))
        return HTMLResponse(page(f"{title} – Consilium", owner, WAYS, body, request.url.path), status)


def hospital_server(person: SiteCommands, port: int, say: Callable[[str], None]) -> Server:
    """The page's server, on loopback; `say` is called with a link to it."""
    address = PageAddress("127.0.0.1", port)
    cookie = f"consilium-{port}"
    pages = HospitalPages(lambda _: person, lambda request: request.cookies.get(cookie, ""))
    app = PageApp(Login(), "hospital", HOW, lambda _: pages.routes(), WAYS, address.hosts, cookie=cookie)
    return server(app, address, say)


def _plan_name(request: Request) -> str:
    """A plan's name in an address: one word, and no option of a command.

    Raises:
        PlanError: something else stands there.
    """
    name: str = request.path_params["name"]
    if not re.fullmatch(r"[\w][\w.-]{0,200}", name, re.ASCII):
        raise PlanError(f"{name[:80]!r}: no name of a plan.")
    return name

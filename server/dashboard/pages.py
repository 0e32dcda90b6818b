"""All pages behind the login: the live page, pages that stand still, reports."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from common.errors import PlanError
from common.web.markup import Child, el
from common.web.page_frame import finder, page
from server.catalogue.catalogue import Catalogue
from server.consortium.home import Home
from server.dashboard import errors_page, live_page
from server.dashboard.live_page import PageContent
from server.report import catalogue_page
from server.runs.run import Run

PAGES: dict[str, tuple[str, Callable[[Home], list[Child]]]] = {
    "/catalogue": ("Catalogue", lambda home: catalogue_page.content(Catalogue(home).listing(), finder("an entry"))),
    "/errors": ("Errors", lambda _: errors_page.content()),
}
"""Pages that stand still, by address: name, content."""
FOUND = {"history": "a run", "catalogue": "an entry"}
"""What is found by a word in parts of the live page."""
WAYS = {"/": "Live"} | {path: name for path, (name, _) in PAGES.items()}
REPORT_POLICY = "sandbox allow-downloads; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""A report brings its own style, and is let do nothing."""


@dataclass(frozen=True)
class Pages:
    """All pages behind the login.

    Args:
        content_of: what the live page shows now, of the run of that name.
    """

    home: Home
    content_of: Callable[[str], Awaitable[PageContent]]

    def routes(self) -> list[Route]:
        """The addresses of all pages."""
        return [
            Route("/", self._live), Route("/runs/{run}", self._live), Route("/runs/{run}/report.html", self._report),
            *(Route(path, self._still) for path in PAGES),
        ]  # fmt: skip

    async def _live(self, request: Request) -> Response:
        name = request.path_params.get("run", "")
        content = await self.content_of(name)
        say = el("p", content.announcement, id="said", role="status", class_="unseen")
        still = el(
            "noscript", el("p", "Without JavaScript this page stays as it was when it was loaded.", class_="warn")
        )
        sections = [_section(part, heading, content.parts[part]) for part, heading in live_page.PARTS.items()]
        events = f"/events?run={name}" if name else "/events"
        return HTMLResponse(
            page(content.title, self._consortium, WAYS, [say, still, *sections], request.url.path, events)
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

    @property
    def _consortium(self) -> str:
        return self.home.settings.consortium


def _section(part: str, heading: str, content: Element) -> Element:
    """A part of the page; above the page's own heading, which is in the part `run`, there is no other."""
    if part in ("top", "run"):
        return el("section", content, id=f"part-{part}", class_=part, aria_label=heading)
    heading_element = el("h2", heading, id=f"of-{part}")
    return el(
        "section",
        heading_element,
        finder(FOUND[part]) if part in FOUND else None,
        content,
        id=f"part-{part}",
        class_=part,
        aria_labelledby=f"of-{part}",
    )

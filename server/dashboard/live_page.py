"""What the live page shows, part by part, each from the coordinator's folder alone."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from xml.etree.ElementTree import Element

from common.errors import ConsiliumError
from common.web.markup import el
from common.web.page_frame import html
from server.consortium.home import Home
from server.dashboard import consortium_sections, run_sections
from server.dashboard.consortium_view import ConsortiumView, Marks
from server.runs.status import typical_round_s

log = logging.getLogger("consilium")

LATE_S = 5.0
"""A wait is announced to whoever cannot see the page after so long, beyond what a round takes."""
PARTS = {
    "top": "The coordinator's processes", "run": "The run", "sites": "Sites", "curves": "Learning",
    "rounds": "Who took part in which round", "history": "All runs", "catalogue": "Catalogue",
    "audit": "Audit log",
}  # fmt: skip
"""Parts of the page in their order, by name, with their headings."""
MAKERS: dict[str, Callable[[ConsortiumView], Marks]] = {
    "top": consortium_sections.processes, "run": run_sections.summary, "sites": consortium_sections.hospitals,
    "curves": run_sections.curves, "rounds": run_sections.rounds, "history": consortium_sections.history,
    "catalogue": consortium_sections.offers, "audit": consortium_sections.log_head,
}  # fmt: skip


@dataclass(frozen=True)
class PageContent:
    """A page's content at one moment."""

    title: str
    announcement: str
    """What a screen reader says when it changes."""
    parts: dict[str, Element]

    @classmethod
    def at(cls, home: Home, name: str = "") -> "PageContent":
        """As it is now. Raises as `ConsortiumView.at`."""
        view = ConsortiumView.at(home, name)
        parts = {part: el("div", *_safely(make, view)) for part, make in MAKERS.items()}
        return cls(title(view), announcement(view), parts)

    @cached_property
    def html_parts(self) -> dict[str, str]:
        """As it is sent: text, and of the parts HTML."""
        parts = {part: html(element) for part, element in self.parts.items()}
        return {"title": self.title, "said": self.announcement} | parts


def title(view: ConsortiumView) -> str:
    """The page's name, short enough for a tab."""
    if view.run is None:
        return "Consilium"
    if view.stage == "running":
        return f"{len(view.rounds)}/{view.total} {view.run.name} – Consilium"
    return f"{view.stage}: {view.run.name} – Consilium"


def announcement(view: ConsortiumView) -> str:
    """What is worth interrupting somebody for who listens: not every round, and no time that runs."""
    if view.run is None:
        return "No run yet."
    text = f"Run {view.run.name} {view.stage}."
    if view.stage != "running":
        return text
    quarters = ("", " A quarter of it is done.", " Half of it is done.", " Three quarters of it are done.", "")
    text += quarters[min(len(view.rounds) * 4 // max(view.total, 1), 4)]
    missing_sites = [one.site for one in view.sites if one.site in view.cohort and one.connection != "connected"]
    text += f" Not there: {', '.join(missing_sites)}." if missing_sites else ""
    late = [one.site for one in view.sites if one.awaited_for] if _late(view) else []
    return text + (f" Waiting for {', '.join(late)}." if late else "")


def _late(view: ConsortiumView) -> bool:
    asking = view.run.progress() if view.run else None
    return asking is not None and view.now - asking.since_s > LATE_S + typical_round_s(view.rounds)


def _safely(make: Callable[[ConsortiumView], Marks], view: ConsortiumView) -> Marks:
    """One part that cannot be shown does not take the others with it."""
    try:
        return make(view)
    except (ConsiliumError, OSError) as error:
        return [el("p", f"This cannot be shown: {error}", class_="warn")]
    except Exception:
        log.exception("a part of the page")
        return [el("p", "This cannot be shown, by a fault of this program. It is in its output.", class_="warn")]

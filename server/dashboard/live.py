"""What the live page shows, part by part, each from the coordinator's folder alone."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from common.catalogue import shown as catalogue
from common.catalogue.listing import SHOWN
from common.catalogue.offers import Content
from common.errors import ConsiliumError
from common.files import read_json
from common.progress import duration
from server import census
from server.catalogue import Catalogue
from server.dashboard.shell import html
from server.home import Home
from server.report import catalogue as report
from server.report import charts, learning
from server.report.markup import Child, el, figure, table
from server.report.provenance import presence
from server.runs import OVER, Run
from server.standing import Past, SiteStatus, ago, awaited, current, past, running, sites, standing, usual_s

log = logging.getLogger("consilium")

LATE_S = 5.0
"""A wait is announced to whoever cannot see the page after so long, beyond what a round takes."""
SIGNS = {"connected": "●", "silent": "◐", "lost": "✕", "stopped": "■", "away": "○"}
WORDS = {
    "connected": "connected",
    "silent": "silent",
    "lost": "line lost",
    "stopped": "stopped",
    "away": "not connected",
}
STAGES = {"waiting": "◔ waiting", "running": "▶ running", "finished": "✓ finished", "failed": "✕ failed",
          "stopped": "■ stopped"}  # fmt: skip
KINDS = {"dataset": "data set", "model": "model", "plan": "plan"}
PLAN = {"approve": "✓ approved", "refuse": "✕ refused", "": "undecided"}
PARTS = {
    "top": "The coordinator's processes", "run": "The run", "sites": "Sites", "curves": "Learning",
    "rounds": "Who took part in which round", "history": "All runs", "catalogue": "Catalogue",
    "audit": "Audit log",
}  # fmt: skip
"""Parts of the page in their order, by name, with their headings."""

Marks = list[Child]


@dataclass(frozen=True)
class Look:
    """One look at everything, so that all parts of a page are of one moment."""

    home: Home
    now: float
    run: Run | None
    """The run that is shown."""
    stage: str
    rounds: list[dict[str, Any]]
    sites: list[SiteStatus]

    @classmethod
    def at(cls, home: Home, name: str = "") -> "Look":
        """As it is now.

        Args:
            name: the run to show; empty: the one that goes on, else the newest.

        Raises:
            PlanError: there is no such run.
        """
        run = Run.find(home, name) if name else current(home) or next(iter([*Run.all(home)][::-1]), None)
        stage, rounds = (run.state.stage, run.rounds()) if run else ("", [])
        return cls(home, time.time(), run, stage, rounds, sites(home, None if stage in OVER else run))

    @property
    def total(self) -> int:
        """Rounds that are planned."""
        return self.run.plan.rounds if self.run else 0

    @cached_property
    def kept(self) -> int | None:
        """The round whose model is kept, from 0, once that is known."""
        told = read_json(self.run.folder / "result.json") if self.run and self.stage in OVER else None
        return (told or {}).get("best_round")

    @property
    def cohort(self) -> tuple[str, ...]:
        """Who takes part, or is asked to."""
        return self.run.state.cohort or self.run.plan.content.cohort if self.run else ()


@dataclass(frozen=True)
class Shown:
    """A page's content at one moment."""

    title: str
    said: str
    """For whoever listens."""
    parts: dict[str, Element]

    @classmethod
    def at(cls, home: Home, name: str = "") -> "Shown":
        """As it is now. Raises as `Look.at`."""
        look = Look.at(home, name)
        made = {part: el("div", *_safely(make, look)) for part, make in MAKERS.items()}
        return cls(title(look), said(look), made)

    @cached_property
    def told(self) -> dict[str, str]:
        """As it is sent: text, and of the parts HTML."""
        return {"title": self.title, "said": self.said} | {part: html(made) for part, made in self.parts.items()}


def title(look: Look) -> str:
    """The page's name, short enough for a tab."""
    if look.run is None:
        return "Consilium"
    if look.stage == "running":
        return f"{len(look.rounds)}/{look.total} {look.run.name} – Consilium"
    return f"{look.stage}: {look.run.name} – Consilium"


def said(look: Look) -> str:
    """What is worth interrupting somebody for who listens: not every round, and no time that runs."""
    if look.run is None:
        return "No run yet."
    text = f"Run {look.run.name} {look.stage}."
    if look.stage != "running":
        return text
    quarters = ("", " A quarter of it is done.", " Half of it is done.", " Three quarters of it are done.", "")
    text += quarters[min(len(look.rounds) * 4 // max(look.total, 1), 4)]
    gone = [one.site for one in look.sites if one.site in look.cohort and one.link != "connected"]
    text += f" Not there: {', '.join(gone)}." if gone else ""
    late = [one.site for one in look.sites if one.awaited_for] if _late(look) else []
    return text + (f" Waiting for {', '.join(late)}." if late else "")


def _late(look: Look) -> bool:
    asking = look.run.progress() if look.run else None
    return asking is not None and look.now - asking.since_s > LATE_S + usual_s(look.rounds)


def _safely(make: Callable[[Look], Marks], look: Look) -> Marks:
    """One part that cannot be shown does not take the others with it."""
    try:
        return make(look)
    except (ConsiliumError, OSError) as error:
        return [el("p", f"This cannot be shown: {error}", class_="warn")]
    except Exception:
        log.exception("a part of the page")
        return [el("p", "This cannot be shown, by a fault of this program. It is in its output.", class_="warn")]


# --- the parts ------------------------------------------------------------------------------------------------------


def _top(look: Look) -> Marks:
    if not running(look.home):
        return [el("p", el("b", "✕ The coordinator's processes are not running."), " Start them: ",
                   el("code", "python -m server start"), class_="warn")]  # fmt: skip
    told: Marks = []
    for child in census.state(look.home.live / "log"):
        up = f"up {ago(look.now, child.since_s)}" if child.pid else "down"
        told.append(el("li", el("span", "● " if child.pid else "✕ ", aria_hidden="true"), f"{child.name} {up}",
                       class_="connected" if child.pid else "lost"))  # fmt: skip
    return [el("ul", *told, class_="chips", aria_label="Processes")]


def _run(look: Look) -> Marks:
    if look.run is None:
        return [el("h1", "No run yet"), el("p", "A plan that is signed and submitted shows here: ",
                                           el("code", "python -m server run PLAN"), class_="lead")]  # fmt: skip
    done, total = len(look.rounds), look.total
    badge = el("span", STAGES[look.stage], class_=f"badge {look.stage}")
    shown: Marks = [el("p", badge, class_="kind"), el("h1", look.run.name)]
    if look.stage == "running":
        bar = el("progress", value=str(done), max=str(total), aria_label="How far it is")
        what = "models" if look.run.plan.content.models else "rounds"
        shown.append(el("div", bar, el("p", el("b", f"{done} of {total} {what}"), _left(look)), class_="way"))
    return [
        *shown,
        el("p", *_sentence(look.run, look.stage, look.kept), class_=f"lead {look.stage}"),
        _tiles(look),
        _plan(look.run),
    ]


def _plan(run: Run) -> Element:
    """What the sites were asked to decide on, word for word."""
    files = el(
        "p", "Files of this run: ", el("code", f"runs/{run.name}"), " in the coordinator's folder.", class_="soft"
    )
    return el("details", el("summary", "The plan, as sites decide on it"), el("pre", run.plan.described()), files)


def _sentence(run: Run, stage: str, kept: int | None) -> Marks:
    """What there is to say of it beside its name and stage."""
    if stage == "running":
        return [awaited(run) or "Nobody is waited for."]
    if stage == "waiting":
        return [standing(run)]
    best = "" if kept is None else f"The model kept is that of round {kept + 1}. "
    report = el("a", "Read the report", href=f"/runs/{run.name}/report.html") if _has_report(run.folder) else None
    return [run.state.why, best, report]


def _has_report(folder: Path) -> bool:
    return (folder / "report.html").exists()


def _left(look: Look) -> str:
    left_s = usual_s(look.rounds) * (look.total - len(look.rounds))
    return f", about {duration(left_s)} left at most" if left_s else ""


def _tiles(look: Look) -> Element | None:
    if look.run is None or not look.rounds:
        return None
    known = [area for r in look.rounds if (area := r["validation"].get("auc")) is not None]
    kept = [r["validation"].get("auc") for r in look.rounds if r["round"] == look.kept]
    state, void = look.run.state, sum(bool(r["void"]) for r in look.rounds)
    took_s = (state.ended_s or look.now) - state.started_s if state.started_s else None
    tiles: list[tuple[str, Child]] = [
        (
            "Validation AUC, kept model" if kept else "Validation AUC, last",
            figure(next(iter(kept or known[::-1]), None)),
        ),
        ("Highest of a round", figure(max(known, default=None))),
        ("Sites", str(len(look.cohort))),
        ("Seconds a round", f"{usual_s(look.rounds):.1f}"),
        ("Void rounds", str(void)),
        ("Took" if state.ended_s else "Since it began", duration(took_s) if took_s is not None else "–"),
    ]
    return el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in tiles), class_="tiles")


def _sites(look: Look) -> Marks:
    if not look.sites:
        return [el("p", "No hospital has been admitted yet: ", el("code", "python -m server admit REQUEST"))]
    asking = look.run.progress() if look.run and look.stage == "running" else None
    going_on = look.run is not None and look.stage not in OVER
    found = [_site(look, one, asking.since_s if asking else 0.0) for one in look.sites]
    head = [name for name in found[0] if going_on or name not in ("Plan", "Waited for")]
    rows = [[cells[name] for name in head] for cells in found]
    return [_stacked("Every hospital on the roster, as the coordinator knows it", head, rows)]


def _site(look: Look, one: SiteStatus, since_s: float) -> dict[str, Child]:
    """A site's cells by their column."""
    if one.connected:
        when = f"since {ago(look.now, one.since_s)}" if one.link == "connected" else f"for {ago(look.now, one.heard_s)}"
    else:
        when = f"last heard {ago(look.now, one.heard_s)} ago" if one.heard_s else "never heard"
    sign = el("span", SIGNS[one.link], aria_hidden="true")
    state = el("span", sign, f" {WORDS[one.link]}", el("small", when), class_=one.link)
    waited = el("span", one.awaited_for, el("small", f"since {ago(look.now, since_s)}")) if one.awaited_for else "–"
    error = el("a", one.error, href=f"/errors#{one.error}") if one.error else "–"
    plan = PLAN[one.decision] if one.site in look.cohort else "–"
    return {
        "Site": one.site, "State": state, "Doing": one.doing or "–", "Plan": plan, "Last round": _last(look, one.site),
        "Waited for": waited, "Error": error,
    }  # fmt: skip


def _last(look: Look, site: str) -> Child:
    if not look.rounds or site not in look.cohort:
        return "–"
    if site in look.rounds[-1]["dropped"]:
        return el("span", "□ silent", class_="lost")
    return "■ answered" if site in look.rounds[-1]["sites"] else "· not asked"


def _curves(look: Look) -> Marks:
    if look.run is not None and look.run.plan.content.models:
        return [el("p", "Models are evaluated in this run, and none is trained: there is no curve.", class_="soft")]
    void = [r["round"] for r in look.rounds if r["void"]]
    lines = [(charts.STYLES["federated"], "federated", look.rounds)]
    drawn = learning.drawn(lines, [], void, look.kept)
    if look.run is None or drawn is None:
        return [el("p", "No round was evaluated yet, so there is no curve.", class_="soft")]
    return [drawn, learning.numbers(look.rounds, el("p", learning.download(look.run.name, lines)))]


def _rounds(look: Look) -> Marks:
    if not look.rounds:
        return [el("p", "No round has ended yet.", class_="soft")]
    return [*presence("Every round, from the left", look.cohort, look.rounds)]


def _history(look: Look) -> Marks:
    found = [*past(look.home)][::-1]
    if not found:
        return [el("p", "None yet.", class_="soft")]
    head = ["Run", "Made (UTC)", "Sites", "Rounds", "Validation AUC", "Stage", "Report"]
    return [_stacked("All runs, the newest first", head, [_past(look.home, one) for one in found])]


def _past(home: Home, one: Past) -> list[Child]:
    ended: Child = el("span", STAGES[one.stage], el("small", one.why, class_="why") if one.why else None)
    report = el("a", "report", el("span", f" of {one.name}", class_="unseen"), href=f"/runs/{one.name}/report.html")
    return [el("a", one.name, href=f"/runs/{one.name}"), time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.made_s)),
            str(one.sites), f"{one.rounds} of {one.planned}", figure(one.auc), ended,
            report if _has_report(home.folder / "runs" / one.name) else "–"]  # fmt: skip


def _catalogue(look: Look) -> Marks:
    listing = Catalogue(look.home).listing()
    entries = [offer.content for kind in SHOWN for offer in listing.of(kind)]
    if not entries:
        return [el("p", report.NOTHING, class_="soft")]
    rows: list[list[Child]] = [
        [_entry(entry), KINDS[entry.offer.kind], entry.by, el("time", catalogue.day(entry.made_s))] for entry in entries
    ]
    return [_stacked("What partners offer", ["Title", "Kind", "By", "Since"], rows)]


def _entry(entry: Content) -> Element:
    doubt = catalogue.doubt(entry)
    link = el("a", entry.title, href=f"/catalogue#{report.anchor(entry)}")
    return el("span", link, el("small", f"Not real: {doubt}.") if doubt else None)


def _audit(look: Look) -> Marks:
    if (head := look.home.log.head()) is None:
        return [el("p", "Nothing has been recorded yet.", class_="soft")]
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(head.at_s))
    rows: list[list[Child]] = [
        ["Entries", f"{head.size:,}"],
        ["Last entry", el("span", when, el("small", f"{ago(look.now, head.at_s)} ago"))],
        ["Root", el("code", head.root.hex(), class_="whole")],
    ]
    shown = table("The newest signed head of the coordinator's log", ["what", "value"], rows)
    shown[0].set("class", "words")
    note = "Hospitals hold the coordinator to this head: read out size and root, and compare them with what a site saw."
    return [shown, el("p", note, class_="soft")]


def _stacked(caption: str, head: list[str], rows: list[list[Child]]) -> Element:
    """A table that is one card a row where the page is narrow. Roles are written out: layout takes them away."""

    def cell(tag: str, role: str, child: Child, name: str, scope: str | None) -> Element:
        return el(
            tag, el("span", child), role=role, scope=scope, data_name=name, class_="none" if child == "–" else None
        )

    top = el("tr", *(el("th", name, scope="col", role="columnheader") for name in head), role="row")
    body = [el("tr", cell("th", "rowheader", row[0], head[0], "row"),
               *(cell("td", "cell", child, name, None) for name, child in zip(head[1:], row[1:], strict=True)),
               role="row") for row in rows]  # fmt: skip
    return el("table", el("caption", caption), el("thead", top, role="rowgroup"), el("tbody", *body, role="rowgroup"),
              role="table", class_="stacked words")  # fmt: skip


MAKERS: dict[str, Callable[[Look], Marks]] = {
    "top": _top, "run": _run, "sites": _sites, "curves": _curves, "rounds": _rounds, "history": _history,
    "catalogue": _catalogue, "audit": _audit,
}  # fmt: skip

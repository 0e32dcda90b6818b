"""What the live page shows of the whole consortium: processes, sites, all runs, the catalogue, the audit log."""

import time
from xml.etree.ElementTree import Element

from common.catalogue import listing_view as catalogue
from common.catalogue.listing import SHOWN, of_kind
from common.catalogue.offers import OfferContent
from common.web.markup import Child, el, figure, stacked_table, table
from server.catalogue.catalogue import Catalogue
from server.consortium import expiry
from server.consortium.home import Home
from server.dashboard.consortium_view import STAGES, ConsortiumView, Marks, has_report
from server.processes import process_table
from server.report import catalogue_page as report
from server.runs.run_history import RunSummary, run_history
from server.runs.run_state import OVER
from server.runs.service_state import is_service_running
from server.runs.status import MemberStatus, ago

SIGNS = {"connected": "●", "silent": "◐", "lost": "✕", "stopped": "■", "away": "○"}
WORDS = {
    "connected": "connected",
    "silent": "silent",
    "lost": "line lost",
    "stopped": "stopped",
    "away": "not connected",
}
KINDS = {"dataset": "data set", "model": "model", "plan": "plan"}
PLAN = {"approve": "✓ approved", "refuse": "✕ refused", "": "undecided"}


def processes(view: ConsortiumView) -> Marks:
    """The coordinator's own processes, in a line."""
    soon: Marks = [el("p", text, class_="warn") for text in expiry.warnings(view.home, view.now)]
    if not is_service_running(view.home):
        return [*soon, el("p", el("b", "✕ The coordinator's processes are not running."), " Start them: ",
                   el("code", "python -m server start"), class_="warn")]  # fmt: skip
    chips: Marks = []
    for child in process_table.process_states(view.home.live / "log"):
        up = f"up {ago(view.now, child.since_s)}" if child.pid else "down"
        chips.append(el("li", el("span", "● " if child.pid else "✕ ", aria_hidden="true"), f"{child.name} {up}",
                       class_="connected" if child.pid else "lost"))  # fmt: skip
    return [*soon, el("ul", *chips, class_="chips", aria_label="Processes")]


def hospitals(view: ConsortiumView) -> Marks:
    """A row a site of the roster."""
    if not view.sites:
        return [el("p", "No hospital has been admitted yet: ", el("code", "python -m server admit REQUEST"))]
    asking = view.run.progress() if view.run and view.stage == "running" else None
    going_on = view.run is not None and view.stage not in OVER
    cells_of_sites = [_site(view, one, asking.since_s if asking else 0.0) for one in view.sites]
    head = [name for name in cells_of_sites[0] if going_on or name not in ("Plan", "Waited for")]
    rows = [[cells[name] for name in head] for cells in cells_of_sites]
    return [stacked_table("Every hospital on the roster, as the coordinator knows it", head, rows)]


def _site(view: ConsortiumView, one: MemberStatus, since_s: float) -> dict[str, Child]:
    """A site's cells by their column."""
    if one.is_connected:
        when = (
            f"since {ago(view.now, one.since_s)}"
            if one.connection == "connected"
            else f"for {ago(view.now, one.heard_s)}"
        )
    else:
        when = f"last heard {ago(view.now, one.heard_s)} ago" if one.heard_s else "never heard"
    sign = el("span", SIGNS[one.connection], aria_hidden="true")
    state = el("span", sign, f" {WORDS[one.connection]}", el("small", when), class_=one.connection)
    waited = el("span", one.awaited_for, el("small", f"since {ago(view.now, since_s)}")) if one.awaited_for else "–"
    error = el("a", one.error, href=f"/errors#{one.error}") if one.error else "–"
    plan = PLAN[one.decision] if one.site in view.cohort else "–"
    return {
        "Site": one.site, "State": state, "Doing": one.doing or "–", "Plan": plan, "Last round": _last(view, one.site),
        "Waited for": waited, "Error": error,
    }  # fmt: skip


def _last(view: ConsortiumView, site: str) -> Child:
    if not view.rounds or site not in view.cohort:
        return "–"
    if code := view.rounds[-1].get("refused", {}).get(site):
        return el("span", "⊘ refused ", el("a", code, href=f"/errors#{code}"), class_="lost")
    if site in view.rounds[-1]["dropped"]:
        return el("span", "□ silent", class_="lost")
    return "■ answered" if site in view.rounds[-1]["sites"] else "· not asked"


def history(view: ConsortiumView) -> Marks:
    """All runs as a table, a row for each."""
    runs = [*run_history(view.home)][::-1]
    if not runs:
        return [el("p", "None yet.", class_="soft")]
    head = ["Run", "Made (UTC)", "Sites", "Rounds", "Validation AUC", "Stage", "Report"]
    return [stacked_table("All runs, the newest first", head, [_past(view.home, one) for one in runs])]


def _past(home: Home, one: RunSummary) -> list[Child]:
    ending: Child = el("span", STAGES[one.stage], el("small", one.why, class_="why") if one.why else None)
    report = el("a", "report", el("span", f" of {one.name}", class_="unseen"), href=f"/runs/{one.name}/report.html")
    return [el("a", one.name, href=f"/runs/{one.name}"), time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.made_s)),
            str(one.sites), f"{one.rounds} of {one.planned}", figure(one.auc), ending,
            report if has_report(home.folder / "runs" / one.name) else "–"]  # fmt: skip


def offers(view: ConsortiumView) -> Marks:
    """A row an entry of the catalogue."""
    all_offers = Catalogue(view.home).offers()
    entries = [offer.content for kind in SHOWN for offer in of_kind(all_offers, kind)]
    if not entries:
        return [el("p", report.NOTHING, class_="soft")]
    rows: list[list[Child]] = [
        [_entry(entry), KINDS[entry.offer.kind], entry.by, el("time", catalogue.day(entry.made_s))] for entry in entries
    ]
    return [stacked_table("What partners offer", ["Title", "Kind", "By", "Since"], rows)]


def _entry(entry: OfferContent) -> Element:
    doubt = catalogue.doubt(entry)
    link = el("a", entry.title, href=f"/catalogue#{report.anchor(entry)}")
    return el("span", link, el("small", f"Not real: {doubt}.") if doubt else None)


def log_head(view: ConsortiumView) -> Marks:
    """The newest head of the audit log."""
    if (head := view.home.log.head()) is None:
        return [el("p", "Nothing has been recorded yet.", class_="soft")]
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(head.at_s))
    rows: list[list[Child]] = [
        ["Entries", f"{head.size:,}"],
        ["Last entry", el("span", when, el("small", f"{ago(view.now, head.at_s)} ago"))],
        ["Root", el("code", head.root.hex(), class_="whole")],
    ]
    head_table = table("The newest signed head of the coordinator's log", ["what", "value"], rows)
    head_table[0].set("class", "words")
    note = "Hospitals hold the coordinator to this head: read out size and root, and compare them with what a site saw."
    return [head_table, el("p", note, class_="soft")]

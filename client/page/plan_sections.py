"""The plans as a hospital's data officer reads them: those that wait as cards, and one in full with its forms."""

import time
from typing import Any

from client.page.site_commands import PageUser
from common.web.markup import Child, bullet_list, el, stacked_table

DECIDES = "approve"
Tree = dict[str, Any]
"""What a command prints for programs."""


def plans(listing: Tree, witness: Tree, me: PageUser) -> list[Child]:
    """All plans; on top what waits for a decision.

    Args:
        listing: of `plans --json`.
        witness: of `witness --json`.
    """
    waiting = [plan for plan in listing["plans"] if plan["state"] == "undecided"]
    body: list[Child] = [el("h1", _heading(len(waiting)))]
    if why := witness["refused"]:
        body.append(_warn("The coordinator showed two histories. ", f"{why} Nothing is answered until a data "
                          "officer has found out why, by telephone. ",
                          el("a", "What was seen", href="/coordinator")))  # fmt: skip
    if listing["problem"]:
        body.append(_warn("The coordinator was not reached. ", f"{listing['problem']} This is as known here."))
    if waiting:
        body.append(el("div", *map(_card, waiting), class_="cards"))
    elif me.may(DECIDES):
        body.append(el("p", "When the consortium asks for something, it stands here.", class_="lead"))
    if listing["plans"]:
        rows: list[list[Child]] = [
            [el("a", plan["name"], href=f"/plans/{plan['name']}"), plan["dataset"], plan["purpose"],
             el("time", day(plan["until_s"])), plan["words"]]
            for plan in sorted(listing["plans"], key=lambda plan: not plan["open"])
        ]  # fmt: skip
        head = ["Plan", "Data set", "Purpose", "Until", "State"]
        body += [el("h2", "All plans"), stacked_table("Those that are open first", head, rows)]
    return body


def _heading(waiting: int) -> str:
    return (
        f"{waiting} plan{'s' * (waiting > 1)} wait{'s' * (waiting == 1)} for a decision" if waiting else "No plan waits"
    )


def _card(plan: Tree) -> Child:
    return el(
        "article", el("h3", el("a", plan["name"], href=f"/plans/{plan['name']}")), el("p", _asks(plan)),
        _facts({"asked": ", ".join(plan["cohort"]), "until": day(plan["until_s"])}),
        el("p", el("a", "Read and decide", el("span", f" on {plan['name']}", class_="unseen"),
                   href=f"/plans/{plan['name']}", class_="button")),
    )  # fmt: skip


def _asks(plan: Tree) -> str:
    return f"{plan['asked_by']} asks for {plan['purpose']} on this hospital's data set {plan['dataset']}."


def plan(report: Tree, me: PageUser) -> list[Child]:
    """One plan in full, and the decision.

    Args:
        report: of `plans PLAN --json`.
    """
    about, facts = report["plan"], report["facts"]
    bad = about["objection"] or about["unfit"]
    badge = el("span", about["state"], class_=f"badge {'failed' if bad else _COLOURS.get(about['state'], 'stopped')}")
    head = {"Who asks": facts["consortium"], "Who takes part": facts["asked"], "Purpose": facts["purpose"],
            "Data set": facts["data set"], "Made, ends": facts["made, ends"], "Carries": facts.get("carries", ""),
            "Encoder": facts.get("encoder", ""), "Begins from": facts.get("begins from", ""),
            "Code of others": facts.get("plug-ins", ""),
            "Release": facts["release"]}  # fmt: skip
    return [
        el("p", badge, class_="kind"), el("h1", about["name"]), el("p", _asks(about), class_="lead"),
        *_warnings(report),
        _facts({name: text for name, text in head.items() if text}),
        el("h2", "What leaves this hospital"), el("p", report["leaves"][0].upper() + report["leaves"][1:]),
        el("p", f"The coordinator and the other sites can read of it these sums alone, each over "
                f"{report['behind_each_sum']}:"), bullet_list(report["sums"]),
        el("h2", "What it tells"), el("p", report["tells"]),
        el("h2", "What it costs of the privacy budget"), _budget(report["budget"]),
        bullet_list(report["cost"]) if report["cost"] else None,
        el("h2", "Your decision"), *_decision(report, me),
        el("details", el("summary", "The plan, word for word"), el("pre", report["text"])),
    ]  # fmt: skip


def _budget(words: str) -> Child:
    """The promise of a plan's budget; that there is none, as a warning."""
    head, _, rest = words.partition("  ")
    return el("p", rest) if head == "PRIVACY" else _warn(f"{head.capitalize()}. ", rest)  # it begins with ε, no E


_COLOURS = {"undecided": "waiting", "approved": "running", "running": "running", "finished": "finished",
            "failed": "failed", "refused": "stopped", "begun without this site": "failed"}  # fmt: skip


def _warnings(report: Tree) -> list[Child]:
    about, body = report["plan"], list[Child]()
    if report["problem"]:
        body.append(_warn("The coordinator was not reached. ", f"{report['problem']} This is as known here."))
    if report["images"]:
        body.append(_warn("This site's images are not ready for it. ", report["images"]))
    elif about["images"] == "unfit":
        body.append(_warn("It was approved, but this site's images are not ready. ", about["unfit"]))
    if report["obstacle"] and (about["open"] or about["state"] == "begun without this site"):
        body.append(_warn("It cannot run here: ", report["obstacle"]))
    return body


def _decision(report: Tree, me: PageUser) -> list[Child]:
    about, body = report["plan"], list[Child]()
    if about["decision"]:
        reason = f" Written beside it: {report['reason']}" if report["reason"] else ""
        body.append(el("p", el("b", f"It was {_DECIDED[about['decision']]}."), reason, _images_words(about)))
    if not me.may(DECIDES):
        return [
            *body,
            el("p", f"A data officer decides; you are {me.words}."),
        ]
    if not about["open"] and about["state"] != "refused":
        return [*body, el("p", f"There is nothing to decide any more: {report['obstacle'] or about['state']}.")]
    if why := report["obstacle"] or report["images"]:
        body.append(el("p", "It cannot be approved now: ", why))
    elif about["decision"] != "approve":
        body.append(_form(about, "approve", "Approve", "A word for the coordinator (may be left out)", required=False))
    if about["decision"] != "refuse":
        body.append(_form(about, "refuse", "Refuse", "Why, for the coordinator to read", required=True))
    sign = (
        f"You sign as {me.name}, with your key. Until the run has begun you can decide otherwise; refuse, also later."
    )
    return [*body, el("p", sign, class_="soft")]


_DECIDED = {"approve": "approved", "refuse": "refused"}


def _images_words(about: Tree) -> str | None:
    return {"": " The site's process has not looked at the images yet. Is it running (python -m client run)?",
            "reading": " Its images are being read.", "ready": " Its images are read, and fit."}.get(
        about["images"]) if about["decision"] == "approve" and about["open"] else None  # fmt: skip


def _form(about: Tree, verdict: str, button: str, label: str, *, required: bool) -> Child:
    field = f"{verdict}-reason"
    return el(
        "form", el("label", label, for_=field),
        el("textarea", "", id=field, name="reason", rows="2", maxlength="500", required="" if required else None),
        el("button", f"{button} {about['name']}", type="submit", class_=verdict),
        method="post", action=f"/plans/{about['name']}/{verdict}", class_="decide",
    )  # fmt: skip


def _facts(rows: Tree) -> Child:
    return el("dl", *(el("div", el("dt", name), el("dd", str(text))) for name, text in rows.items()), class_="facts")


def _warn(what: str, *more: Child) -> Child:
    return el("p", el("b", what), *more, class_="warn")


def day(at_s: float) -> str:
    """The day of a moment, UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(at_s))

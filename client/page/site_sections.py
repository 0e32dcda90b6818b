"""What there is to know of the site, as people read it: images, models, privacy, the coordinator, the log."""

import time
from collections.abc import Container
from typing import Any

from client.access.permissions import RULES, role_names
from client.page.plan_sections import Tree
from client.page.site_commands import CommandAnswer, PageUser
from common.errors import ConsiliumError
from common.web.markup import Child, el, figure, stacked_table
from common.web.page_frame import finder

LAST = 200
"""Entries of the log that are shown."""
UNREAD = ("signature", "signed at")
"""Facts that a program checks (`audit verify`), and nobody reads."""
OUTCOMES = {"begun": "… begun", "done": "", "failed": "✕ failed"}


def not_for(me: PageUser, action: str) -> str:
    """That a role may not look at something."""
    return f"This is for {role_names(RULES[action])}; you are {me.words}."


def images(last_check: tuple[float, CommandAnswer] | None, me: PageUser) -> list[Child]:
    """Is the site ready: its data sets first, then all else that `check` looks at.

    Args:
        last_check: when, and what `check --json` answered; None: nobody has asked in this session.
    """
    head: list[Child] = [el("h1", "Are the images ready?")]
    if not me.may("check"):
        return [*head, el("p", not_for(me, "check"))]
    look = el("form", el("button", "Look again" if last_check else "Look at the images now", type="submit"),
              method="post", action="/images")  # fmt: skip
    note = "All images of the open plans are read for it, which can take minutes the first time."
    if last_check is None:
        return [*head, el("p", note, class_="lead"), look]
    at_s, answer = last_check
    try:
        report = answer.json()
    except ConsiliumError as error:
        return [*head, el("p", str(error), class_="warn", role="alert"), look]
    bad = sum(not check["ok"] for check in report["checks"])
    sentence = "✓ Everything is ready." if report["ready"] else f"✕ {bad} thing{'s' * (bad > 1)} to mend."
    of_images = [check for check in report["checks"] if check["check"] == "images"]
    others = [check for check in report["checks"] if check["check"] != "images"]
    return [
        *head, el("p", sentence, f" As of {moment(at_s)}.", class_="lead", role="status"), look,
        el("h2", "Data sets"), _checks("What the open plans find in them", of_images),
        el("h2", "Everything else"), _checks("Keys, network, clock, disk, plans, release", others),
        el("p", note, class_="soft"),
    ]  # fmt: skip


def _checks(caption: str, checks: list[Tree]) -> Child:
    rows: list[list[Child]] = [
        [el("span", "✓ ok" if check["ok"] else "✕ NOT", class_="connected" if check["ok"] else "lost"),
         check["what"] if check["check"] == "images" else f"{check['check']}: {check['what']}", check["todo"] or "–"]
        for check in checks
    ]  # fmt: skip
    return stacked_table(caption, ["Is it?", "Found", "To do"], rows)


def models(catalogue: CommandAnswer, worth: list[Tree] | None, site: str) -> list[Child]:
    """What models are worth here that were compared; then the catalogue's, this hospital's own apart.

    Args:
        catalogue: of `catalogue --json`.
        worth: of `compare --json`; None: their role may not see it.
        site: this one.
    """
    body: list[Child] = [el("h1", "Models")]
    if worth is None:
        body.append(el("p", "What a model is worth here is for data-officer or researcher.", class_="soft"))
    for result in worth or ():
        body += [el("h2", result["model"]), el("p", result["verdict"], class_="lead"), _figures(result)]
    if worth == []:
        body.append(el("p", "No model was compared here yet: ", el("code", "python -m client compare MODEL"),
                       class_="lead"))  # fmt: skip
    try:
        entries = [entry for entry in catalogue.json() if entry["kind"] == "model"]
    except ConsiliumError as error:
        return [*body, el("h2", "Offered by partners"), el("p", str(error), class_="warn")]
    if catalogue.errors:
        body.append(el("p", catalogue.errors, class_="warn"))
    packages = {result["package"] for result in worth or ()}
    for title, of_site in (("Offered by partners", False), ("Offered by this hospital", True)):
        rows = [_model_row(entry, packages) for entry in entries if (entry["owner"] == site) is of_site]
        table = stacked_table(title, ["Model", "Tells apart", "By", "To know", "Worth here"], rows)
        body += [el("h2", title), table if rows else el("p", "None yet.", class_="soft")]
    return body


def _model_row(entry: Tree, packages: Container[str]) -> list[Child]:
    return [
        el("span", entry["title"], el("small", entry["address"])), entry["facts"].get("tells apart", "–"), entry["by"],
        f"Not real: {entry['doubt']}." if entry["doubt"] else "–",
        "above" if entry["package"] in packages else "not compared here",
    ]  # fmt: skip


def _figures(result: Tree) -> Child:
    names = {"local": "trained here alone", "federated": "federated", "personalised": "personalised"}
    measures = ("auc", "accuracy", "sensitivity", "specificity")
    rows: list[list[Child]] = [
        [title, *(figure(by.get(measure), by.get(f"{measure}_interval")) for measure in measures)]
        for name, title in names.items() if (by := result["figures"].get(name))
    ]  # fmt: skip
    caption = f"On {sum(result['by_class'])} test cases of this hospital, which took no part in any training"
    return stacked_table(caption, ["Model", "AUC", "Accuracy", "Sensitivity", "Specificity"], rows)


def privacy(accounts: Tree) -> list[Child]:
    """What the patients have paid under budgets of privacy, and what is left.

    Args:
        accounts: of `privacy show --json`.
    """
    rule, body = accounts["budget"], list[Child]([el("h1", "Accounts of the privacy budget")])
    if accounts["closed"]:
        body.append(el("p", f"CLOSED: {accounts['closed']}. Nothing is answered under a budget.", class_="warn"))
    if rule is None:
        none = "This hospital has no budget of its own (policy.privacy of site.yaml): each plan has its own."
        body.append(el("p", none, class_="lead"))
    else:
        required = " Plans without a budget are refused." if rule["required"] else ""
        body.append(el("p", f"Budget of each patient: ε {rule['epsilon']:g} at δ {rule['delta']:g}.{required}",
                       class_="lead"))  # fmt: skip
    if not accounts["plans"]:
        return [*body, el("p", "Nothing was answered under a budget yet.", class_="soft")]
    by_part: list[list[Child]] = [
        [f"{row['dataset']}, {row['part']}", f"{row['patients']:,}", f"{row['new']:,}", f"{row['epsilon']:.3f}",
         "–" if row["rest"] is None else _rest(row, rule)] for row in accounts["accounts"]
    ]  # fmt: skip
    by_plan: list[list[Child]] = [
        [row["plan"], f"{row['dataset']}, {row['part']}", f"{row['answers']:,}", f"{row['epsilon']:.3f}",
         moment(row["at_s"])] for row in accounts["plans"]
    ]  # fmt: skip
    return [
        *body,
        stacked_table(f"By data set: of the patient who has paid most, at δ {accounts['delta']:g}",
                      ["Patients of", "How many", "New", "ε spent", "ε left"], by_part),
        el("p", "New: those of the last plan who began at 0.", class_="soft"),
        el("h2", "What each plan has cost"),
        stacked_table("By plan", ["Plan", "Patients of", "Answers", "ε", "Last answer"], by_plan),
    ]  # fmt: skip


def _rest(row: Tree, rule: Tree) -> Child:
    bar = el("meter", min="0", max=str(rule["epsilon"]), value=str(row["rest"]),
             aria_label=f"ε left of {rule['epsilon']:g} for {row['dataset']}, {row['part']}")  # fmt: skip
    return el("span", f"{row['rest']:.3f} of {rule['epsilon']:g} ", bar)


def coordinator(witness: Tree) -> list[Child]:
    """What this site has seen of the coordinator's log, and who saw the same.

    Args:
        witness: of `witness --json`.
    """
    body: list[Child] = [el("h1", "What was seen of the coordinator")]
    if why := witness["refused"]:
        body.append(el("p", el("b", "Two histories. "), f"{why} This site answers no plan. Telephone the other sites "
                       "and the coordinator. A data officer who has found out why gives: ",
                       el("code", "python -m client witness --accept ROOT"), class_="warn", role="alert"))  # fmt: skip
    elif witness["seen"]:
        body.append(el("p", "✓ One history: every state of its log that this site was shown goes on from the one "
                       "before, and from what the other sites saw.", class_="lead"))  # fmt: skip
    if (head := witness["seen"]) is None:
        return [*body, el("p", "Nothing was seen of the coordinator's log yet.", class_="soft")]
    facts = {"Log of": head["log"], "Entries": f"{head['entries']:,}", "Until": moment(head["at_s"])}
    rows: list[list[Child]] = [
        [site, f"{int(word['size']):,} entries", moment(word["at_s"])] if word else [site, "no word from it", "–"]
        for site, word in witness["others"].items()
    ]  # fmt: skip
    return [
        *body, el("dl", *(el("div", el("dt", name), el("dd", text)) for name, text in facts.items()),
                  el("div", el("dt", "Root"), el("dd", el("code", head["root"], class_="whole"))), class_="facts"),
        el("h2", "Who saw the same"),
        stacked_table("Other sites, by their signed word", ["Site", "Saw", "Until"], rows),
        el("p", "Size and root can be read out over the telephone and compared.", class_="soft"),
    ]  # fmt: skip


def log(entries: list[Tree]) -> list[Child]:
    """The site's log, the newest first.

    Args:
        entries: of `audit show --json`.
    """
    rows: list[list[Child]] = [
        [str(entry["number"]), el("time", moment(entry["at_s"])), f"{entry['role'] or entry['user']}",
         el("span", entry["what"], el("small", OUTCOMES[entry["outcome"]] or None)),
         entry["plan"] or entry["dataset"] or "–", _entry_facts(entry["facts"]) or "–"] for entry in reversed(entries)
    ]  # fmt: skip
    note = f"The last {LAST} entries. All of them, and whether the log is what was written: "
    table = stacked_table("The newest first", ["Entry", "When (UTC)", "Who", "What", "About", "Facts"], rows)
    return [el("h1", "Log"), el("p", note, el("code", "python -m client audit verify"), class_="soft"),
            el("section", finder("an entry"), table)]  # fmt: skip


def _entry_facts(facts: dict[str, Any]) -> str:
    short = {name: f"{fact[:8]}…" if isinstance(fact, str) and len(fact) > 40 else fact for name, fact in facts.items()}
    return ", ".join(f"{name} {fact}" for name, fact in short.items() if name not in UNREAD)


def moment(at_s: float) -> str:
    """A moment, UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_s))

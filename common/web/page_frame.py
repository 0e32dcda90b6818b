"""What stands around every page: header, ways, footer. Nothing in it is loaded from elsewhere, or written inline."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from common.web.markup import Child, el, style

ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "find.js": "text/javascript"}
"""Files of this package that a page refers to, with their kinds."""
RESEARCH = "Research software, not a medical device."


@cache
def asset(name: str) -> bytes:
    """A file of this package; the style sheet stands on the report's."""
    content = Path(__file__).with_name(name).read_bytes()
    return style().encode() + content if name == "page.css" else content


def page(
    title: str, owner: str, ways: Mapping[str, str], body: Sequence[Child], here: str = "", events: str = ""
) -> bytes:
    """A whole page.

    Args:
        owner: whose page it is: the consortium, or the hospital.
        ways: addresses of the pages there are, with their names; empty for whoever is not logged in.
        here: this page's address.
        events: where the page hears what changes; empty: nowhere.
    """
    entries = [
        el("li", el("a", name, href=path, aria_current="page" if path == here else None)) for path, name in ways.items()
    ]
    leave = el("form", el("button", "Log out", type="submit"), method="post", action="/logout")
    live = el("p", "", id="link", role="status", class_="link") if events else None
    header = el(
        "header", el("a", "Skip to content", href="#content", class_="skip"),
        el("div", el("p", el("b", "Consilium"), " ", el("span", owner), class_="brand"), live,
           el("nav", el("ul", *entries), aria_label="Pages") if ways else None, leave if ways else None, class_="bar"),
    )  # fmt: skip
    head = el(
        "head", el("meta", charset="utf-8"), el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"), el("title", title),
        el("link", rel="stylesheet", href="/page.css"), el("link", rel="icon", href="data:,"),
        el("script", "", src="/find.js", defer="") if ways else None,
        el("script", "", src="/page.js", defer="") if events else None,
    )  # fmt: skip
    main = el("main", *body, id="content", tabindex="-1")
    body_element = el("body", header, main, el("footer", el("p", RESEARCH)), data_events=events or None)
    return b"<!DOCTYPE html>\n" + html(el("html", head, body_element, lang="en")).encode()


def finder(what: str) -> Element:
    """A box for a word: find.js hides rows and cards of the same parent in which it does not occur."""
    box = el("label", f"Find {what} ", el("input", type="search"))
    return el("p", box, " ", el("output"), class_="find", hidden="hidden")


def html(element: Element) -> str:
    """An element as text."""
    text: str = ElementTree.tostring(element, encoding="unicode", method="html")
    return text

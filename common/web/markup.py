"""Elements of a page, and numbers as people read them. What is text stays text: the serialiser escapes all of it."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from common.cli.progress import duration

Child = Element | str | None


def el(tag: str, *children: Child, **attributes: str | float | None) -> Element:
    """An element. `class_` is the attribute class, `stroke_width` is stroke-width; what is None is left out."""
    texts = {k.rstrip("_").replace("_", "-"): f"{v:.5g}" if isinstance(v, float) else str(v)
            for k, v in attributes.items() if v is not None}  # fmt: skip
    element = Element(tag, texts)
    for child in children:
        if isinstance(child, str):
            _append_text(element, child)
        elif child is not None:
            element.append(child)
    return element


def _append_text(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


@cache
def style() -> str:
    """The style sheet."""
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def document(title: str, style: str, *body: Child) -> bytes:
    """A whole page in UTF-8, which loads nothing: a browser is told to refuse it."""
    head = el(
        "head", el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"), el("title", title), el("style", style),
    )  # fmt: skip
    root = el("html", head, el("body", el("main", *body)), lang="en")
    text: str = ElementTree.tostring(root, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n".encode()


def figure(value: float | None, interval: Sequence[float] | None = None, deviation: float | None = None) -> Element:
    """A figure between −1 and 1 with its interval, and its deviation over seeds: 0.947 (0.910–0.968)."""
    if value is None:
        return el("span", "–", title="not defined: a class has no cases")
    element = el("span", _decimal(value), class_="figure")
    if deviation is not None:
        _append_text(element, " ")
        element.append(el("small", "±", _decimal(deviation)))
    if interval is not None:
        low, high = interval
        _append_text(element, " ")
        element.append(el("small", "(", _decimal(low), " to " if low < 0 else "–", _decimal(high), ")"))
    return element


def _decimal(value: float) -> Element:
    return _data(value, f"{round(value, 3) + 0.0:.3f}".replace("-", "−"))


def count(value: float) -> Element:
    """A number of things, as people read it."""
    return _data(value, f"{value:,.0f}")


def seconds(value: float) -> Element:
    """A length of time, as people read it."""
    return _data(value, duration(value))


def size(value: float) -> Element:
    """A number of bytes, as people read it."""
    for unit, much in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= much:
            return _data(value, f"{value / much:.1f} {unit}")
    return _data(value, f"{value:.0f} B")


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Child]], foot: int = 0) -> Element:
    """A table, its first column the rows' names; the last `foot` rows stand apart. Wide ones scroll by themselves."""
    body = [el("tr", el("th", row[0], scope="row"), *(el("td", cell) for cell in row[1:])) for row in rows]
    split = len(body) - foot
    top = el("thead", el("tr", *(el("th", name, scope="col") for name in head)))
    element = el(
        "table", el("caption", el("span", caption)), top,
        el("tbody", *body[:split]), el("tfoot", *body[split:]) if foot else None,
    )  # fmt: skip
    return el("div", element, class_="wide", tabindex="0", role="region", aria_label=caption)


def stacked_table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Child]]) -> Element:
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


def contents(body: Sequence[Element]) -> Element:
    """Links to the sections of a page, which get their names as addresses."""
    entries = []
    for heading in (inner for element in body for inner in element.iter("h2")):
        name = heading.text or ""
        heading.set("id", re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))
        entries.append(el("li", el("a", name, href=f"#{heading.get('id')}")))
    return el("nav", el("ul", *entries), class_="contents", aria_label="On this page")


def bullet_list(items: Sequence[Child]) -> Element:
    """A list with a bullet before each item."""
    return el("ul", *(el("li", item) for item in items))


def number(value: float, digits: int) -> Element:
    """A number with so many digits after the point."""
    return _data(value, f"{value:.{digits}f}")


def _data(value: float, text: str) -> Element:
    """A number of result.json, which the page holds in full."""
    return el("data", text, value=repr(value))

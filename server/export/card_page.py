"""A model card's sections as Markdown and as a page that loads nothing: one content, written twice."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from common.web.markup import Child, bullet_list, contents, document, el, style, table


@dataclass(frozen=True)
class Section:
    """A part of the card."""

    title: str
    lines: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    """A table, where there is one."""


def markdown(name: str, sections: Iterable[Section]) -> bytes:
    """The card as text."""
    parts = [f"# {name}: model card"]
    for section in sections:
        parts.append(f"## {section.title}")
        parts.append("\n".join(f"- {_plain(line)}" for line in section.lines))
        if section.rows:
            lines = [section.head, ["---"] * len(section.head), *section.rows]
            parts.append("\n".join("| " + " | ".join(map(_plain, line)) + " |" for line in lines))
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def page(name: str, sections: Iterable[Section]) -> bytes:
    """The card as a page that loads nothing."""
    top, body = [el("p", "Model card", class_="kind"), el("h1", name)], list[Element]()
    for section in sections:
        warn = "warn" if section.title == "What it is not good for" else None
        parts = [el("h2", section.title), bullet_list(section.lines), _table(section) if section.rows else None]
        body.append(el("section", *parts, class_=warn))
    return document(f"{name}: model card", style(), *top, contents(body), *body)


def _table(section: Section) -> Element:
    """As everywhere: intervals below their figures, digests that may break, words from the left."""
    element = table(section.title, section.head, [[*map(_cell, row)] for row in section.rows])
    if any(cell[:1].isalpha() for row in section.rows for cell in row[1:]):
        element[0].set("class", "words")
    return element


def _cell(text: str) -> Child:
    if re.search(r"[0-9a-f]{64}", text):
        return el("code", text)
    if match := re.fullmatch(r"(\d\.\d{3}) (\(.*\))", text):
        return el("span", match[1], " ", el("small", match[2]))
    return text


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return " ".join("".join("\\" + c if c in "\\`*_[]<>|#" else c for c in text).split())

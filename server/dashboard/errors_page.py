"""docs/errors.md as a page: what every error code means, and what to do."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from common.web.markup import Child, el

SOURCES = (Path(__file__).parents[2] / "docs" / "errors.md", Path(sys.prefix) / "share/doc/consilium/docs/errors.md")
"""In a checkout, and as a wheel installs it."""
_PIECE = re.compile(r"`([^`]+)`|\*([^*]+)\*|\[([^\]]+)\]\([^)]*\)")


def content() -> list[Child]:
    """The page's content: a section a code, whose id is the code."""
    elements: list[Child] = []
    source = next(path for path in SOURCES if path.exists())
    for block in source.read_text(encoding="utf-8").strip().split("\n\n"):
        if block.startswith("# "):
            elements.append(el("h1", block[2:]))
        elif block.startswith("## "):
            elements.append(el("h2", block[3:], id=block[3:].replace(" ", "-")))
        elif block.startswith("```"):
            elements.append(el("pre", block.strip("`\n")))
        elif block.startswith("- "):
            elements.append(el("ul", *(el("li", *_inline(item)) for item in re.split(r"\n- ", block[2:]))))
        elif block.startswith("|"):
            elements.append(_table(block))
        else:
            elements.append(el("p", *_inline(block)))
    return [*elements[:1], _index(elements), *elements[1:]]


def _index(elements: Sequence[Child]) -> Child:
    """A link to every section; what the second word of an error says is found in the browser's search."""
    names = [(element.get("id"), element.text) for element in elements if isinstance(element, Element)]
    links = [el("li", el("a", text, href=f"#{name}")) for name, text in names if name]
    return el("nav", el("ul", *links, class_="index"), aria_label="Errors")


def _inline(text: str) -> list[Child]:
    """Code, emphasis and the words of links; all else as it is."""
    elements, at = list[Child](), 0
    for piece in _PIECE.finditer(text):
        code, emphasis, link = piece.groups()
        elements += [text[at : piece.start()]]
        elements += [el("code", code) if code else el("em", *_inline(emphasis)) if emphasis else link]
        at = piece.end()
    return [*elements, text[at:]]


def _table(block: str) -> Child:
    head, _, *body = [[cell.strip() for cell in line.strip("| ").split("|")] for line in block.splitlines()]
    rows = [
        el("tr", el("th", *_inline(row[0]), scope="row", id=row[0].strip("`")),
           *(el("td", *_inline(cell)) for cell in row[1:])) for row in body
    ]  # fmt: skip
    top = el("tr", *(el("th", *_inline(cell), scope="col") for cell in head))
    table = el("table", el("thead", top), el("tbody", *rows), class_="words")
    return el("div", table, class_="wide", tabindex="0", role="region", aria_label=", ".join(head))

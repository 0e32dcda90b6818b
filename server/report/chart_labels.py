"""What is written into a chart of lines: values under the pointer, without a script, and names at the lines' ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element

from common.web.markup import el

LINE, CHARACTER, INSET = 15.0, 7.2, 8.0
MOST_STOPS = 80
"""Along a chart: more would be narrower than a pointer."""
MOST_LINES = 12
"""Of values at a stop: more would not fit into a chart."""
LONGEST = 13
"""Characters of a name at a line's end."""


@dataclass(frozen=True)
class Stop:
    """A place along a chart, in the picture's units, and what is said when the pointer is there."""

    x: float
    lines: Sequence[str]
    dots: Sequence[tuple[float, int]]
    """(y, style) of each point that is spoken of."""


@dataclass(frozen=True)
class Field:
    """Where a chart has its lines, in the picture's units."""

    left: float
    right: float
    top: float
    foot: float


def readings(stops: Sequence[Stop], field: Field, low: bool) -> list[Element]:
    """Upright bands that cover a chart from left to right; each shows its values while the pointer is on it.

    Args:
        low: they are written at the foot, where lines that rise leave room.
    """
    stops_in_use = [*stops[:: -(-len(stops) // MOST_STOPS) or 1]]
    edges = [field.left, *((a.x + b.x) / 2 for a, b in pairwise(stops_in_use)), field.right]
    return [
        el("g", el("rect", x=begin, y=field.top, width=max(end - begin, 0.1), height=field.foot - field.top,
                   class_="catch"), _box(stop, field, low), class_="at")
        for stop, (begin, end) in zip(stops_in_use, pairwise(edges), strict=True)
    ]  # fmt: skip


def _box(stop: Stop, field: Field, low: bool) -> Element:
    """On the side where there is more room."""
    width, height = CHARACTER * max(map(len, stop.lines)) + 2 * INSET, LINE * len(stop.lines) + INSET
    beside = stop.x + INSET if stop.x < (field.left + field.right) / 2 else stop.x - INSET - width
    x = max(0.0, min(beside, field.right - width))
    y = field.foot - height - INSET if low else field.top
    words = [el("text", line, x=x + INSET, y=y + LINE * (i + 1)) for i, line in enumerate(stop.lines)]
    return el(
        "g", el("line", x1=stop.x, x2=stop.x, y1=field.top, y2=field.foot, class_="guide"),
        *(el("circle", cx=stop.x, cy=y, r=3.5, class_=f"dot s{style}") for y, style in stop.dots),
        el("rect", x=x, y=y, width=width, height=height, rx=4.0), *words,
    )  # fmt: skip


def short(name: str, longest: int = LONGEST) -> str:
    """A name with its beginning and its end, by which names of one kind differ."""
    if len(name) <= longest:
        return name
    return f"{name[: longest - longest // 2 - 1]}…{name[-(longest // 2) :]}"


def room(names: Sequence[str]) -> float:
    """The width that names at the lines' ends take."""
    return CHARACTER * max(len(short(name)) for name in names) + 2 * INSET


def ends(lines: Sequence[tuple[float, int, str]], x: float, top: float, foot: float) -> list[Element]:
    """Names beside the last points of lines, (y, style, name), moved apart where they would lie on each other."""
    ends_by_height = sorted(lines)
    places = [y for y, _, _ in ends_by_height]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + LINE)
    limit = foot
    for i in reversed(range(len(places))):
        places[i] = max(min(places[i], limit), top)
        limit = places[i] - LINE
    return [el("text", short(name), x=x + INSET, y=y + 4, class_=f"end e{style}")
            for y, (_, style, name) in zip(places, ends_by_height, strict=True)]  # fmt: skip

"""Charts as SVG. Every series has a shape and a dash of its own, so that colour is never the only thing to tell by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from common.web.markup import Child, el
from server.report import chart_labels

WIDTH, HEIGHT = 440.0, 300.0
LEFT, RIGHT = 66.0, 12.0
TOP, BOTTOM = 12.0, 44.0
"""Margins around the picture."""
SHAPES = ("diamond", "bar", "square", "circle", "triangle", "cross")
STYLES = {"federated": 0, "pooled": 1, "personalised": 2, "local": 3, "noiseless": 4, "left_out": 5}
"""The number of an approach's colour, dash (style.css) and shape."""

Point = tuple[float, float]


def spelled(approach: str) -> str:
    """An approach as people read it: left out."""
    return approach.replace("_", " ")


@dataclass(frozen=True)
class Axis:
    """One axis with what it shows, in data's units."""

    label: str
    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies on the axis, 0 to 1."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round numbers on the axis."""
        from matplotlib.ticker import MaxNLocator

        slack = 1e-9 * (self.high - self.low)
        ticks = MaxNLocator(7, steps=[1, 2, 2.5, 5, 10], integer=self.high > 2).tick_values(self.low, self.high)
        return [float(t) for t in ticks if self.low - slack <= t <= self.high + slack]


SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Frame:
    """Two axes, and where points fall on the picture."""

    x: Axis
    y: Axis
    right: float = RIGHT
    """What is left free beside the picture."""

    def at(self, point: Point) -> Point:
        """Where a point lies, in the picture's units."""
        wide, high = WIDTH - LEFT - self.right, HEIGHT - TOP - BOTTOM
        return LEFT + wide * self.x.at(point[0]), TOP + high * (1 - self.y.at(point[1]))

    def line(self, points: Sequence[Point], style: int | str, name: str = "") -> Element | None:
        """A line through points."""
        if not points:
            return None
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.at, points))
        return el("polyline", el("title", name) if name else None, points=path, class_=f"line s{style}")

    def band(self, points: Sequence[tuple[float, float, float]], style: int) -> Element | None:
        """What lies between low and high: (x, low, high)."""
        if not points:
            return None
        edge = [(x, high) for x, _, high in points] + [(x, low) for x, low, _ in reversed(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.at, edge))
        return el("polygon", points=path, class_=f"band s{style}")

    def mark(self, point: Point, style: int, name: str) -> Element:
        """A point, by its style's shape."""
        return marker(*self.at(point), style, name)

    def whisker(self, low: Point, high: Point, style: int) -> Element:
        """An interval as a line between its ends."""
        (x1, y1), (x2, y2) = self.at(low), self.at(high)
        return el("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=f"whisker s{style}")

    def readings(self, stops: Sequence[chart_labels.Stop], rising: bool) -> list[Element]:
        """What is said of the places under the pointer, where lines that rise, or fall, leave room."""
        return chart_labels.readings(
            stops, chart_labels.Field(LEFT, WIDTH - self.right, TOP, HEIGHT - BOTTOM), low=rising
        )

    def render(self, title: str, description: str, *marks: Child) -> Element:
        """The picture: axes, then marks."""
        x0, y0 = LEFT, HEIGHT - BOTTOM
        x1, y1 = WIDTH - self.right, TOP
        grid: list[Element] = []
        for value in self.x.ticks():
            x = self.at((value, self.y.low))[0]
            grid += [el("line", x1=x, x2=x, y1=y0, y2=y1, class_="grid"),
                     el("text", f"{value:g}", x=x, y=y0 + 16, text_anchor="middle")]  # fmt: skip
        for value in self.y.ticks():
            y = self.at((self.x.low, value))[1]
            grid += [el("line", x1=x0, x2=x1, y1=y, y2=y, class_="grid"),
                     el("text", f"{value:g}", x=x0 - 6, y=y + 4, text_anchor="end")]  # fmt: skip
        names = [
            el("text", self.x.label, x=(x0 + x1) / 2, y=HEIGHT - 6, text_anchor="middle", class_="axis"),
            el("text", self.y.label, transform=f"translate(11 {(y0 + y1) / 2:.0f}) rotate(-90)", text_anchor="middle",
               class_="axis"),
        ]  # fmt: skip
        return picture(title, description, WIDTH, HEIGHT, *grid, *names, *marks)


def picture(title: str, description: str, width: float, height: float, *marks: Child) -> Element:
    """An SVG with a description for whoever cannot see it; a title would hide, as a tooltip, what the pointer is at."""
    return el("svg", *marks, viewBox=f"0 0 {width:.0f} {height:.0f}", role="img", aria_label=f"{title}. {description}")


def captioned(heading: str, chart: Element, *below: Child) -> Element:
    """A chart with its heading and what is to be said of it."""
    return el("figure", el("h3", heading), chart, el("figcaption", *below))


def legend(entries: Sequence[tuple[int, Child]], choosable: bool = False) -> Element:
    """What the styles stand for.

    Args:
        choosable: with boxes to tick, by which the style sheet hides what is not ticked.
    """

    def swatch(style: int) -> Element:
        line = el("line", x1=0.0, x2=30.0, y1=11.0, y2=11.0, class_=f"line s{style}")
        return el("svg", line, marker(15.0, 11.0, style, ""), viewBox="0 0 30 22", class_="swatch", aria_hidden="true")

    def entry(style: int, name: Child) -> Element:
        if not choosable:
            return el("li", swatch(style), " ", name)
        box = el("input", type="checkbox", checked="checked", class_=f"show{style}")
        return el("li", el("label", box, swatch(style), " ", name))

    return el("ul", *(entry(style, name) for style, name in entries), class_="legend")


def marker(x: float, y: float, style: int, name: str) -> Element:
    """A mark around a point, in the shape and the colour of its style."""
    r = 5.0
    paths = {
        "diamond": f"M{x - r - 1} {y}L{x} {y - r - 1}L{x + r + 1} {y}L{x} {y + r + 1}Z",
        "bar": f"M{x - 1.5} {y - 2 * r}h3v{4 * r}h-3Z",
        "square": f"M{x - r + 0.5} {y - r + 0.5}h{2 * r - 1}v{2 * r - 1}h{1 - 2 * r}Z",
        "circle": f"M{x - r} {y}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z",
        "triangle": f"M{x} {y - r - 1}L{x + r + 1} {y + r}L{x - r - 1} {y + r}Z",
        "cross": f"M{x - r} {y - r}l{2 * r} {2 * r}M{x + r} {y - r}l{-2 * r} {2 * r}",
    }
    return el(
        "path", el("title", name) if name else None, d=paths[SHAPES[style % len(SHAPES)]], class_=f"mark s{style}"
    )


def roc(title: str, classes: Sequence[tuple[int, str, Any]], point: Any = None) -> Element:
    """ROC curves: (style, name, class of `server.results.outcome_counts`); the first with its band.

    Args:
        point: the figures at the operating point.
    """
    frame = Frame(Axis("1 − specificity", *SHARE), Axis("sensitivity", *SHARE))
    curves = [(style, name, description["roc"]) for style, name, description in classes]
    band = [(p["false"], *p["interval"]) for p in curves[0][2]]
    marks = [frame.line([(0, 0), (1, 1)], "chance", "chance"), frame.band(band, curves[0][0])]
    marks += [frame.line([(p["false"], p["true"]) for p in line], style, name) for style, name, line in curves]
    if point and point["sensitivity"] is not None and point["specificity"] is not None:
        x, y = 1 - point["specificity"], point["sensitivity"]
        (far, near), (low, high) = (1 - v for v in point["specificity_interval"]), point["sensitivity_interval"]
        style, name = curves[0][0], f"operating point: sensitivity {y:.3f}, specificity {1 - x:.3f}"
        marks += [frame.whisker((near, y), (far, y), style), frame.whisker((x, low), (x, high), style)]
        marks += [frame.mark((x, y), style, name)]
    description = "; ".join(f"{name}: AUC {c['auc']:.3f}" for _, name, c in classes if c["auc"] is not None)
    return frame.render(title, description + ".", *marks, *frame.readings(_along(frame, curves[0]), rising=True))


def _along(frame: Frame, curve: tuple[int, str, Sequence[Any]]) -> list[chart_labels.Stop]:
    """What a ROC curve offers: at points far enough from each other for a pointer."""
    style, name, points = curve
    stops: list[chart_labels.Stop] = []
    for point in points:
        x, y = frame.at((point["false"], point["true"]))
        if stops and x - stops[-1].x < 5:
            continue
        low, high = point["interval"]
        lines = name, f"specificity {1 - point['false']:.3f}", f"sensitivity {point['true']:.3f} ({low:.3f}–{high:.3f})"
        stops.append(chart_labels.Stop(x, lines, [(y, style)]))
    return stops


def calibration(title: str, points: Sequence[Any]) -> Element:
    """Observed shares over predicted probabilities with intervals; at the foot how many cases each stands on."""
    frame, style = Frame(Axis("predicted probability", *SHARE), Axis("observed share", *SHARE)), STYLES["federated"]
    most = max((p["n"] for p in points), default=1)
    bars = [_bar(frame, p["predicted"], 0.18 * p["n"] / most, p["n"]) for p in points]
    dots = [(p["predicted"], p["observed"]) for p in points]
    whiskers = [
        frame.whisker((p["predicted"], p["interval"][0]), (p["predicted"], p["interval"][1]), style) for p in points
    ]
    marks = [frame.mark(dot, style, f"predicted {dot[0]:.2f}, observed {dot[1]:.2f}, {p['n']} cases")
             for dot, p in zip(dots, points, strict=True)]  # fmt: skip
    description = "; ".join(f"predicted {x:.2f}, observed {y:.2f}" for x, y in dots)
    diagonal = frame.line([(0, 0), (1, 1)], "chance", "perfectly calibrated")
    return frame.render(title, description + ".", *bars, diagonal, frame.line(dots, style), *whiskers, *marks)


def _bar(frame: Frame, x: float, high: float, n: int) -> Element:
    (x_left, top), (_, foot) = frame.at((x, high)), frame.at((x, 0.0))
    return el("rect", el("title", f"{n} cases"), x=x_left - 8, y=top, width=16.0, height=foot - top, class_="bars")


def areas(
    title: str, rows: Sequence[tuple[str, Any]], approaches: Sequence[str], label: str = "test AUC"
) -> Element | None:
    """A row a site or a run, a mark an approach, at its AUC; the federated model's with its interval."""
    known_areas = [row[a]["auc"] for _, row in rows for a in approaches if row[a]["auc"] is not None]
    lows = [i[0] for _, row in rows if (i := row["federated"].get("auc_interval"))]
    if not known_areas:
        return None
    step, inset = 40.0, 8.0
    axis = Axis(label, max(0.0, min([*known_areas, *lows]) - 0.02), 1.0)

    def at(value: float) -> float:
        return inset + (WIDTH - 2 * inset) * axis.at(value)

    height = step * len(rows)
    marks: list[Element] = []
    for value in axis.ticks():
        marks += [el("line", x1=at(value), x2=at(value), y1=0.0, y2=height, class_="grid"),
                  el("text", f"{value:g}", x=at(value), y=height + 16, text_anchor="middle")]  # fmt: skip
    for i, (name, row) in enumerate(rows):
        y = step * i + 28
        marks += [el("text", name, x=inset, y=y - 14, class_="row"),
                  el("line", x1=inset, x2=WIDTH - inset, y1=y, y2=y, class_="grid")]  # fmt: skip
        if interval := row["federated"].get("auc_interval"):
            marks.append(el("line", x1=at(interval[0]), x2=at(interval[1]), y1=y, y2=y, class_="whisker s0"))
        for a in reversed(approaches):
            if (area := row[a]["auc"]) is not None:
                marks.append(marker(at(area), y, STYLES[a], f"{name}, {spelled(a)}: {area:.3f}"))
    axis_name = el("text", axis.label, x=WIDTH / 2, y=height + 34, text_anchor="middle", class_="axis")
    return picture(title, "The same figures are in the table below.", WIDTH, height + 40, *marks, axis_name)

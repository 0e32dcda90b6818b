"""Learning curves: a validation figure after every round, with its values under the pointer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from common.web.markup import el
from server.report import chart_labels
from server.report.charts import BOTTOM, HEIGHT, RIGHT, TOP, WIDTH, Axis, Frame, Point

MOST_NAMED = 10
"""Lines that get their names at their ends, where some of them look alike."""


@dataclass(frozen=True)
class Curve:
    """A validation figure after every round that has one."""

    style: int
    name: str
    points: Sequence[Point]

    @property
    def tip(self) -> str:
        """The curve's name at its end."""
        return self.name.removesuffix(" alone")


def chart(
    title: str,
    runs: Sequence[tuple[int, str, Sequence[Any]]],
    what: str,
    label: str,
    void: Sequence[int] = (),
    kept_round: int | None = None,
) -> Element | None:
    """A validation figure after every round: (style, name, records) of each run; None where no round has it.

    Void rounds are marked at the foot, the one whose model was kept by an upright line.
    """
    curves = [Curve(style, name, [(r["round"] + 1.0, r["validation"][what]) for r in records
                                  if (r["validation"] or {}).get(what) is not None])
              for style, name, records in runs]  # fmt: skip
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return None
    last = max([2.0, *(r["round"] + 1.0 for _, _, records in runs for r in records)])
    has_names = 1 < len(curves) <= MOST_NAMED and len({curve.style for curve in curves}) < len(curves)
    right = chart_labels.room([curve.tip for curve in curves]) if has_names else RIGHT
    frame, rising = Frame(Axis("round", 1.0, last), _upright(label, curves, what), right), what == "auc"
    marks: list[Element | None] = [_line_of_kept_round(frame, kept_round, rising)] if kept_round is not None else []
    for curve in curves:
        marks += [frame.line(curve.points, curve.style), frame.mark(curve.points[-1], curve.style, "")]
    marks += [frame.mark((r + 1.0, frame.y.low), 5, "") for r in void]
    if has_names:
        tips = [(frame.at(curve.points[-1])[1], curve.style, curve.tip) for curve in curves]
        marks += chart_labels.ends(tips, WIDTH - right, TOP, HEIGHT - BOTTOM)
    description = "; ".join(
        f"{curve.name}: from {curve.points[0][1]:.3f} to {curve.points[-1][1]:.3f}" for curve in curves
    )
    return frame.render(title, description + ".", *marks, *frame.readings(_stops(frame, curves, set(void)), rising))


def _upright(label: str, curves: Sequence[Curve], what: str) -> Axis:
    values = [y for curve in curves for _, y in curve.points]
    low, high = min(values), max(values)
    slack = max(0.05 * (high - low), 0.025 if what == "auc" else 0.02 * high)  # chance alone is not to fill a chart
    return Axis(label, max(0.0, low - slack), min(1.0, high + slack) if what == "auc" else high + slack)


def _line_of_kept_round(frame: Frame, number: int, rising: bool) -> Element:
    """Named where lines that rise, or fall, leave room."""
    x, foot = frame.at((number + 1.0, frame.y.low))
    late = x > WIDTH / 2
    name = el("text", "kept", x=x - 5 if late else x + 5, y=foot - 14 if rising else TOP + 14,
              text_anchor="end" if late else None)  # fmt: skip
    return el("g", el("line", x1=x, x2=x, y1=TOP, y2=foot, class_="guide"), name)


def _stops(frame: Frame, curves: Sequence[Curve], void: set[int]) -> list[chart_labels.Stop]:
    """At every round the curves' values, as they lie there; of many, those of sites alone are left out."""
    stops = []
    for x in sorted({x for curve in curves for x, _ in curve.points}):
        every = sorted((c.style, y, c.name) for c in curves for at, y in c.points if at == x)
        here = sorted(((y, style, name) for style, y, name in every[: chart_labels.MOST_LINES]), reverse=True)
        lines = [f"round {x:.0f}" + " (void)" * (x - 1 in void)]
        lines += [f"{y:.3f} {chart_labels.short(name, 20)}" for y, _, name in here] + ["…"] * (len(every) > len(here))
        stops.append(chart_labels.Stop(frame.at((x, 0.0))[0], lines, [(frame.at((x, y))[1], s) for y, s, _ in here]))
    return stops

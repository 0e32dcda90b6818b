"""The decision curve: what acting by a model is worth, from each probability on."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from server.report.charts import SHARE, STYLES, Axis, Frame


def chart(title: str, rows: Sequence[Any]) -> Element:
    """Net benefit over the probability from which one acts: by the model, and on all; cut below at a little under 0."""
    top = max([0.05, *(max(row["model"], row["all"]) for row in rows)])
    frame = Frame(Axis("probability from which to act", *SHARE), Axis("net benefit", -0.2 * top, 1.05 * top))
    least = -0.2 * top
    lines = {name: [(row["threshold"], row[name]) for row in rows if row[name] >= least] for name in ("all", "model")}
    marks = [frame.line([(0, 0), (1, 0)], "chance", "on nobody")]
    marks += [frame.line(lines["all"], STYLES["pooled"], "on all"), frame.line(lines["model"], STYLES["federated"])]
    description = "; ".join(f"from {row['threshold']:g}: {row['model']:.3f}, all {row['all']:.3f}" for row in rows)
    return frame.render(title, description + ".", *marks)

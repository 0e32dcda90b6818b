"""Rounds as curves, as a table and as CSV: what report, live page and comparison share."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element

from common.web.markup import Child, el, figure, number, table
from server.report import charts, learning_curves

KINDS = (("auc", "validation AUC", "AUC"), ("loss", "validation loss", "Loss"))
VOID = "void round: too few answered, or they refused; the model stayed as it was"

Run = tuple[int, str, Sequence[Any]]
"""A curve's style and name, and the records of its rounds."""


def curves(
    runs: Sequence[Run], legend: Sequence[tuple[int, Child]], void: Sequence[int] = (), kept_round: int | None = None
) -> Element | None:
    """AUC and loss round by round, with a legend that shows and hides curves; None where no round was evaluated."""
    figures: list[Child] = []
    for what, label, name in KINDS:
        if chart := learning_curves.chart(
            f"{name} on validation cases, round by round", runs, what, label, void, kept_round
        ):
            figures.append(charts.captioned(name, chart))
    if not figures:
        return None
    many = len(legend) > 1
    below = charts.legend(legend, choosable=True) if many else None
    marked = charts.legend([(5, VOID)]) if void else None
    return el("div", el("div", *figures, class_="charts"), below, marked, class_="curves")


def numbers(records: Sequence[Mapping[str, Any]], *below: Child) -> Element:
    """Every round's figures, the newest first, folded away."""
    head = ["Round", "AUC", "Loss", "Seconds", "Without"]
    rows = [_row(r) for r in reversed(records)]
    return el(
        "details", el("summary", "The same as numbers"), table("Every round, the newest first", head, rows), *below
    )


def _row(record: Mapping[str, Any]) -> list[Child]:
    validation = record["validation"] or {}
    loss = validation.get("loss")
    return [str(record["round"] + 1) + (" (void)" if record["void"] else ""), figure(validation.get("auc")),
            "–" if loss is None else number(loss, 4), number(record["seconds"], 1),
            without(record) or "–"]  # fmt: skip


def without(record: Mapping[str, Any]) -> str:
    """Who was asked in a round and is not in its sum: silent by name alone, refusing with the code."""
    refusals = [f"{site} ({code})" for site, code in record.get("refused", {}).items()]
    return ", ".join([*record["dropped"], *refusals])


def download(name: str, runs: Sequence[Run]) -> Element:
    """A link to the curves as CSV, which the page holds itself."""
    return el("a", "Save the curves as CSV", download=f"{name}-curves.csv",
              href="data:text/csv;charset=utf-8," + quote(_csv(runs)))  # fmt: skip


def _csv(runs: Sequence[Run]) -> str:
    """A row a round and curve. A name that a spreadsheet would take for a formula is given a quote before it."""
    output = io.StringIO()
    rows = csv.writer(output)
    rows.writerow(["curve", "round", "auc", "loss", "accuracy", "n"])
    for _, name, records in runs:
        safe = f"'{name}" if name[:1] in "=+-@\t\r" else name
        for record in records:
            validation = record["validation"] or {}
            rows.writerow(
                [safe, record["round"] + 1, *(validation.get(key) for key in ("auc", "loss", "accuracy", "n"))]
            )
    return output.getvalue()

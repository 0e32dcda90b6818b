"""Outcomes as a table on the screen, and as CSV and JSON for programs."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from client.prediction.outcome import Outcome, percent, statement
from client.sources.csv_text import spreadsheet_cell
from common.cli.terminal import Sheet
from common.package import PackageContent

MOST_ROWS = 50
"""On a screen; a pipe and the files have all."""


@dataclass(frozen=True)
class OutcomeRow:
    """What is kept of an outcome: no pixels."""

    image: str
    answer: str
    probability: float | None
    """That the answer is right."""
    values: Mapping[str, Any]
    """All that CSV and JSON say of the image, by column."""
    statement: str
    unlike: str
    """The warning; empty where there is none."""


def row(content: PackageContent, result: Outcome, unlike: str) -> OutcomeRow:
    """An outcome without its pixels."""
    alike, answer = result.alike, content.labels[result.answer]
    low, high = (alike.interval if alike else None) or (None, None)
    probability = None if result.probabilities is None else result.probabilities[result.answer]
    values: dict[str, Any] = {"image": result.name, "answer": answer, "probability": probability}
    if result.finding is not None:
        values |= {"finding": content.labels[1], "answer": ("absent", "present")[result.answer]}
        content = content.model_copy(update={"labels": ("absent", "present")})
    for name, p in zip(content.labels, result.probabilities or (None,) * len(content.labels), strict=True):
        values[f"probability of {name}"] = p
    values |= {"operating point": result.point, "validation cases alike": alike.n if alike else None}
    values |= {"of them as answered": alike.of_class if alike else None, "interval low": low, "interval high": high}
    values |= {f"logit of {name}": z for name, z in zip(content.labels, result.logits, strict=True)}
    values |= {"distance": result.distance, "unlike the training": unlike}
    return OutcomeRow(result.name, answer, probability, values, statement(content, result), unlike)


def table(rows: Sequence[OutcomeRow]) -> Sheet:
    """The first rows as a table for people."""
    how_often = "how often that was right"
    sheet = Sheet("image", "answer", "probability", how_often, prose=(how_often,), right=("probability",))
    for one in rows:
        probability = "–" if one.probability is None else percent(one.probability)
        warning = [(f"{one.unlike}\n", "bold yellow")] if one.unlike else []
        sheet.add(one.image, Text(one.answer, "bold"), probability, Text.assemble(*warning, one.statement))
    return sheet


def as_csv(rows: Sequence[OutcomeRow]) -> bytes:
    """All of it, a row an image."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0].values) if rows else ["image"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: spreadsheet_cell(value) for key, value in one.values.items()} for one in rows)
    return text.getvalue().encode()

"""The dossier of a run: what is asked of a model's publisher, and as much of it as the record of the run answers.

Model card (Mitchell et al., FAT* 2019), CLAIM (Tejani et al., Radiology: Artificial Intelligence 2024), TRIPOD+AI
(Collins et al., BMJ 2024), Annex IV of Regulation (EU) 2024/1689. What is asked stands in `checklists.csv`, in short
and in our words: the originals say it in full. Each cell names the file that it comes from. What nobody recorded stays
empty.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import Element

from common.web.markup import Child, contents, document, el, style, table
from server.export.recorded_fact import RecordedFact
from server.export.recorded_facts import facts_of
from server.report.sentences import Result

LISTS = Path(__file__).with_name("checklists.csv")
EMPTY = "not recorded"
COLUMNS = ("list", "item", "asks", "answer", "source")


@dataclass(frozen=True)
class DossierCell:
    """One item of a list."""

    list: str
    item: str
    asks: str
    answers: tuple[RecordedFact, ...]


def cells_of(result: Result, statements: Mapping[str, str], statements_file: str = "") -> list[DossierCell]:
    """Every item of every list with what answers it.

    Args:
        statements: what the publisher adds, by list and item: `{"CLAIM 2024 34": "NCT01234567"}`.
        statements_file: the name of the file that they stand in.
    """
    facts, cells = facts_of(result), []
    for row in items():
        answers = [facts[name] for name in row["facts"].split() if name in facts]
        if text := statements.get(f"{row['list']} {row['item']}"):
            answers.append(RecordedFact(text, statements_file))
        cells.append(DossierCell(row["list"], row["item"], row["asks"], tuple(answers)))
    return cells


@lru_cache(maxsize=1)
def items() -> tuple[dict[str, str], ...]:
    """What is asked, a row an item."""
    with LISTS.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def as_table(cells: Sequence[DossierCell]) -> bytes:
    """The dossier for programs: a row for each answer, and one for each item without."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for cell in cells:
        for fact in cell.answers or (RecordedFact(EMPTY, ""),):
            rows.writerow([cell.list, cell.item, cell.asks, fact.text, fact.source])
    return text.getvalue().encode()


def as_page(name: str, cells: Sequence[DossierCell]) -> bytes:
    """The dossier for people: one page that loads nothing."""
    many = sum(bool(cell.answers) for cell in cells)
    top = [
        el("p", "Dossier", class_="kind"), el("h1", name),
        el(
            "p",
            f"{many} of {len(cells)} items are answered by the record of the run, each with the file that it comes "
            f"from; {len(cells) - many} are not recorded, and stay empty. What is asked stands here in short; the "
            "originals say it in full. Research software, not a medical device.",
        ),
    ]  # fmt: skip
    body = [el("section", el("h2", title), _list(title, cells)) for title in dict.fromkeys(cell.list for cell in cells)]
    return document(f"{name}: dossier", style(), *top, contents(body), *body)


def _list(title: str, cells: Sequence[DossierCell]) -> Element:
    """One list as a table; each answer with its source below it."""
    rows = [[cell.item, cell.asks, _answers(cell.answers)] for cell in cells if cell.list == title]
    empty = sum(not cell.answers for cell in cells if cell.list == title)
    caption = f"{len(rows) - empty} of {len(rows)} items are answered"
    element = table(caption, ("item", "what is asked", "what the record says, and where"), rows)
    element[0].set("class", "words")  # from the left
    return element


def _answers(answers: Sequence[RecordedFact]) -> Child:
    if not answers:
        return el("em", EMPTY)
    return el("div", *(paragraph for fact in answers for paragraph in _paragraphs(fact)))


def _paragraphs(fact: RecordedFact) -> list[Element]:
    """A paragraph a line, the source below the last."""
    *lines, last = fact.text.split("\n")
    return [*(el("p", line) for line in lines), el("p", last, " ", el("small", fact.source))]

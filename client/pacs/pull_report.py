"""What became of each study of a worklist: complete, or which causes kept it or a part of it from arriving."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from client.pacs.worklist import WorkItem
from client.sources.case_table import Problem
from client.sources.csv_text import spreadsheet_cell

State = Literal["complete", "incomplete", "absent", "withdrawn", "not asked for"]
"""`withdrawn`: its patient withdrew from the data set, and it stays out."""
COLUMNS = ("row", "accession", "state", "images", "stored", "causes", "what")


@dataclass
class StudyEntry:
    """What became of one study."""

    item: WorkItem
    images: dict[str, int] = field(default_factory=dict)
    """SOP Instance UIDs that the archive has of it, each with its number from 1."""
    in_custody: set[str] = field(default_factory=set)
    """Of those, what is in custody."""
    misses: list[tuple[str, str]] = field(default_factory=list)
    """Cause, and what happened."""
    is_withdrawn: bool = False
    is_over: bool = False

    def miss(self, cause: str, what: str) -> None:
        """A cause by which it, or a part of it, did not arrive."""
        if (cause, what) not in self.misses:
            self.misses.append((cause, what))

    @property
    def state(self) -> State:
        """In a word."""
        if self.is_withdrawn:
            return "withdrawn"
        if not self.is_over and not self.misses:
            return "not asked for"
        if not self.misses and self.in_custody == set(self.images):
            return "complete"
        return "incomplete" if self.in_custody else "absent"


@dataclass
class PullReport:
    """All studies of a worklist, in its order, and the rows that could not be asked for."""

    entries: list[StudyEntry]
    rows: Sequence[Problem] = ()
    """Rows of the worklist that are wrong."""

    def counts(self) -> Counter[str]:
        """Studies by state."""
        return Counter(entry.state for entry in self.entries)

    def causes(self) -> Counter[str]:
        """Studies by cause; one may have several."""
        return Counter(cause for entry in self.entries for cause in {cause for cause, _ in entry.misses})

    def as_csv(self) -> bytes:
        """A row a study."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for entry in self.entries:
            causes, what = (" | ".join(dict.fromkeys(miss[i] for miss in entry.misses)) for i in (0, 1))
            if entry.state in ("incomplete", "absent"):
                causes = causes or "interrupted"
            cells = [entry.item.number, entry.item.accession, entry.state, len(entry.images), len(entry.in_custody)]
            writer.writerow(map(spreadsheet_cell, (*cells, causes, what)))
        for row in self.rows:
            writer.writerow(map(spreadsheet_cell, (row.row, "", "not asked for", 0, 0, "worklist", row.what)))
        return text.getvalue().encode()

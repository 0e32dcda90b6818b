"""What a CSV or a folder lists: a row an image, none of them opened yet, and what is wrong with others."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from client.readers import Frames
from client.readers.source import ImageSource
from client.sources import identity, spelling
from client.sources.case_table import Problem, Split
from common.config import DataSource


@dataclass(frozen=True)
class CaseRow:
    """One file, or one frame of it, as the data set lists it."""

    origin: ImageSource
    label: str
    """Its class, or its findings (`client.sources.findings`)."""
    number: int | None = None
    """Row of the CSV; the header is row 1."""
    site: str | None = None
    patient: str | None = None
    split: Split | None = None
    frames: Frames = "middle"

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return str(self.origin) if self.number is None else f"row {self.number}"


@dataclass
class CaseListing:
    """All rows of a list."""

    rows: list[CaseRow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unused: tuple[str, ...] = ()
    """What was found and not used, counted and named."""

    def name_patients(self, rule: str | None, base: Path) -> None:
        """Take the patients that a rule reads out of the column patient, else of the paths below `base`."""
        if rule is None:
            return
        rows, self.rows = self.rows, []
        for row in rows:
            text = row.patient or str(row.origin).removeprefix(f"{base}/")
            if patient := identity.by_rule(rule, text):
                self.rows.append(replace(row, patient=patient))
            else:
                what = f"data.patients, {rule!r}, matches nothing in '{text}'; mend the rule so that it fits all, or it"
                self.problems.append(Problem(str(row.origin), row.number, what))

    def settle(self, where: str, source: DataSource) -> None:
        """One spelling for each label, site and patient, as `data.spelling` has it.

        Raises:
            DataError: several, and nothing says whether they are the same.
        """
        if not source.findings:
            self._settle_column(where, "label", "labels", source)
        self._settle_column(where, "site", "sites", source)
        self._settle_column(where, "patient", "patients", source)

    def _settle_column(self, where: str, name: str, what: str, source: DataSource) -> None:
        words = [(i, getattr(row, name)) for i, row in enumerate(self.rows)]
        rows = {i: w for i, w in words if w is not None and (name != "patient" or identity.is_somebody(w))}
        at = list(rows)
        around = [self.rows[i].site or "" for i in at] if name == "patient" else ()
        settled = spelling.settle(where, what, list(rows.values()), source, lambda i: self.rows[at[i]].place, around)
        for i, word in zip(at, settled, strict=True):
            if word != rows[i]:
                self.rows[i] = replace(self.rows[i], **{name: word})  # type: ignore[arg-type]

"""What `check` says of a data set: each site's cases, and a line for each thing that was looked at."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from client.sources.case_table import SPLITS
from common.cli import terminal
from common.cli.terminal import Sheet

Level = Literal["ok", "warning", "error"]
SHOWN = 3
"""Items in a sentence."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: Level
    what: str
    todo: str = ""
    items: tuple[str, ...] = ()
    """One by one, where what is said is about several. They may name files and patients; `what` and `todo` do not."""
    nameless: str = ""
    """Said in place of a `what` that does."""

    def doubt(self) -> str:
        """It in a sentence, without names."""
        return (self.nameless or self.what.rstrip(":")) + (f"; {self.todo}" if self.todo else "")

    def text(self) -> str:
        """All of it in a sentence, with the first few of the items."""
        items = [*self.items[:SHOWN], *([f"and {len(self.items) - SHOWN} more"] if len(self.items) > SHOWN else [])]
        return " ".join(filter(None, (self.what, ", ".join(items)))) + (f"; {self.todo}" if self.todo else "")


@dataclass(frozen=True)
class SiteSummary:
    """What one site has."""

    name: str
    counts: NDArray[np.int64]
    """int64[3, classes]: cases by split and class; of several findings, those that have each."""
    label_counts: NDArray[np.int64] | None
    """int64[3, findings]: cases that know each; None where labels are classes."""
    people: int
    sizes: str
    intensities: str

    def cells(self) -> list[str]:
        """Of every split: 12/80 cases of two classes; or 12:80 0:– of findings, one that nobody looked for last."""
        if self.label_counts is None:
            return ["/".join(map(str, row)) for row in self.counts]
        return [
            " ".join(f"{present}:{total or '–'}" for present, total in zip(row, of, strict=True))
            for row, of in zip(self.counts, self.label_counts, strict=True)
        ]


@dataclass(frozen=True)
class Report:
    """Everything that `check` prints."""

    origin: str
    labels: tuple[str, ...]
    sites: tuple[SiteSummary, ...]
    findings: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing stands against a run."""
        return all(finding.level != "error" for finding in self.findings)


_MARKS: dict[Level, tuple[str, str]] = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "error": ("ERROR", "red")}


def show(report: Report, console: Console) -> None:
    """The report for people."""
    several = any(site.label_counts is not None for site in report.sites)
    console.print(f"{report.origin}\n{'findings' if several else 'classes'}: {', '.join(report.labels)}\n")
    figures = (*SPLITS, "people", "size", "intensities")
    title = "cases that have each finding, of those that know it" if several else "cases by class"
    sheet = Sheet("site", *figures, right=figures, title=title)
    for site in report.sites:
        sheet.add(site.name, *site.cells(), str(site.people), site.sizes, site.intensities)
    console.print(sheet)
    for finding in report.findings:
        mark, colour = _MARKS[finding.level]
        lines = [*finding.what.split("\n"), *terminal.first(finding.items, console)]
        lines += [f"→ {finding.todo}"] if finding.todo else []
        console.print(Text(f"{mark:5}", colour), f"\n{'':6}".join(lines))
    errors = sum(finding.level == "error" for finding in report.findings)
    verdict = f"Not ready: {errors} error{'s' * (errors > 1)} to mend." if errors else "Ready to train."
    console.print(f"\n{verdict}")

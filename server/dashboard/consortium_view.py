"""The coordinator's folder at one moment, from which every part of the live page is made."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from common.storage.files import read_json
from common.web.markup import Child
from server.consortium.home import Home
from server.runs.run import Run
from server.runs.run_state import OVER
from server.runs.status import MemberStatus, current_run, site_statuses

STAGES = {"waiting": "◔ waiting", "running": "▶ running", "finished": "✓ finished", "failed": "✕ failed",
          "stopped": "■ stopped"}  # fmt: skip

Marks = list[Child]
"""What a part of the page is made of."""


@dataclass(frozen=True)
class ConsortiumView:
    """Everything at one moment, so that all parts of a page are of one moment."""

    home: Home
    now: float
    run: Run | None
    """The run that is shown."""
    stage: str
    rounds: list[dict[str, Any]]
    sites: list[MemberStatus]

    @classmethod
    def at(cls, home: Home, name: str = "") -> "ConsortiumView":
        """The coordinator's folder as it is now.

        Args:
            name: the run to show; empty: the one that goes on, else the newest.

        Raises:
            PlanError: there is no such run.
        """
        run = Run.find(home, name) if name else current_run(home) or next(iter([*Run.all(home)][::-1]), None)
        stage, rounds = (run.state.stage, run.rounds()) if run else ("", [])
        return cls(home, time.time(), run, stage, rounds, site_statuses(home, None if stage in OVER else run))

    @property
    def total(self) -> int:
        """Rounds that are planned."""
        return self.run.plan.rounds if self.run else 0

    @cached_property
    def best_round(self) -> int | None:
        """The round whose model is kept, from 0, once that is known."""
        result = read_json(self.run.folder / "result.json") if self.run and self.stage in OVER else None
        return (result or {}).get("best_round")

    @property
    def cohort(self) -> tuple[str, ...]:
        """Who takes part, or is asked to."""
        return self.run.state.cohort or self.run.plan.content.cohort if self.run else ()


def has_report(folder: Path) -> bool:
    """Whether a run's folder has one."""
    return (folder / "report.html").exists()

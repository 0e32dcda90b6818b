"""Every run in a line, with how it ended."""

from collections.abc import Iterator
from dataclasses import dataclass

from common.storage.files import read_json
from server.consortium.home import Home
from server.runs.run import Run


@dataclass(frozen=True)
class RunSummary:
    """A run in one line of a list."""

    name: str
    made_s: float
    sites: int
    rounds: int
    planned: int
    auc: float | None
    """On the validation cases of all sites, of the best round."""
    stage: str
    why: str


def run_history(home: Home) -> Iterator[RunSummary]:
    """Every run, oldest first."""
    for run in Run.all(home):
        state, plan = run.state, run.plan.content
        result = read_json(run.folder / "result.json") or {}
        yield RunSummary(
            run.name, plan.made_s, len(state.cohort or plan.cohort), len(run.rounds()),
            run.plan.rounds, result.get("validation", {}).get("auc"), state.stage, state.why,
        )  # fmt: skip

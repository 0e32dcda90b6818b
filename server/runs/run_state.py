"""Where a run stands: its stage, who takes part, and what it needs to go on after a crash."""

from dataclasses import dataclass
from typing import Literal, get_args

Stage = Literal["waiting", "running", "finished", "failed", "stopped"]
STAGES: tuple[Stage, ...] = get_args(Stage)
OVER: tuple[Stage, ...] = ("finished", "failed", "stopped")


@dataclass(frozen=True)
class RunState:
    """The stage of a run, and what it needs to go on."""

    stage: Stage = "waiting"
    why: str = ""
    cohort: tuple[str, ...] = ()
    """Who takes part: fixed when the first round begins."""
    flower_run: int = 0
    """The run at the SuperLink that carries it; another one after a crash."""
    attempts: int = 0
    begin_at_s: float = 0.0
    """When to begin without those who have not decided."""
    started_s: float = 0.0
    ended_s: float = 0.0

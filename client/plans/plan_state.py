"""Where a plan stands, as far as this site knows: finished or waiting, refused, or begun without this site.

The coordinator says in what stage each run is. What it says decides nothing: it sorts the list, and says at once what
would otherwise be waited for in vain. Whether a plan may run here, `judge` says.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from client.home import Home
from client.plans import judge
from client.plans.inbox import ImagesState, PlanInbox
from common.plans.plan import RunPlan

State = Literal[
    "undecided", "approved", "running", "refused", "begun without this site", "cannot run here", "expired", "finished",
    "failed", "stopped", "over",
]  # fmt: skip
STATES: tuple[State, ...] = get_args(State)
OPEN: tuple[State, ...] = ("undecided", "approved", "running", "cannot run here")
"""Those that somebody here has to look at; all others are history."""


@dataclass(frozen=True)
class PlanState:
    """One plan of the list."""

    name: str
    dataset: str
    purpose: str
    until_s: float
    """When it expires, in seconds since 1970."""
    state: State
    decision: str
    """approve, refuse, or nothing yet."""
    version: str
    """Of the data set for which it was approved; empty where it was not."""
    objection: str
    """What stands against it here; empty if nothing, or if it is history."""
    images: ImagesState
    """How far the resident process is with the images of a plan that was approved; empty: it has not begun."""
    unfit: str
    """Why they do not fit; empty unless `images` is unfit."""
    asked_by: str
    """The consortium."""
    cohort: tuple[str, ...]
    """Who is asked."""

    @property
    def is_open(self) -> bool:
        """Whether somebody here has to look at it."""
        return self.state in OPEN

    @property
    def words(self) -> str:
        """Where it stands, in words."""
        of_images = {"reading": ", images are being read", "ready": ", images are ready",
                     "unfit": f", IMAGES ARE NOT READY: {self.unfit}"}.get(self.images, "")  # fmt: skip
        return self.state + (f": {self.objection}" if self.objection else of_images)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "open": self.is_open, "words": self.words}


def plan_state(home: Home, plan: RunPlan, now_s: float | None = None) -> PlanState:
    """Where one plan stands; what stands against it is asked only where that matters."""
    inbox = PlanInbox(home)
    decision, stage = inbox.decision(plan), inbox.stage(plan)
    verdict = decision.verdict if decision else ""
    state: State = "running" if stage == "running" else "approved" if verdict else "undecided"
    objection = ""
    if stage in ("finished", "failed", "stopped", "over"):
        state = stage
    elif plan.content.expires_s <= (time.time() if now_s is None else now_s):
        state = "expired"
    elif verdict == "refuse":
        state = "refused"
    elif stage == "without":
        state = "begun without this site"
    elif objection := judge.objection(home, plan):
        state = "cannot run here"
    version = decision.commitment.version if decision and verdict == "approve" else ""
    content = plan.content
    images, unfit = inbox.images(plan) if verdict == "approve" and state in OPEN else ("", "")
    return PlanState(
        plan.name, content.dataset, content.purpose, content.expires_s, state, verdict, version, objection, images,
        unfit, content.consortium, content.cohort,
    )  # fmt: skip

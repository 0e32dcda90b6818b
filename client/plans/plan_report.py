"""Everything about one plan, for whoever decides on it: its own words, and what this site has to add."""

from dataclasses import dataclass
from typing import Any, Self

from client.home import Home
from client.plans.inbox import PlanInbox
from client.plans.obstacles import images_obstacle, obstacle
from client.plans.plan_state import PlanState, plan_state
from client.privacy.plan_account import cost_words
from common.plans import plan_budget, plan_page
from common.plans.plan import RunPlan


@dataclass(frozen=True)
class PlanReport:
    """A plan in full, as this site sees it now."""

    plan: RunPlan
    state: PlanState
    problem: str
    """Why the coordinator could not be asked; empty if it was."""
    reason: str
    """What was written beside this site's decision."""
    cost: tuple[str, ...]
    """Of the privacy budget, in lines; none for a plan without one."""
    obstacle: str
    """Why an approval would be in vain; empty if it would not."""
    images: str
    """Why the images are not ready; empty if they are, or if it does not matter any more."""

    @classmethod
    def of(cls, home: Home, plan: RunPlan, problem: str = "") -> Self:
        """As it is now; the images of a plan that waits are looked at.

        Raises:
            ConfigError: what the site keeps of it is damaged.
        """
        state, decision, why = plan_state(home, plan), PlanInbox(home).decision(plan), obstacle(home, plan)
        images = images_obstacle(home, plan) if state.is_open and not why else ""
        reason = decision.reason if decision else ""
        return cls(plan, state, problem, reason, tuple(cost_words(home, plan)), why, images)

    def text(self) -> str:
        """For people, at a terminal."""
        lines = [plan_page.page(self.plan)]
        if self.cost:
            lines += ["AT THIS HOSPITAL", *(f"  {line}" for line in self.cost)]
        if self.obstacle:
            lines += [f"NOT TO BE APPROVED  {self.obstacle}"]
        if self.images:
            lines += [f"IMAGES NOT READY  {self.images}"]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        content = self.plan.content
        return {
            "problem": self.problem, "plan": self.state.as_json(), "reason": self.reason,
            "facts": plan_page.facts(self.plan), "budget": " ".join(plan_budget.words(content)),
            "leaves": plan_page.LEAVES, "sums": plan_page.sums(content),
            "behind_each_sum": plan_page.behind_each_sum(content), "tells": plan_page.what_it_tells(content),
            "cost": self.cost, "obstacle": self.obstacle, "images": self.images, "text": self.text(),
        }  # fmt: skip

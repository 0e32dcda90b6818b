"""Why an approval would be in vain, so that it is said before it is signed, and not waited for."""

from client.dataset.for_plan import refuse_unready
from client.home import Home
from client.plans import judge
from client.plans.plan_state import plan_state
from common.errors import ConsiliumError
from common.plans.plan import RunPlan

OVER = {
    "begun without this site": "its run has begun without this site, and no more approvals are taken then. Ask "
    "the coordinator for a plan of its own, or for the models of this one",
    "finished": "its run has finished", "failed": "its run has failed", "stopped": "its run was stopped",
    "expired": "it has expired", "over": "its run is over, or the coordinator knows it no more",
}  # fmt: skip


def obstacle(home: Home, plan: RunPlan) -> str:
    """What stands against an approval: two histories, a run that has begun or is over, rules; empty if nothing."""
    if home.witness_refused.exists():
        return "the coordinator showed two histories, so nothing is answered here: python -m client witness"
    return OVER.get(plan_state(home, plan).state, "") or judge.objection(home, plan)


def images_obstacle(home: Home, plan: RunPlan) -> str:
    """Why this site's images are not ready for a plan; empty if they are. Every one of them may be read for it."""
    try:
        refuse_unready(home, plan)
    except (ConsiliumError, OSError) as error:
        return str(error)
    return ""

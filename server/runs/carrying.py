"""What a new plan carries from an earlier run, foreseen before anything is signed.

Sites do not answer the same question over other sites, or with other images: the two sums would tell what the odd ones
have. So a plan on the same data set and preprocessing as an earlier run's goes on with what that one summed.
"""

from dataclasses import dataclass

from common.config import Config
from common.errors import PlanError
from common.imaging import Pipeline
from common.plans import carry
from common.plans.plan import Carried, RunPlan
from common.plans.plan_page import SUMMED
from common.types import Tensors
from server.consortium.home import Home
from server.runs.run import OVER, Run


@dataclass(frozen=True)
class Foresight:
    """What to carry, and why, for people."""

    carried: Carried | None = None
    words: str = ""


def foresee(home: Home, config: Config) -> Foresight:
    """What a plan from this configuration has to carry; nothing where no earlier run has asked the same.

    Raises:
        PlanError: an earlier run on these images is going on.
    """
    if config.plan is None:
        return Foresight()
    recipe = Pipeline(config.preprocess)
    for run in reversed(list(Run.all(home))):
        plan = run.plan.content
        asked = config.plan.dataset, recipe.fingerprint(), config.plan.shape
        alike = (plan.dataset, plan.recipe, plan.shape) == asked
        if plan.models or not alike or not (run.folder / "approvals.json").exists():
            continue
        if run.state.stage not in OVER:
            raise PlanError(
                f"run {run.name} asks the same of the same images, and is not over: a second one would be refused. "
                "Wait for it, or stop it: python -m server stop"
            )
        arrays = run.summed
        if not arrays and not run.rounds():
            continue  # it came to nothing before anything was summed
        if recipe.needs_statistics and "recipe" not in carry.fingerprints(arrays):
            continue
        frequencies = run.approvals.frequencies if "gram" in carry.fingerprints(arrays) else 0
        carried = Carried(
            name=run.name,
            plan=run.plan.digest,
            sha256=tuple(carry.fingerprints(arrays).items()),
            frequencies=frequencies,
        )
        return Foresight(carried, _words(run, carried, config.plan.cohort or tuple(home.roster.active)))
    return Foresight()


def arrays_of(home: Home, plan: RunPlan) -> Tensors:
    """The arrays that a plan carries.

    Raises:
        PlanError: the earlier run's folder has them no more.
    """
    if (carried := plan.content.carried) is None:
        return {}
    arrays = Run.find(home, carried.plan).summed
    if carry.fingerprints(arrays) != dict(carried.sha256):
        raise PlanError(
            f"run {carried.name}: its summed.safetensors is not what plan {plan.name} carries from it. Restore that "
            "run's folder, and draw the plan up again."
        )
    return arrays


def _words(run: Run, carried: Carried, cohort: tuple[str, ...]) -> str:
    before = run.approvals.sites
    parts = ", ".join(SUMMED[part] for part, _ in carried.sha256)
    odd = sorted(set(before) ^ set(cohort))
    head = (
        f"Carried from run {run.name} ({', '.join(before)}): {parts}."
        if parts
        else f"Run {run.name} asked {', '.join(before)} the same first question; this plan begins at another point."
    )
    if not odd:
        return f"{head} They are not asked again; --ask-anew does, which sites refuse whose images have changed."
    whose = "'s own" if len(odd) == 1 else "' own"
    return (
        f"{head} Asked again over {', '.join(sorted(cohort))}, the difference would tell {', '.join(odd)}{whose}: "
        "sites refuse that (--ask-anew asks all the same). What they add can still be estimated from the two models."
    )

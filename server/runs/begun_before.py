"""What earlier trainings began with, over some of a plan's sites and some others: refused before anything is signed."""

from collections.abc import Iterator

from common.errors import PlanError
from common.plans.plan import PlanContent
from common.secagg.key_period_plan import least_apart
from server.consortium.home import Home
from server.runs.carrying import sites_of
from server.runs.run import Run


def refuse_beside(home: Home, plan: PlanContent) -> None:
    """Refuse to have a network trained over almost the sites of an earlier training, where one begins from a package.

    Raises:
        PlanError: naming the run, and what can be done.
    """
    for run in Run.all(home) if plan.training.model.kind != "svm" else ():
        other = run.plan.content
        begins = plan.training.initial or other.training.initial
        if other.models or other.training.model.kind == "svm" or other.dataset != plan.dataset or not begins:
            continue
        least = least_apart(max(len(plan.cohort), len(other.cohort)))
        for before in _began_over(run):
            if 0 < len(odd := sorted(set(before) ^ set(plan.cohort))) < least:
                raise PlanError(
                    f"run {run.name} began over {', '.join(before)}, and {_which(plan)} from a package, whose weights "
                    f"may be next to the other's: over {', '.join(plan.cohort)} the two first sums could tell what "
                    f"{', '.join(odd)} adds, and sites refuse (repeated-question). Expected the same sites "
                    f"(plan.cohort=[{', '.join(before)}]), {least} others at least, or fresh weights in both."
                )


def _began_over(run: Run) -> Iterator[tuple[str, ...]]:
    """All sites that took part in a training, and those of its first sum."""
    if not (run.folder / "approvals.json").exists():
        return
    yield sites_of(run)
    first = next((record for record in run.rounds() if not record["void"]), None)
    if first:
        yield tuple(first["sites"])


def _which(plan: PlanContent) -> str:
    return "this plan begins" if plan.training.initial else "it began"

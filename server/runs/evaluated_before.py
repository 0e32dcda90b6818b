"""What earlier runs evaluated over some of a plan's sites and some others: refused before anything is signed."""

from collections.abc import Iterator

from common.errors import PlanError
from common.plans.evaluated_model import EvaluatedModel
from common.plans.plan import PlanContent
from common.secagg.key_period_plan import least_apart
from common.storage.files import read_json
from server.consortium.home import Home
from server.runs.carrying import sites_of
from server.runs.run import Run


def refuse_counted(home: Home, plan: PlanContent) -> None:
    """Refuse to have models evaluated that an earlier run evaluated over some of the plan's sites and some others; and
    others than these sites' own, where any were evaluated over almost the same sites.

    Raises:
        PlanError: naming the run, and the sites with which it can be asked again.
    """
    runs = [run for run in Run.all(home) if run.plan.content.dataset == plan.dataset]
    for run in runs:
        for model in plan.models:
            for cohort in _cohorts(run, model):
                odd = sorted(set(cohort) ^ set(plan.cohort))
                if odd and set(cohort) & set(plan.cohort):
                    raise PlanError(
                        f"model {model.name} was evaluated over {', '.join(cohort)} in run {run.name}. Over "
                        f"{', '.join(plan.cohort)} the difference would tell how it does at {', '.join(odd)}: those "
                        "who answered then would refuse (repeated-question). Expected the same sites (--cohort "
                        f"{','.join(cohort)}), or none of them."
                    )
    own_runs = {run.name for run in runs if not run.plan.content.models and set(sites_of(run)) == set(plan.cohort)}
    for run in runs if not {model.name for model in plan.models} <= own_runs else ():
        odd = sorted(set(before := sites_of(run)) ^ set(plan.cohort))
        least = least_apart(max(len(plan.cohort), len(run.plan.content.cohort)))
        if (run.folder / "approvals.json").exists() and 0 < len(odd) < least:
            raise PlanError(
                f"run {run.name} has evaluated models over {', '.join(before)}. Whatever the model, over "
                f"{', '.join(plan.cohort)} a second sum could tell how it does at {', '.join(odd)}: sites refuse "
                f"(repeated-question). Expected the same sites, {least} others at least, or models of a run over "
                "just these."
            )


def _cohorts(run: Run, model: EvaluatedModel) -> Iterator[tuple[str, ...]]:
    """The sites over which a run evaluated a model: the one that it trained, or was asked for."""
    models, result = run.plan.content.models, read_json(run.folder / "result.json") or {}
    for record in run.rounds():
        number = record["round"]
        is_it = models[number].sha256 == model.sha256 if models else number == result.get("best_round")
        if record["validation"] and is_it and (models or run.name == model.name):
            yield tuple(record.get("judges") or record["sites"])

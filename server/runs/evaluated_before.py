"""Models that earlier runs evaluated over some of a plan's sites and some others: refused before anything is signed."""

from collections.abc import Iterator

from common.errors import PlanError
from common.plans.evaluated_model import EvaluatedModel
from common.plans.plan import PlanContent
from common.storage.files import read_json
from server.consortium.home import Home
from server.runs.run import Run


def refuse_counted(home: Home, plan: PlanContent) -> None:
    """Refuse to have models evaluated that an earlier run evaluated over some of the plan's sites and some others.

    Raises:
        PlanError: naming the run, and the sites with which it can be asked again.
    """
    for run in Run.all(home):
        content = run.plan.content
        if content.dataset != plan.dataset:
            continue
        for model in plan.models:
            for counted in _counted(run, model):
                odd = sorted(set(counted) ^ set(plan.cohort))
                if odd and set(counted) & set(plan.cohort):
                    raise PlanError(
                        f"model {model.name} was evaluated over {', '.join(counted)} in run {run.name}. Over "
                        f"{', '.join(plan.cohort)} the difference would tell how it does at {', '.join(odd)}: those "
                        "who answered then would refuse (repeated-question). Expected the same sites (--cohort "
                        f"{','.join(counted)}), or none of them."
                    )


def _counted(run: Run, model: EvaluatedModel) -> Iterator[tuple[str, ...]]:
    """The sites over which a run evaluated a model: the one that it trained, or was asked for."""
    models, result = run.plan.content.models, read_json(run.folder / "result.json") or {}
    for record in run.rounds():
        number = record["round"]
        is_it = models[number].sha256 == model.sha256 if models else number == result.get("best_round")
        if record["validation"] and is_it and (models or run.name == model.name):
            yield tuple(record.get("judges") or record["sites"])

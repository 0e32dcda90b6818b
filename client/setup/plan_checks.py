"""Are the plans that wait here fit to run, and the images ready for them? Lines of `python -m client check`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from client.dataset.for_plan import own_cases
from client.home import Home
from client.plans import own_images, sync
from client.plans.inbox import PlanInbox
from client.plans.plan_state import plan_state
from common.errors import ConsiliumError
from common.monitoring.check_result import CheckResult
from common.plans.plan import RunPlan

ONE_CLASS = (
    "all cases to train on are of one class. It trains with the others, and its validation cases count in the figures "
    "of all; an AUC of its own it has none, which needs two classes"
)


def look_at_plans(home: Home) -> Iterator[CheckResult]:
    """A line for each plan that somebody has to look at, and one for all others."""
    problem = sync.refresh(home)
    if problem:
        yield CheckResult(False, problem)
    states = [plan_state(home, plan) for plan in PlanInbox(home).plans()]
    for state in states:
        if state.is_open:
            todo = "" if state.decision else f"python -m client plans {state.name}, then approve or refuse it"
            reason = f": {state.objection}" if state.objection else ""
            yield CheckResult(not state.objection, f"{state.name}, {state.state}{reason}", todo)
    if history := Counter(state.state for state in states if not state.is_open):
        yield CheckResult(True, f"besides {', '.join(f'{count} {what}' for what, count in sorted(history.items()))}")
    if not states and not problem:
        yield CheckResult(True, "none at the moment")


def look_at_images(home: Home) -> Iterator[CheckResult]:
    """The data sets, and what the open plans find in them."""
    names = set(home.settings.datasets)
    states = [(plan, plan_state(home, plan)) for plan in PlanInbox(home).plans()]
    plans = [p for p, s in states if s.is_open and not s.objection and p.content.dataset in names]
    if not names:
        yield CheckResult(
            False, "no data set", f"Name one under datasets in {home.folder / 'site.yaml'}: docs/data.md."
        )
    for plan in plans:
        try:
            yield from _of_plan(home, plan)
        except (ConsiliumError, OSError) as error:
            yield CheckResult(False, f"{plan.content.dataset} for {plan.name}: {error}")
    for name in sorted(names - {plan.content.dataset for plan in plans}):
        path = getattr(home.settings.datasets[name].data, "path", None)
        there = [p for p in (path if isinstance(path, tuple) else (path,)) if p and _is_there(home, p)]
        if path is not None and not there:
            yield CheckResult(False, f"{name}: {path} is not there", f"Mend datasets.{name}.data in site.yaml.")
        else:
            yield CheckResult(True, f"{name}: no plan for it yet; `python -m client check CONFIG` examines it")


def _of_plan(home: Home, plan: RunPlan) -> Iterator[CheckResult]:
    cases, name = own_cases(home, plan), plan.content.dataset
    counts = ", ".join(
        f"{label} {int((cases.train.labels == index).sum())}" for index, label in enumerate(plan.content.labels)
    )
    yield CheckResult(True, f"{name} for {plan.name}: to train on {counts}")
    if len(set(cases.train.labels.tolist())) == 1:
        yield CheckResult(True, f"{name}: {ONE_CLASS}")
    yield _version(home, plan)
    for warning in cases.warnings:
        yield CheckResult(True, f"{name}, to look at: {warning}")


def _version(home: Home, plan: RunPlan) -> CheckResult:
    """That the data set is the version that a plan was approved for."""
    decision, version = PlanInbox(home).decision(plan), own_images.version(home, plan)
    approved_version = decision.commitment.version if decision and decision.verdict == "approve" else version
    text = f"{plan.content.dataset} is version {version[:16]}"
    if version == approved_version:
        return CheckResult(True, text)
    todo = "If the run has not begun, approve it again; else leave it to the others, and ask for a new plan."
    return CheckResult(False, f"{text}, and {plan.name} was approved for {approved_version[:16] or 'another'}", todo)


def _is_there(home: Home, path: Path) -> bool:
    return any(place.exists() for place in home.places(path))

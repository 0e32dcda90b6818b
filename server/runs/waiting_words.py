"""What a run that has not begun is waiting for, and what happens if that does not come; and one whose site is away."""

import time
from collections.abc import Sequence

from common.cli.progress import duration
from common.storage.files import glance
from server.runs.run import Run


def describe_beginning(run: Run) -> str:
    """Whose decisions a run waits for and until when, or for its turn, in a sentence or two."""
    plan, state, now = run.plan.content, run.state, time.time()
    if full := (glance(run.home.live / "turns.json") or {}).get("full", {}).get(run.name):
        return f"Run {run.name} waits for its turn: {_full(run, full)}."
    decisions, least = run.decisions(), run.least_approvals
    approving = [site for site, decision in decisions.items() if decision.verdict == "approve"]
    undecided = sorted(set(plan.cohort) & set(run.home.identities()) - set(decisions))
    if not undecided:
        return f"Run {run.name}: all have decided; it begins, or ends, within seconds of `python -m server start`."
    text = f"Run {run.name} waits for the decision of {', '.join(undecided)}"
    end = f"until the plan expires, in {duration(max(0.0, plan.expires_s - now))}; then it ends"
    missing = least - len(approving)
    if state.begin_at_s > now and not run.is_start_requested:
        then = (
            f"with the {least} or more who approved"
            if missing <= 0
            else f"if {least} have approved ({len(approving)} have)"
        )
        return (
            f"{text}, {duration(state.begin_at_s - now)} at most; then it begins {then}. Sooner: "
            f"`python -m server run {run.name} --start-now`"
        )
    if missing <= 0:
        return f"Run {run.name} begins with those who approved, within seconds of `python -m server start`."
    return f"{text}: {len(approving)} of {len(plan.cohort)} approved, {least} needed; {end}."


def _full(run: Run, sites: Sequence[str]) -> str:
    active = (glance(run.home.live / "turns.json") or {}).get("active", {})
    others = sorted(name for name, cohort in active.items() if set(cohort) & set(sites))
    return (
        f"{', '.join(sites)} {'takes' if len(sites) == 1 else 'take'} no more at once (policy.runs_at_once there); "
        f"{', '.join(others) or 'an older run'} {'goes' if len(others) < 2 else 'go'} before"
    )


def describe_absence(run: Run, missing: Sequence[str]) -> str:
    """What lets a run go on that waits for sites to be back."""
    whole = run.plan.content.training.model.kind == "svm" and not run.plan.content.models
    rule = "every sum of it is over all of its sites" if whole else f"every sum of it needs {run.quorum}"
    names = " ".join(f"--without {site}" for site in missing)
    return (
        f"It waits as long as it takes, uses up no round and keeps no other run waiting: {rule}. If "
        f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} gone for good: `python -m server stop "
        f"{run.name}`, then `python -m server run PLAN {names}`, which carries what was summed."
    )

"""What the coordinator knows better of a refusal than its code says: whom it asked before, what is left of budgets."""

from server.consortium.site_accounts import SiteAccounts
from server.runs.run import Run


def words(run: Run) -> dict[str, str]:
    """Words for codes, as of `common.refusals.sentence`."""
    earlier_run, rests = _asked_others(run), _rests(run)
    words = {"repeated-question": f"over other sites than in run {earlier_run.name}"} if earlier_run else {}
    return words | ({"over-budget": rests} if rests else {})


def _rests(run: Run) -> str:
    """What the sites have said is left of their patients' budgets: which plan would fit."""
    dataset, accounts = run.plan.content.dataset, SiteAccounts(run.home)
    rests = {}
    for site in run.state.cohort or run.plan.content.cohort:
        word = accounts.of(site)
        if word and (rest := word.rest.get(dataset)):
            rests[site] = rest
    if not rests:
        return ""
    least = min(rests.values(), key=lambda rest: rest.rest)
    each = ", ".join(f"{site} ε {rest.rest:.3f} of {rest.epsilon:g}" for site, rest in rests.items())
    fits = f"a plan of ε {least.rest:.3f} at most fits"
    return f"the patients' budgets are spent: left are {each}, at δ {least.delta:g}; {fits}"


def _asked_others(run: Run) -> Run | None:
    """The newest earlier run that asked other sites the same, as far as plans tell: none where nothing fits."""
    plan, cohort = run.plan.content, set(run.state.cohort)
    for other in reversed(list(Run.all(run.home))):
        content = other.plan.content
        if other.name == run.name or content.made_s > plan.made_s or set(other.state.cohort) in (cohort, set()):
            continue
        if (_looks_at if plan.models else _asks_alike)(run, other):
            return other
    return None


def _looks_at(run: Run, other: Run) -> bool:
    """Whether an evaluation is of a model that the other run evaluated, or trained."""
    models = run.plan.content.models
    return other.name in {m.name for m in models} or bool(
        {m.sha256 for m in models} & {m.sha256 for m in other.plan.content.models}
    )


def _asks_alike(run: Run, other: Run) -> bool:
    """Whether two trainings look at the same data by the same recipe."""
    one, two = run.plan.content, other.plan.content
    return not two.models and (one.dataset, one.recipe) == (two.dataset, two.recipe)

"""What a plan will cost this hospital's patients, before it is approved; and the account from which its run pays."""

from collections.abc import Callable, Iterator

from client.home import Home
from client.privacy.ledger import ledger_of
from client.privacy.site_account import PlanBudget, SiteAccount, rest_of, worst
from common.audit.account_statement import AccountStatement
from common.errors import ConsiliumError, PolicyError
from common.plans.plan import RunPlan
from common.plans.plan_budget import budget_of, schedule_of_plan


def account_of(home: Home, plan: RunPlan, tell: Callable[[AccountStatement], None]) -> SiteAccount | None:
    """The account of a plan's data set, over its patients as they are now; None for a plan without a budget.

    Raises:
        ConfigError, DataError: the images cannot be read.
        AuditError: the account is not what was written.
    """
    budget = budget_of(plan.content)
    if budget is None:
        return None
    from client.dataset.for_plan import own_people  # and all that reads images with it

    cases, sets = own_people(home, plan), ledger_of(home).sets
    with ledger_of(home).lock():  # the key of the digests is made once
        train = sets.of((case.person, case.image) for case in cases if case.part == "train")
        validation = sets.of((case.person, case.image) for case in cases if case.part == "validation")
    terms = PlanBudget(plan.name, plan.digest, plan.content.dataset, budget.epsilon, budget.delta, budget.of)
    return SiteAccount(home, terms, {"training": train, "validation": validation}, tell)


def refuse_unaffordable(home: Home, plan: RunPlan) -> None:
    """Refuse a plan that the patients cannot pay as a whole.

    Raises:
        PolicyError: over-budget, with the figures.
        ConfigError, DataError, AuditError: as `account_of`.
    """
    schedule, account = schedule_of_plan(plan.content), account_of(home, plan, lambda _: None)
    if schedule and account:
        account.refuse_whole(schedule.prices)


def refuse_unbounded(home: Home, plan: RunPlan) -> None:
    """Refuse a plan without a budget where the hospital wants one for every plan.

    Raises:
        PolicyError: no-budget.
    """
    rule = home.settings.policy.privacy
    if rule and rule.required and budget_of(plan.content) is None:
        what, instead = "the plan has no budget of privacy", "Ask for a plan with a section privacy."
        if plan.content.models:
            what = "an evaluation of finished models counts exactly, under no budget of privacy"
            instead = "What a training under a budget reached was counted with noise at its end, and is in its report."
        raise PolicyError(
            "no-budget",
            f"{what}, and policy.privacy of site.yaml requires one: nothing bounds what its sums tell of one patient. "
            f"{instead}",
        )


def cost_words(home: Home, plan: RunPlan) -> Iterator[str]:
    """What a plan costs here and what is left, in lines; nothing for a plan without a budget."""
    if (budget := budget_of(plan.content)) is None:
        return
    try:
        account = account_of(home, plan, lambda _: None)
    except ConsiliumError as error:
        yield f"The images cannot be looked at: {error}"
        return
    if account is None:
        return
    ledger, rule = ledger_of(home), home.settings.policy.privacy
    with ledger.lock():
        lines = ledger.lines()
    for part, patients in account.patients.items():
        paid = worst(ledger, lines, patients)
        cost = paid.epsilon(budget.delta)
        text = f"{part}: {patients.patients:,} patients; whoever of them has paid most, ε {cost:.3f}; this plan ε "
        text += f"{budget.epsilon:g}"
        if rule:
            rest = rest_of(rule.epsilon, rule.delta, paid)
            text += f"; left ε {rest:.3f} of {rule.epsilon:g} at δ {rule.delta:g}"
        yield text
    try:
        if schedule := schedule_of_plan(plan.content):
            account.refuse_whole(schedule.prices)
        yield "It fits." if rule else "This hospital has no budget of its own (policy.privacy of site.yaml)."
    except PolicyError as error:
        yield f"It does not fit: {error}"

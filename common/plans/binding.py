"""What a run may ask, derived from what was signed: a key period's plan follows from plan, approvals and roster alone.

The coordinator proposes it, and every site derives it for itself and compares, before it makes a key or looks at an
image. With N sites in the plan, fewer than a third of which lie (c at most):

    cohort       the sites that approved, but for those that the roster has suspended since; or the draw of a round
    threshold    more than two thirds of N, whoever approved. Of two sums of which fewer would do, one could be over
                 sites that the other is not over, and both be signed
    a draw       of m sites: so many that two sets of signers share an honest site, and 3 honest sites are in each sum
"""

from collections.abc import Mapping

from common.config import Federation
from common.errors import PolicyError
from common.plans.approvals import Approvals
from common.secagg.key_period_plan import KeyPeriodPlan, QuestionKind, colluders, least_draw, threshold
from common.trust.roster import MIN_COHORT, Roster

ATTEMPTS = 3
"""How often an evaluation asks for a model."""
QUESTIONS_A_ROUND = 3


def threshold_of(plan_sites: int, cohort: int, *, is_drawn: bool = False) -> int:
    """How many sites must agree on a sum over a cohort of a plan's sites."""
    if not is_drawn:
        return threshold(plan_sites)
    c = colluders(plan_sites)
    return max(threshold(cohort), (cohort + c) // 2 + 1, c + MIN_COHORT)


def least_in_a_sum(federation: Federation, sites: int) -> int:
    """The fewest sites over which a sum of a run can be, of so many that its plan asks."""
    many = drawn_of(federation, sites)
    return max(MIN_COHORT, threshold_of(sites, many, is_drawn=many < sites))


def drawn_of(federation: Federation, sites: int) -> int:
    """How many of so many sites a round of a plan asks to train; all other questions are asked of everybody."""
    return min(sites, max(federation.quorum, least_draw(sites), round(federation.fraction * sites)))


def draws(approvals: Approvals) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Every cohort that a round of the plan may have, with its rounds; none where all are asked in each."""
    content = approvals.plan.content
    settings, cohorts = content.training.federation, dict[tuple[str, ...], tuple[int, ...]]()
    if content.models or settings.fraction == 1:
        return {}
    for number in range(settings.rounds):
        cohort = settings.draw(approvals.sites, approvals.plan.seed, number, least_draw(len(content.cohort)))
        cohorts[cohort] = (*cohorts.get(cohort, ()), number)
    return {cohort: rounds for cohort, rounds in cohorts.items() if cohort != approvals.sites}


def period_rounds(approvals: Approvals) -> int:
    """Questions that a key period's keys are made for."""
    content = approvals.plan.content
    if content.models:
        return ATTEMPTS * len(content.models)
    settings = content.training.federation
    # A share of the sites is another cohort each round, and keys are for one cohort.
    questions = QUESTIONS_A_ROUND * settings.rounds + 1 if settings.fraction == 1 else 1
    return min(questions, settings.epoch_rounds)


def remaining(cohort: tuple[str, ...], roster: Roster) -> tuple[str, ...]:
    """Those of a cohort that the roster has not suspended."""
    return tuple(site for site in cohort if site in roster.active)


def key_period_plan(
    approvals: Approvals,
    roster: Roster,
    number: int,
    cohort: tuple[str, ...],
    question_kinds: Mapping[str, QuestionKind],
) -> KeyPeriodPlan:
    """The plan of a key period.

    Args:
        number: rises from one key period of a run to the next.
        cohort: `Approvals.sites`, or the draw of a round.
        question_kinds: for a cohort of as many sites as remain of it.
    """
    sites = remaining(cohort, roster)
    return KeyPeriodPlan(
        roster.federation, approvals.run, number, roster.digest, approvals.digest,
        approvals.plan.content.purpose, sites,
        threshold_of(len(approvals.plan.content.cohort), len(cohort), is_drawn=cohort != approvals.sites),
        roster.policy.n_min, period_rounds(approvals), dict(sorted(question_kinds.items())),
    )  # fmt: skip


def refuse_other(proposal: KeyPeriodPlan, derived: KeyPeriodPlan) -> None:
    """Hold what the coordinator proposes against what follows from the signed plan, field by field.

    Raises:
        PolicyError: naming the first field that differs, with both values.
    """
    if proposal.cohort != derived.cohort:
        raise PolicyError(
            "other-cohort",
            f"keys for {', '.join(proposal.cohort)}; by the signed plan and its approvals the sum is over "
            f"{', '.join(derived.cohort)}. Nothing was sent. Tell the consortium.",
        )
    if proposal.threshold != derived.threshold:
        raise PolicyError(
            "wrong-threshold",
            f"{proposal.threshold} sites are to agree on a sum, {derived.threshold} by the signed plan. Nothing was "
            "sent.",
        )
    for name, value in vars(derived).items():
        if (proposed := vars(proposal).get(name)) != value and name in KeyPeriodPlan.__dataclass_fields__:
            what = f"{_short(proposed)}, by the signed plan {_short(value)}"
            raise PolicyError("changed-plan", f"the key period's '{name}' is {what}. Nothing was sent.")


def _short(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()[:16] + "…"
    return ", ".join(value) if isinstance(value, dict) else str(value)

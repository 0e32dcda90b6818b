"""What a plan's budget of privacy means: its questions with their prices, before anything is asked; and in words."""

from collections import Counter
from collections.abc import Iterator

from common.config import Privacy
from common.messages.noised_layout import schedule_for
from common.models import build
from common.plans.plan import PlanContent
from common.privacy.price_list import Schedule

NO_BOUND = (
    "NO BOUND ON PRIVACY  This plan has no budget: nothing bounds what its sums and its model tell of one patient."
)


def budget_of(content: PlanContent) -> Privacy | None:
    """The budget of all that a plan asks; none for an evaluation of finished models, whose counts are exact."""
    return None if content.models else content.training.budget


def schedule_of_plan(content: PlanContent) -> Schedule | None:
    """The questions of a plan with a budget, with their prices; none without.

    Raises:
        PolicyError: the budget, or the sites, are none that noise can be drawn for.
    """
    if budget_of(content) is None:
        return None
    training = content.training
    model = build(training.model_for(training.seeds[0]), content.shape, len(content.labels))
    return schedule_for(training, model, len(content.cohort))


def words(content: PlanContent) -> Iterator[str]:
    """What a plan promises, in lines."""
    if (budget := budget_of(content)) is None or (schedule := schedule_of_plan(content)) is None:
        yield NO_BOUND
        return
    unit = "patient, with all images at one hospital" if budget.of == "patient" else "image"
    yield f"PRIVACY  ε {budget.epsilon:g} at δ {budget.delta:g} for each {unit}, against everybody"
    yield f"outside of it: the coordinator, and {schedule.colluders} of the other sites that put together what they"
    yield "know. Who is in two hospitals pays at both. An answer that is lost on the way is paid for all the same:"
    if schedule.after_lost_mean:
        yield "a first one is asked once more, from what the second would have cost; if that is lost too, the run ends"
        yield "without a model. Any other that is lost is left out. docs/privacy.md"
    else:
        yield "where the first one is lost, the run ends without a model. Any other is left out. docs/privacy.md"


def prices(schedule: Schedule) -> Iterator[str]:
    """What each kind of question costs, in lines."""
    for kind, many in Counter(price.kind for price in schedule.prices).items():
        price, steps = schedule.of_kind(kind), schedule.steps
        each = (
            f" of {steps.steps} steps, each over a patient in {1 / steps.rate:g}" if price.is_shared and steps else ""
        )
        yield (
            f"{many} × {kind}{each}, over {price.part} patients, with noise: σ {price.sigma:.4g} for a sensitivity of "
            f"{price.sensitivity:.4g}{'; paid as a whole with the first' if price.is_shared else ''}"
        )

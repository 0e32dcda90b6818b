"""What sites may be asked under a budget of privacy, and as which numbers they answer: its prices, and its layouts."""

from common.config import Federation, Training
from common.errors import ConfigError
from common.messages.fraction_bits import fraction_bits
from common.metrics import noised_outcomes
from common.models import Model
from common.models.private_network import PrivateNetwork
from common.models.unit_head import UnitHead
from common.privacy.network_prices import RATE, network_schedule
from common.privacy.noise import largest
from common.privacy.price_list import FRACTION_BITS, GRID, NOISED, Schedule, schedule_of
from common.secagg.fixedpoint import Layout, Segment
from common.secagg.key_period_plan import QuestionKind, threshold


def schedule_for(config: Training, model: Model, plan_sites: int) -> Schedule:
    """The questions of a run with a budget, over so many of a plan's sites.

    Raises:
        PolicyError: the budget, or the sites, are none that noise can be drawn for.
        ConfigError: there is no budget, or the model is trained under none.
    """
    if (budget := config.budget) is None or not isinstance(model, UnitHead | PrivateNetwork):
        raise ConfigError("privacy: expected a budget, and a linear head or a network.")
    classes, federation = model.classes, config.federation
    terms, quorum = (budget.epsilon, budget.delta, budget.of), max(federation.quorum, threshold(plan_sites))
    outcomes = noised_outcomes.numbers(classes), noised_outcomes.sensitivity(classes)
    if isinstance(model, UnitHead):
        return schedule_of(
            terms, sites=plan_sites, quorum=quorum, dimension=model.length, rows=model.rows, classes=classes,
            outcomes=outcomes,
        )  # fmt: skip
    steps = federation.local.steps or round((federation.local.epochs or 1.0) / RATE)
    return network_schedule(
        terms, sites=plan_sites, quorum=quorum, weights=sum(w.size for w in model.init(0).values()),
        rounds=federation.rounds, steps=max(1, steps), classes=classes, outcomes=outcomes,
    )  # fmt: skip


def noised_kinds(model: Model, schedule: Schedule, federation: Federation, sites: int) -> dict[str, QuestionKind]:
    """Sums with noise: bounded by what so many patients come to, and by the largest noise that can be drawn.

    What a network's weights moved is cut off at `federation.clip` instead; its noise is in it already.
    """
    shapes: dict[str, dict[str, tuple[int, ...]]] = {"outcomes": noised_outcomes.shapes(schedule.classes)}
    if isinstance(model, UnitHead):
        d = model.length
        shapes |= {"mean": {"mean": (d,)}, "gram": {"gram": (d * (d + 1) // 2,)}}
        shapes |= {"gradient": {"gradient": (model.rows, d)}}
    else:
        shapes |= {"count": {"count": (1,)}}
    kinds = {}
    for kind, arrays in shapes.items():
        if not any(price.kind == kind for price in schedule.prices):
            continue
        noise = largest(schedule.share_variance(schedule.of_kind(kind)) / GRID**2) * GRID
        bound = federation.weight_bound + noise + GRID
        segments = tuple(Segment(name, shape, bound, FRACTION_BITS) for name, shape in arrays.items())
        kinds[NOISED + kind] = QuestionKind(Layout(segments, 64))
    if schedule.steps:
        fraction = fraction_bits(federation.clip, 32, sites)
        shapes_of_weights = [(name, weight.shape) for name, weight in model.init(0).items()]
        moved = [Segment(f"delta/{name}", shape, federation.clip, fraction, True) for name, shape in shapes_of_weights]
        kinds[NOISED + "train"] = QuestionKind(Layout(tuple(moved), 32))
    return kinds

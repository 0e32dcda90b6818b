"""The questions of a plan with a budget: what each asks, with how much noise, and what it costs.

All of it follows from the budget and from public numbers, and nothing from the data: so every site works it out for
itself, and a plan's page can say what it will cost before anything is approved. The constants are those with which
linear heads were measured on three data sets (docs/privacy.md).

    mean        Σ (x, ½) / √1.25: mean and count                        sensitivity 1    10 % of μ²
    gram        Σ z zᵀ, once; left out where the rows are long           sensitivity 1    27 %
    gradient    Σ clip(p - y) z, twenty times                            sensitivity ½    63 %, else 90 %
    outcomes    two histograms of the logit over validation patients     sensitivity 1    an account of their own

An answer that is lost on the way is paid for all the same. A mean that is lost is asked once more, in place of the
second moments, from what they would have cost: no more is spent than a plan says.

A patient's images together weigh 1, rows have length 1, and residuals are clipped at ½: so much can one patient change
a sum. Rounding to the grid adds √d steps to each.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from common.errors import PolicyError
from common.privacy.accounting import Cost, mu_of

Part = Literal["training", "validation"]
Unit = Literal["patient", "image"]

FRACTION_BITS = 16
GRID = 2.0**-FRACTION_BITS
"""Step of the numbers that leave with noise."""
LEAST_STEPS = 100
"""Standard deviation of the noise in steps, at least: below, its sum over the sites is not as private as it seems."""
LOST_SQUARED_STEPS = 10
"""A sum of discrete noise is as private as normal noise whose variance is smaller by so many squared steps."""
GRADIENTS = 20
CLIP = 0.5
"""Most that a case's residuals, all classes together, may weigh."""
LARGEST_GRAM = 1200
"""Length of a row up to which the second moments are asked: 5.8 MB a site."""
MEAN_SHARE, GRAM_SHARE = 0.10, 0.27


NOISED = "noised-"
"""How the kinds of questions begin that are answered with noise, and paid for."""


def is_noised(kind: str) -> bool:
    """Whether a request of this kind is answered with noise."""
    return kind.startswith(NOISED)


@dataclass(frozen=True)
class Price:
    """One answer of a site."""

    question: str
    """Its kind and the round that asks it, as `gradient/3`."""
    sensitivity: float
    """How far one patient can move the rounded sum, as a Euclidean length."""
    sigma: float
    """Standard deviation of the noise in the sum that nobody outside can take off."""
    squared_mu: float
    """What it costs: such costs add up."""
    part: Part = "training"
    """Whose account it is: patients of the one are never of the other."""
    tail: float = 0.0
    """Of δ, what μ does not cover: with this chance an answer tells more."""
    is_shared: bool = False
    """Paid with the first answer of its kind, for all of the kind in the run, each once."""

    @property
    def kind(self) -> str:
        """Of the question, as `gradient`."""
        return self.question.partition("/")[0]


@dataclass(frozen=True)
class SampledSteps:
    """How a site trains a network between two sums (`common.privacy.network_prices`)."""

    steps: int
    rate: float
    """The chance with which a patient is in a step."""
    clip: float
    """Most that a patient moves the sum of a step's gradients, as a Euclidean length, before it is rounded."""
    sigma: float
    """Standard deviation of the noise that the site adds to each number of that sum."""


@dataclass(frozen=True)
class Schedule:
    """All answers that a plan asks of a site, in their order."""

    epsilon: float
    delta: float
    unit: Unit
    sites: int
    """Of the plan."""
    quorum: int
    """Sites that are in every sum at least."""
    prices: tuple[Price, ...]
    classes: int = 2
    steps: SampledSteps | None = None
    """Of a network: how a site trains between two sums."""

    @property
    def colluders(self) -> int:
        """Sites that may put together what they know, as many as the secure sum withstands; one at least, which knows
        its own noise."""
        return max(1, -(-self.sites // 3) - 1)

    def price(self, kind: str, round: int) -> Price:
        """What the answer to a question costs, by its request's kind and round.

        Raises:
            PolicyError: the plan asks no such question.
        """
        spare = self.after_lost_mean
        for price in (*self.prices, *(spare.prices[1:2] if spare else ())):
            if price.question == f"{kind.removeprefix(NOISED)}/{round}":
                return price
        raise PolicyError("changed-question", f"'{kind}' in round {round} is no question of a plan with this budget.")

    @property
    def after_lost_mean(self) -> "Schedule | None":
        """What is asked where nobody got the mean: once more, and no second moments; None where none would be asked,
        or of a network."""
        first, second, *others = self.prices
        if second.kind != "gram":
            return None
        return replace(self, prices=(first, replace(first, question="mean/1"), *others))

    def of_kind(self, kind: str) -> Price:
        """The price of the first question of a kind; all of one kind are alike."""
        return next(price for price in self.prices if price.kind == kind.removeprefix(NOISED))

    def share_variance(self, price: Price) -> float:
        """Variance of the noise that one site adds: what is left over after the colluders' own is σ² at the quorum."""
        return price.sigma**2 / (self.quorum - self.colluders)

    def variance(self, price: Price, survivors: int) -> float:
        """Variance of the noise in a sum over so many sites."""
        return survivors * self.share_variance(price)


def schedule_of(
    budget: tuple[float, float, Unit],
    *,
    sites: int,
    quorum: int,
    dimension: int,
    rows: int = 1,
    classes: int = 2,
    outcomes: tuple[int, float] | None = None,
) -> Schedule:
    """The questions of a linear head.

    Args:
        budget: ε, δ, and whom they are for.
        sites: of the plan.
        quorum: in every sum at least.
        dimension: length d of a row z, its constant included.
        rows: of weights: one for two classes, else one a class.
        classes: that are told apart.
        outcomes: numbers of the evaluation's histograms, and how far one patient moves them; None: there is none.

    Raises:
        PolicyError: too few sites for noise that colluders do not know; or a budget so large that the noise would be
            below the grid.
    """
    epsilon, delta, unit = budget
    squared = mu_of(epsilon, delta) ** 2
    has_gram = dimension <= LARGEST_GRAM
    training = 1 - MEAN_SHARE - GRAM_SHARE * has_gram
    prices = [price_of("mean/0", 1.0, dimension, MEAN_SHARE * squared)]
    if has_gram:
        prices.append(price_of("gram/1", 1.0, dimension * (dimension + 1) // 2, GRAM_SHARE * squared))
    first = len(prices)
    each = training * squared / GRADIENTS
    prices += [price_of(f"gradient/{first + i}", CLIP, rows * dimension, each) for i in range(GRADIENTS)]
    if outcomes:
        last = first + GRADIENTS - 1
        prices.append(price_of(f"outcomes/{last}", outcomes[1], outcomes[0], squared, "validation"))
    schedule = Schedule(epsilon, delta, unit, sites, quorum, tuple(prices), classes)
    refuse_few_sites(schedule)
    return schedule


def refuse_few_sites(schedule: Schedule) -> None:
    """Refuse sums that colluders could make alone.

    Raises:
        PolicyError: too-few-sites.
    """
    if schedule.quorum <= schedule.colluders:
        raise PolicyError(
            "too-few-sites",
            f"sums over {schedule.quorum} of {schedule.sites} sites, of which {schedule.colluders} may know each "
            "other's noise: expected more. Ask more sites.",
        )


def together(prices: Iterable[Price]) -> Cost:
    """What answers cost together: of a kind that is paid once, the largest of its prices."""
    single, by_kind = list[Price](), dict[str, Price]()
    for price in prices:
        if price.is_shared:
            by_kind[price.kind] = max(price, by_kind.get(price.kind, price), key=lambda each: each.squared_mu)
        else:
            single.append(price)
    each_once = [*single, *by_kind.values()]
    return Cost(math.fsum(price.squared_mu for price in each_once), math.fsum(price.tail for price in each_once))


def price_of(question: str, sensitivity: float, numbers: int, squared_mu: float, part: Part = "training") -> Price:
    """The price of one answer of so many numbers, with its noise.

    Raises:
        PolicyError: the noise would be below the grid.
    """
    widest = sensitivity + math.sqrt(numbers) * GRID
    sigma = math.sqrt(widest**2 / squared_mu + LOST_SQUARED_STEPS * GRID**2)
    if sigma < LEAST_STEPS * GRID:
        raise PolicyError(
            "budget-too-large",
            f"'{question}' would have noise of {sigma / GRID:.0f} steps, expected {LEAST_STEPS} at least: a budget "
            "this large bounds nothing. Give a smaller privacy.epsilon.",
        )
    return Price(question, widest, sigma, squared_mu, part)

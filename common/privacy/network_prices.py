"""The questions of a network under a budget: DP-SGD at each site, and what all of its steps cost together.

    count       Σ 1 over the patients: how large a step's sum is           sensitivity 1, noise in shares     2 % of μ²
    train       the site trains by itself, and what its weights moved is added up; every round but the first      98 %
    outcomes    two histograms of the logit over validation patients       as of a head, an account of their own

In a step each patient is drawn with the same chance, the gradient of their loss is clipped to a length, and to the sum
the site adds noise: its own in full, since what leaves a site has passed through many steps, whose noise others do not
share. (That the sum over the sites has less of it is not counted.) What is done with a noised gradient costs nothing.

Sampled steps are not quite μ-GDP. So all steps of a run are paid together, with the first answer: for any δ beyond a
small tail they are as private as one normal answer of that μ, which is looked up on the curve of their privacy loss
(Google's dp-accounting: Koskela, Jälkö, Prediger and Honkela, 2021; Doroshenko et al., 2022). A tail adds up with tails
as μ² does with μ².

Source: Abadi et al., Deep learning with differential privacy, CCS 2016.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, PolicyError
from common.privacy.accounting import delta, mu_of, without_tail
from common.privacy.price_list import (
    GRID,
    LOST_SQUARED_STEPS,
    Price,
    SampledSteps,
    Schedule,
    Unit,
    price_of,
    refuse_few_sites,
)

RATE = 0.25
"""The chance with which a patient is in a step."""
NETWORK_CLIP = 1.0
COUNT_SHARE = 0.02
TAIL_SHARE = 0.1
"""Of a plan's δ, what is kept for the tail."""
MOST_STEPS_OF_RUN = 10_000
LEAST_NOISE = 0.5
"""In units of what a patient adds to a step."""
_PRECISION = 1.003
_INTERVAL = 1e-3
"""Of privacy loss, one step of the accountant's grid; it rounds up."""


def network_schedule(
    budget: tuple[float, float, Unit],
    *,
    sites: int,
    quorum: int,
    weights: int,
    rounds: int,
    steps: int,
    classes: int,
    outcomes: tuple[int, float],
) -> Schedule:
    """The questions of a network.

    Args:
        budget: ε, δ, and whom they are for.
        sites: of the plan.
        quorum: in every sum at least.
        weights: of the network.
        rounds: of the plan; in the first patients are counted.
        steps: of a site, in each of the others.
        classes: that are told apart.
        outcomes: numbers of the evaluation's histograms, and how far one patient moves them.

    Raises:
        PolicyError: too few sites, or a budget so large that there would be next to no noise.
        ConfigError: no steps, or too many.
    """
    epsilon, whole_delta, unit = budget
    many, tail = steps * (rounds - 1), TAIL_SHARE * whole_delta
    if not 0 < many <= MOST_STEPS_OF_RUN:
        raise ConfigError(f"federation: {many} steps in all, expected 1 to {MOST_STEPS_OF_RUN}: give other rounds.")
    squared = mu_of(epsilon, without_tail(whole_delta, tail)) ** 2
    training = (1 - COUNT_SHARE) * squared
    widest = NETWORK_CLIP + math.sqrt(weights) * GRID
    sigma = math.sqrt((noise_for(RATE, many, math.sqrt(training), tail) * widest) ** 2 + LOST_SQUARED_STEPS * GRID**2)
    train = [Price(f"train/{round}", widest, sigma, training, tail=tail, is_shared=True) for round in range(1, rounds)]
    evaluated = mu_of(epsilon, whole_delta) ** 2
    prices = (
        price_of("count/0", 1.0, 1, COUNT_SHARE * squared),
        *train,
        price_of(f"outcomes/{rounds - 1}", outcomes[1], outcomes[0], evaluated, "validation"),
    )
    local = SampledSteps(steps, RATE, NETWORK_CLIP, sigma)
    schedule = Schedule(epsilon, whole_delta, unit, sites, quorum, prices, classes, local)
    refuse_few_sites(schedule)
    return schedule


@lru_cache(maxsize=64)
def noise_for(rate: float, steps: int, mu: float, tail: float) -> float:
    """The least noise, in units of the sensitivity, with which so many sampled steps are μ-GDP but for a tail.

    Raises:
        PolicyError: next to none would do, as a budget that bounds nothing allows.
    """
    top = mu * mu / 2 + 8 * mu + 1
    grid = np.linspace(0.0, top, 2001)
    # A curve that falls is below another between two points if it is at the first below where the other is at the next.
    most = [tail + (1 - tail) * delta(mu, epsilon) for epsilon in grid[1:].tolist()] + [tail]
    high = 1 / math.sqrt(math.log1p((mu / (rate * math.sqrt(steps))) ** 2))  # as if it were normal: a little too low
    if high < LEAST_NOISE:
        raise PolicyError(
            "budget-too-large",
            f"{steps} steps would have noise of {high:.2g} of what a patient adds, expected {LEAST_NOISE:g} at least: "
            "a budget this large bounds nothing. Give a smaller privacy.epsilon.",
        )
    low = high * 0.9
    while not _fits(rate, steps, high, grid, np.array(most)):
        low, high = high, high * 1.1
    while high / low > _PRECISION:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _fits(rate, steps, middle, grid, np.array(most)) else (middle, high)
    return high


def _fits(rate: float, steps: int, noise: float, grid: NDArray[np.float64], most: NDArray[np.float64]) -> bool:
    """Whether δ of all steps is below a curve at every ε of a grid, whether a patient is added or removed."""
    from dp_accounting.pld import privacy_loss_distribution  # takes a second, and heads need none of it

    one = privacy_loss_distribution.from_gaussian_mechanism(
        noise, sampling_prob=rate, value_discretization_interval=_INTERVAL
    )
    return bool((np.asarray(one.self_compose(steps).get_delta_for_epsilon(grid)) <= most).all())

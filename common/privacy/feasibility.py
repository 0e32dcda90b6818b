"""Whether a budget leaves anything to learn from so many patients, before any is spent."""

import math

from common.privacy.accounting import epsilon, mu_of
from common.privacy.price_list import GRADIENTS, Schedule

MOST_NOISE = 0.3
"""Noise of the gradients' mean, as a share of the longest that a gradient can be. On breast ultrasound with 522
training images AUC was .73 at .12, .62 at .23 and .52, next to nothing, at .42."""


def noise_share(schedule: Schedule, patients: int, dimension: int) -> float:
    """Of the longest gradient that so many patients can have, what the noise of all gradients' mean comes to.

    Args:
        dimension: length of a row; of a network, its weights.
    """
    if (local := schedule.steps) is not None:
        many = local.steps * sum(price.kind == "train" for price in schedule.prices)
        noise = local.sigma * math.sqrt(schedule.sites * dimension / many)
        return noise / (local.clip * local.rate * patients)
    price = schedule.of_kind("gradient")
    noise = math.sqrt(schedule.variance(price, schedule.sites) * dimension / GRADIENTS)
    return noise / (price.sensitivity * patients)


def least_epsilon(schedule: Schedule, patients: int, dimension: int) -> float:
    """The ε, at the schedule's δ, at which so many patients can train; noise is as wide as μ is small."""
    share = noise_share(schedule, patients, dimension)
    return epsilon(mu_of(schedule.epsilon, schedule.delta) * share / MOST_NOISE, schedule.delta)


def doubt_of(schedule: Schedule, patients: int, dimension: int) -> str:
    """What is to be said of a budget that cannot train; empty where it can."""
    if noise_share(schedule, patients, dimension) <= MOST_NOISE:
        return ""
    return (
        f"privacy.epsilon {schedule.epsilon:g} leaves nothing to learn from {patients} training patients with "
        f"{'a network' if schedule.steps else 'rows'} of {dimension} numbers: the noise drowns the signal. From ε "
        f"{least_epsilon(schedule, patients, dimension):.2g} on it can train; or bring more patients, or "
        f"{'a smaller network' if schedule.steps else 'shorter rows'}."
    )

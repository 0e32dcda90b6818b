"""Canaries in a network's training: what an attacker can show who sees each noised step (`benchmarks/privacy_audit`).

A hundred patients as bad as can be: the gradient of each has the clip's length, along a direction of its own. A coin
decides for each whether they are in the data; each step then draws them, and adds its noise, by the program's own code
(`common.models.private_descent`). The attacker, whom DP-SGD grants more than any coordinator has, sees the noised sum
of each step, and weighs it by the exact likelihood ratio of a patient who is drawn by chance.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np

from common.config import Local
from common.models import private_descent
from common.models.private_descent import PrivateDescent
from common.models.training_graphs import OptimizerState
from common.privacy.network_prices import network_schedule
from common.privacy.price_list import GRID, SampledSteps, Schedule
from common.types import Cases

ROUNDS, STEPS = 11, 5


class CanaryDescent(PrivateDescent):
    """The gradient of patient i is as long as may be, along coordinate i."""

    def _clipped(self, state: OptimizerState, cases: Cases, patients: list[np.ndarray]) -> np.ndarray:
        total = np.zeros(self.graphs.count, np.int64)
        total[np.concatenate([np.zeros(0, np.int64), *patients])] = round(self.steps.clip / GRID)
        return total[:]


def plan(budget: float, delta: float, sites: int, quorum: int, canaries: int) -> Schedule:
    """A network's schedule."""
    return network_schedule(
        (budget, delta, "patient"), sites=sites, quorum=quorum, weights=canaries, rounds=ROUNDS, steps=STEPS,
        classes=2, outcomes=(20, 1.0),
    )  # fmt: skip


def scores(steps: SampledSteps, claim: SampledSteps, is_in: np.ndarray) -> np.ndarray:
    """Of each canary the log-likelihood ratio of all steps of a run, by the noise that is claimed.

    Args:
        steps: what the sites do; in a right build as claimed.
    """
    many, seen = len(is_in), list[np.ndarray]()

    def record(state: OptimizerState, gradient: np.ndarray, *_: object) -> OptimizerState:
        seen.append(gradient.astype(np.float64))
        return state

    graphs = SimpleNamespace(count=many, step={"sgd": record})
    images = np.flatnonzero(is_in)  # patient number i of those that are in has the gradient of canary images[i]
    descent = CanaryDescent(graphs, None, steps, Local(optimizer="sgd"), 1.0, 1.0)
    cases = Cases(np.zeros((many, 1, 1, 1), np.float32), np.zeros(many, np.int64))
    with mock.patch.object(private_descent, "_images_by_patient", return_value=list(images.reshape(-1, 1))):
        for _ in range(ROUNDS - 1):
            descent.run(np.zeros(many, np.float32), cases)
    drawn = np.exp((claim.clip * np.array(seen) - claim.clip**2 / 2) / claim.sigma**2)
    return np.asarray(np.log1p(claim.rate * (drawn - 1)).sum(axis=0))


def everybody(patients: int, rate: float) -> np.ndarray:
    """A fault: all are in every step."""
    return np.arange(patients)


FAULTS: dict[str, tuple[Callable[[SampledSteps], SampledSteps], Callable[[], AbstractContextManager[object]]]] = {
    "everybody in each step": (lambda s: s, lambda: mock.patch.object(private_descent, "_draw", everybody)),
    "σ of one round": (lambda s: replace(s, sigma=s.sigma / np.sqrt(ROUNDS - 1)), nullcontext),
    "clipped at twice the length": (lambda s: replace(s, clip=2 * s.clip), nullcontext),
}

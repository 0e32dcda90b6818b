"""Federated averaging: the sites train from the common weights, and the server steps along the mean of what they moved.

Which step it takes is the strategy's (`common.algorithms.strategies`). The state is plain arrays: `weights/…`, and what
the strategy keeps, such as `velocity/…`, `square/…`, `control/…`, and `moments/…`.
"""

import math
from dataclasses import dataclass

import numpy as np

from common.algorithms import RoundTotal, State, WorkQuestion
from common.algorithms.strategies import Strategy, strategy_of
from common.config import Federation
from common.messages.transport import Request
from common.models import Model
from common.models.private_layers import private_names
from common.types import Tensors, prefixed, under


@dataclass(frozen=True)
class Averaging:
    """Sites train locally from the common weights; the server steps along the mean of what they moved."""

    plan: Federation
    model: Model
    seed: int
    members: int
    """Sites in the federation; SCAFFOLD's control variate is a mean over all of them."""
    cohort_must_be_whole: bool = False
    chooses: bool = False
    asks_once: bool = False

    @property
    def _strategy(self) -> Strategy:
        return strategy_of(self.plan)

    def start(self) -> State:
        """Fresh weights, everything else zero."""
        weights = self.model.init(self.seed)
        stays = private_names(weights, self.plan.local.private)
        zeros = {name: np.zeros_like(w) for name, w in weights.items() if name not in stays}
        state = dict(prefixed("weights", weights))
        for name in self._strategy.memory:
            state |= prefixed(name, zeros)
        return state

    def asks(self, state: State) -> WorkQuestion:
        """Always `train`."""
        return "train"

    def ask(self, state: State, round: int) -> Request:
        """The round's question: train from these weights, with these settings."""
        tensors = prefixed("weights", self.weights(state))
        tensors |= prefixed("moments", under("moments", state)) | prefixed("control", under("control", state))
        return Request("train", round, tensors, {"learning_rate": self.rate(round), "seed": self.seed})

    def tell(self, state: State, total: RoundTotal) -> State:
        """Step along the mean difference. A total without examples changes nothing."""
        examples = float(total.sums["weight"][0])
        if not examples > 0:
            return state
        weights = self.weights(state)
        mean = {name: d / examples for name, d in under("delta", total.sums).items()}
        strategy, rate = self._strategy, self.plan.server_learning_rate
        step, memory = strategy.step(self.plan, mean, {name: under(name, state) for name in strategy.memory})
        rate = strategy.rate if rate is None else rate
        moved = {n: (weights[n] + rate * s).astype(weights[n].dtype) for n, s in step.items()}  # private ones stay
        new: State = state | prefixed("weights", moved)
        for name, arrays in memory.items():
            new |= prefixed(name, arrays)
        if moments := under("moments", total.sums):
            new |= prefixed("moments", {n: (m / examples).astype(np.float32) for n, m in moments.items()})
        for name, change in under("control", total.sums).items():
            c = state[f"control/{name}"]
            new[f"control/{name}"] = (c + change / self.members).astype(c.dtype)
        return new

    def carry(self, state: State, sums: Tensors, seed: int) -> State:
        """As it is: the first weights are drawn from the seed, and no averaging asks for second moments."""
        return state

    def begin_at(self, state: State, weights: Tensors) -> State:
        """With these weights for fresh ones."""
        return state | prefixed("weights", weights)

    def weights(self, state: State) -> Tensors:
        """The weights that all sites share after the last round; private layers are as at the start."""
        return under("weights", state)

    def settled(self, state: State) -> bool:
        """Every model is."""
        return True

    def finished(self, state: State) -> bool:
        """Averaging ends with its rounds, or when the loop's patience does."""
        return False

    def rate(self, round: int) -> float:
        """Learning rate of a round's training."""
        local = self.plan.local
        if local.schedule == "constant":
            return local.learning_rate
        rate = local.learning_rate * 0.5 * (1 + math.cos(math.pi * round / self.plan.rounds))
        return float(f"{rate:.12g}")  # a cosine's last digit depends on the machine

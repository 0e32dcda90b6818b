"""Federated averaging and its kin: what the server does with the sum of the sites' weighted model differences.

    fedavg    McMahan et al., AISTATS 2017: the example-weighted mean.
    fedprox   Li et al., MLSys 2020: the same; the sites add a proximal term.
    scaffold  Karimireddy et al., ICML 2020 (option II): control variates correct the sites' drift.
    fedavgm   Hsu et al., 2019: momentum on the mean difference.
    fedadam, fedyogi  Reddi et al., ICLR 2021: adaptive steps on the mean difference.

The state is plain arrays: `weights/…`, and by strategy `velocity/…`, `square/…`, `control/…`, `moments/…`.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.algorithms import RoundTotal, State
from common.config import Federation
from common.messages.transport import Request
from common.models import Model
from common.types import Tensors, prefixed, under

BETA_1, BETA_2, TAU = 0.9, 0.99, 1e-3  # Reddi et al., section 5


@dataclass(frozen=True)
class Averaging:
    """Sites train locally from the common weights; the server steps along the mean of what they moved."""

    plan: Federation
    model: Model
    seed: int
    members: int
    """Sites in the federation; SCAFFOLD's control variate is a mean over all of them."""
    cohort_must_be_whole: bool = False

    def start(self) -> State:
        """Fresh weights, everything else zero."""
        weights = self.model.init(self.seed)
        zeros = {name: np.zeros_like(w) for name, w in weights.items()}
        state = dict(prefixed("weights", weights))
        if self.plan.strategy in ("fedavgm", "fedadam", "fedyogi"):
            state |= prefixed("velocity", zeros)
        if self.plan.strategy in ("fedadam", "fedyogi"):
            state |= prefixed("square", zeros)
        if self.plan.strategy == "scaffold":
            state |= prefixed("control", zeros)
        return state

    def ask(self, state: State, round: int) -> Request:
        """Train from these weights."""
        sent = prefixed("weights", self.weights(state))
        sent |= prefixed("moments", under("moments", state)) | prefixed("control", under("control", state))
        return Request("train", round, sent, {"learning_rate": self._rate(round), "seed": self.seed})

    def tell(self, state: State, total: RoundTotal) -> State:
        """Step along the mean difference. A total without examples changes nothing."""
        examples = float(total.sums["weight"][0])
        if not examples > 0:
            return state
        weights = self.weights(state)
        mean = {name: d / examples for name, d in under("delta", total.sums).items()}
        step, memory = self._step(state, mean)
        rate = self._server_rate()
        moved = {n: (w + rate * step[n]).astype(w.dtype) for n, w in weights.items()}
        new: State = state | prefixed("weights", moved) | memory
        if moments := under("moments", total.sums):
            new |= prefixed("moments", {n: (m / examples).astype(np.float32) for n, m in moments.items()})
        for name, change in under("control", total.sums).items():
            c = state[f"control/{name}"]
            new[f"control/{name}"] = (c + change / self.members).astype(c.dtype)
        return new

    def adopted(self, state: State, asked: Request) -> State | None:
        """None: every step is one rounding after the other, number by number, the same on every processor."""
        return None

    def weights(self, state: State) -> Tensors:
        """The common model."""
        return under("weights", state)

    def finished(self, state: State) -> bool:
        """Averaging ends with its rounds, or when the loop's patience does."""
        return False

    def _rate(self, round: int) -> float:
        local = self.plan.local
        if local.schedule == "constant":
            return local.learning_rate
        rate = local.learning_rate * 0.5 * (1 + math.cos(math.pi * round / self.plan.rounds))
        return float(f"{rate:.12g}")  # a cosine's last digit depends on the machine

    def _server_rate(self) -> float:
        if self.plan.server_learning_rate is not None:
            return self.plan.server_learning_rate
        return 0.01 if self.plan.strategy in ("fedadam", "fedyogi") else 1.0

    def _step(self, state: State, mean: Tensors) -> tuple[Tensors, State]:
        """The direction to go, and the strategy's memory for the next round."""
        if self.plan.strategy not in ("fedavgm", "fedadam", "fedyogi"):
            return mean, {}
        adaptive = self.plan.strategy != "fedavgm"
        momentum, share = (BETA_1, 1 - BETA_1) if adaptive else (self.plan.server_momentum, 1.0)
        velocity = {n: momentum * v + share * mean[n] for n, v in under("velocity", state).items()}
        if not adaptive:
            return velocity, prefixed("velocity", velocity)
        square = {n: self._square(v, mean[n] ** 2) for n, v in under("square", state).items()}
        step = {n: v / (np.sqrt(square[n]) + TAU) for n, v in velocity.items()}
        return step, prefixed("velocity", velocity) | prefixed("square", square)

    def _square(self, old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        yogi: NDArray[Any] = old - (1 - BETA_2) * new * np.sign(old - new)
        return BETA_2 * old + (1 - BETA_2) * new if self.plan.strategy == "fedadam" else yogi

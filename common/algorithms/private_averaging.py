"""A network trained under a budget of privacy: sites train by DP-SGD, and the server steps along the mean they moved.

    count    Σ 1 over the patients, with noise: from it follows by how much a step's sum is divided
    train    each site's steps from the common weights, every round after it

Every site counts alike, whatever its number of patients: the sum of a step's gradients is divided by what a site of
middle size has in it, so a larger one moves further by itself.

An answer that too few gave is not asked again. Without the count the run is over.
"""

from dataclasses import dataclass

import numpy as np

from common.algorithms import RoundTotal, State, WorkQuestion
from common.algorithms.averaging import Averaging
from common.algorithms.solver_steps import checked_sum
from common.errors import ConfigError
from common.messages.transport import Request
from common.privacy.price_list import SampledSteps, Schedule
from common.types import Tensors, prefixed, under


@dataclass(frozen=True)
class PrivateAveraging:
    """The questions as an `Algorithm`; the server's step is that of `Averaging` over sites that weigh 1 each."""

    averaging: Averaging
    schedule: Schedule
    cohort_must_be_whole: bool = False
    chooses: bool = False
    asks_once: bool = True

    @property
    def steps(self) -> SampledSteps:
        """How a site trains in a round."""
        if self.schedule.steps is None:
            raise ConfigError("privacy: the questions of a linear head, expected those of a network.")
        return self.schedule.steps

    def start(self) -> State:
        """Fresh weights, and nothing is counted."""
        zeros = {"asked": np.array(0, np.int64), "lost": np.array(False), "patients": np.array(0.0)}
        return self.averaging.start() | zeros

    def asks(self, state: State) -> WorkQuestion:
        """One question a round."""
        return "train"

    def ask(self, state: State, round: int) -> Request:
        """How many they are; then, to train."""
        if not int(state["asked"]):
            return Request("noised-count", round)
        settings = {"learning_rate": self.averaging.rate(round), "patients": float(state["patients"])}
        return Request("noised-train", round, prefixed("weights", self.weights(state)), settings)

    def tell(self, state: State, total: RoundTotal) -> State:
        """One question further, whether it was answered or not."""
        is_count, after = not int(state["asked"]), state | {"asked": state["asked"] + 1}
        if not total.sums:
            return after | {"lost": np.array(True)} if is_count else after
        if is_count:
            patients = float(checked_sum(total.sums, "count", (1,))[0])
            return after | {"patients": np.array(max(1.0, round(patients / len(total.sites) * self.steps.rate)))}
        moved = self.averaging.tell(state, RoundTotal(_of_equals(total), total.sites, total.dropouts))
        return moved | {"asked": after["asked"]}

    def begin_at(self, state: State, weights: Tensors) -> State:
        """With these weights for fresh ones: what they tell is not of this run."""
        return self.averaging.begin_at(state, weights)

    def carry(self, state: State, sums: Tensors, seed: int) -> State:
        """As it is: nothing is carried, since every answer is paid for."""
        return state

    def weights(self, state: State) -> Tensors:
        """The weights that all sites share after the last round."""
        return under("weights", state)

    def settled(self, state: State) -> bool:
        """The model is the one to be evaluated: all was asked."""
        return self.finished(state)

    def finished(self, state: State) -> bool:
        """All rounds were asked, or nobody was counted."""
        return bool(state["lost"]) or int(state["asked"]) == self.averaging.plan.rounds


def _of_equals(total: RoundTotal) -> Tensors:
    """Sums over sites that weigh 1 each."""
    return {**total.sums, "weight": np.array([float(len(total.sites))])}

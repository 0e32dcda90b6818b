"""A linear head trained under a budget of privacy: a fixed list of questions, each answered once and with noise.

    mean        Σ (x, ½), whose sum is shrunk towards 0 by as much as it is noise      the centre, and how many they are
    gram        Σ z zᵀ about that centre, once                                          it preconditions all after
    gradient    Σ clip(p - y) z, twenty times:   w ← w - (G̃ + damp)⁻¹ g̃ / steepest      from 0; the last w is the model

Without second moments, where rows are long: w ← w - 8 g̃ / (N steepest). There is no learning rate, no regularisation
and nothing to choose by validation: what is left after the noise damps it. A clipped residual is the gradient of a
convex loss, and halves the noise. (Mehta et al., TMLR 2023; the shrinking is James and Stein's, 1961. The constants
were measured on three data sets: docs/privacy.md.)

An answer that too few gave is not asked again, for it would have to be paid again: a gradient is left out, and without
second moments the steps are those of long rows. The mean, on which all else stands, is asked once more in the place of
the second moments, from what they would have cost; without it the run is over.

Every site works the model out from the sums. LAPACK's last digits depend on the processor, so points are rounded to
2^-10: two processors round one of them differently in less than one of 10,000 runs, and that run's site refuses.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.algorithms import RoundTotal, State, WorkQuestion
from common.algorithms.exact import dot
from common.algorithms.solver_steps import checked_sum
from common.messages.transport import Request
from common.models.unit_head import COUNT, LENGTH, UnitHead, triangle_scale
from common.privacy.price_list import Price, Schedule
from common.types import Tensors, prefixed

Floats = NDArray[np.float64]

LEAST_DAMP = 1e-3
"""Of the number of patients."""
NOISE_OF_GRADIENT = 4.0
"""How much the noise of a gradient adds to the damping of the second moments."""
LONG_STEP = 8.0
"""Of the step without second moments, in units of the curvature's bound."""
POINT_GRID = 2.0**-10


@dataclass(frozen=True)
class PrivateHead:
    """The questions as an `Algorithm`.

    Args:
        noise: whether the sums have noise; without, it is what the same questions give exactly, to see what the noise
            costs.
    """

    model: UnitHead
    schedule: Schedule
    noise: bool = True
    cohort_must_be_whole: bool = False
    chooses: bool = False
    asks_once: bool = True

    def start(self) -> State:
        """Nothing is known, and all weights are zero."""
        return {
            "answered": np.array(0, np.int64),
            "lost": np.array(0, np.int64),
            "centre": np.zeros(self.model.length - 1),
            "patients": np.array(0.0),
            "point": np.zeros((self.model.rows, self.model.length)),
        }

    def asks(self, state: State) -> WorkQuestion:
        """One question a round."""
        return "train"

    def ask(self, state: State, round: int) -> Request:
        """Mean, second moments, or the gradient at the point."""
        kind = self._kind(state)
        if kind == "mean":
            return Request("noised-mean", round)
        if kind == "gram":
            return Request("noised-gram", round, {"weights/centre": state["centre"]})
        return Request("noised-gradient", round, prefixed("weights", self.weights(state)))

    def tell(self, state: State, total: RoundTotal) -> State:
        """One question further, whether it was answered or not.

        Raises:
            WireError: where the sums are not those that were asked for.
        """
        kind, after = self._kind(state), state | {"answered": state["answered"] + 1}
        if not total.sums:
            return after | {"lost": state["lost"] + (kind == "mean")}
        if kind == "mean":
            return after | self._centred(total)
        if kind == "gram":
            return after | self._preconditioned(state, total)
        return after | {"point": self._stepped(state, total)}

    def begin_at(self, state: State, weights: Tensors) -> State:
        """From zero, as ever: a budget does not cover what other weights hold."""
        return state

    def carry(self, state: State, sums: Tensors, seed: int) -> State:
        """As it is: nothing is carried, since every answer is paid for."""
        return state

    def weights(self, state: State) -> Tensors:
        """The head at the last point."""
        return self.model.weights_at(state["point"], state["centre"])

    def settled(self, state: State) -> bool:
        """The model is the one to be evaluated: all was asked."""
        return self.finished(state)

    def finished(self, state: State) -> bool:
        """All was asked, or the mean, on which all else stands, did not come about."""
        chances = 2 if self.schedule.after_lost_mean else 1
        return int(state["lost"]) == chances or int(state["answered"]) == len(self._questions(state))

    def _questions(self, state: State) -> tuple[Price, ...]:
        schedule = self.schedule.after_lost_mean if state["lost"] else None
        return tuple(price for price in (schedule or self.schedule).prices if price.part == "training")

    def _kind(self, state: State) -> str:
        questions = self._questions(state)
        return questions[min(int(state["answered"]), len(questions) - 1)].kind

    def _deviation(self, kind: str, survivors: int) -> float:
        """Standard deviation of the noise in a sum over so many sites."""
        return math.sqrt(self.schedule.variance(self.schedule.of_kind(kind), survivors)) if self.noise else 0.0

    def _centred(self, total: RoundTotal) -> State:
        summed, d = checked_sum(total.sums, "mean", (self.model.length,)), self.model.length - 1
        patients = max(1.0, float(summed[-1]) * LENGTH / COUNT)
        rows, square = summed[:-1], dot(summed[:-1], summed[:-1])
        noise = self._deviation("mean", len(total.sites)) ** 2 * d
        remainder = max(0.0, 1.0 - noise / square) if square > 0 else 0.0
        return {"centre": rows * (remainder * LENGTH / patients), "patients": np.array(patients)}

    def _preconditioned(self, state: State, total: RoundTotal) -> State:
        d, present = self.model.length, len(total.sites)
        gram = np.zeros((d, d))
        gram[np.triu_indices(d)] = checked_sum(total.sums, "gram", (d * (d + 1) // 2,)) / triangle_scale(d)
        values, vectors = np.linalg.eigh(gram, UPLO="U")
        noise = self._deviation("gram", present) * math.sqrt(d)
        noise += NOISE_OF_GRADIENT * self._deviation("gradient", present)
        damp = max(noise, LEAST_DAMP * float(state["patients"]))
        return {"inverse": (vectors / (np.maximum(values, 0.0) + damp)) @ vectors.T}

    def _stepped(self, state: State, total: RoundTotal) -> Floats:
        gradient = checked_sum(total.sums, "gradient", (self.model.rows, self.model.length))
        if "inverse" in state:
            step = gradient @ state["inverse"] / self.model.loss_of.steepest
        else:
            step = LONG_STEP / self.model.loss_of.steepest * gradient / float(state["patients"])
        return np.asarray(np.round((state["point"] - step) / POINT_GRID) * POINT_GRID)

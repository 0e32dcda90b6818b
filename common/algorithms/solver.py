"""The SVM trained over sites to the pooled optimum: quasi-Newton steps on sums, and on nothing else.

    count    classes    cases of each class, once, where classes are balanced
    gather   gram       Σ z zᵀ at the images' lowest frequencies, once; it preconditions all after  (gram-lbfgs)
    place    gradient   loss and gradient where the weights are
    search   loss       at four step lengths along one direction; the best is taken
    step     gradient   at the best, where a class moved; then the next search

Never more than two gradients lie on one line: with three, the sums of an honest run show single images, since between
them the summed gradient is linear but for the cases that cross the margin. So losses choose the step.

`newton` asks for `hessian` in place of `gradient`, and preconditions with the newest; `lbfgs` goes without a
preconditioner. All problems (classes, where they do not depend on each other) move in lockstep, each with its own step
and its own memory. (L-BFGS: Nocedal, Math. Comp. 1980; Newton for this loss: Keerthi and DeCoste, JMLR 2005.)

Of several C each is a descent that begins where the one before, with stronger regularisation, has ended, and remembers
what it has seen: the sums have no C in them. Where one ends the model is one to be validated (`settled`).

Sums over another set of sites are another function. So a round in which a counted site is silent is thrown away and
asked again; a site that is silent `patience` rounds in a row is counted out, one that answers again is counted in, and
the descent goes on from the same weights towards the optimum of those who are there. The Gram matrix stays: as a
preconditioner it decides how fast, not where to.

What is summed has no C in it: with 16 fraction bits an error of 2^-17 a site and coordinate moves the gradient by
C·2^-17, and as the objective is 1-strongly convex that costs at most ½ d (C · sites · 2^-17)².
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

import numpy as np

from common.algorithms import RoundTotal, State, WorkQuestion, descent
from common.algorithms.descent import Flags, Floats
from common.algorithms.exact import dot, dots
from common.algorithms.solver_steps import checked_sum, found_best, preconditioned, solved_low, step_to_found, weakened
from common.config import Svm
from common.errors import ConfigError
from common.messages.transport import Request
from common.models.svm import LinearSvm
from common.types import Tensors, prefixed

NEWTON_DIMENSION = 2100
"""Largest d (features and intercept) whose d (d + 1) / 2 second derivatives are sent: 17.6 MB a site and step."""

PATIENCE = 5
"""Rounds of silence in a row after which a site is counted out."""

MEMORY = 30
"""Pairs of moves and gradient changes that L-BFGS remembers."""

STEPS = (0.4, 0.7, 1.0, 1.5)
"""Step lengths tried in one round, in units of the quasi-Newton step."""

FIRST_STEPS = (1e-3, 1e-2, 0.1, 1.0)
"""The same of the first step without a preconditioner, when nothing is known of how the function curves."""

ACTIVE = 0.3
"""Share of the cases taken to be inside the margin, where the Gram matrix stands in for the Hessian."""

BEGINS = 0.5
"""Standard deviation of the scores of normalised images at the point where a run begins that carries."""

PESSIMISM = 100
"""A step's predicted gain was seen to be up to 65 times less than all that was left; the tolerance allows for it."""


class SolverStage(IntEnum):
    """What the next question is for."""

    COUNT = 0
    GATHER = 1
    PLACE = 2
    SEARCH = 3
    STEP = 4


@dataclass(frozen=True)
class SvmSolver:
    """The solver as an `Algorithm`.

    Requests carry `weights/alpha` float64[rows, features] and `weights/intercept` float64[rows], for `loss` with an
    axis of points in front, none for `gram`; no settings. The sums are those of `LinearSvm`'s methods of these names.

    Args:
        sites: names of all sites.
        quorum: the sums never run over fewer sites than this, however long the others are silent.
        patience: rounds of silence in a row after which a site is counted out.

    Raises:
        ConfigError: solver newton with more features than its matrices can be sent for.
    """

    config: Svm
    model: LinearSvm
    sites: Sequence[str]
    quorum: int = 2
    patience: int = PATIENCE
    cohort_must_be_whole: bool = True
    asks_once: bool = False

    def __post_init__(self) -> None:
        if self.config.solver == "newton" and self._dimension > NEWTON_DIMENSION:
            raise ConfigError(
                f"model.solver: newton sends matrices, which {self._dimension} features and intercept are too many for "
                f"(expected at most {NEWTON_DIMENSION}). Use lbfgs, shrink the images, or lower model.dimension."
            )

    def start(self) -> State:
        """All weights zero, every site counted. Second moments are asked of as many frequencies as the model has."""
        problems, size = self._shape
        first = SolverStage.COUNT if self.config.class_weight else self._stage_after_count({})
        return self._forgetful() | {
            "stage": np.array(first, np.int64),
            "candidate": np.array(0, np.int64),
            "settled": np.array(False),
            "reached": np.array(0, np.int64),
            "point": np.zeros((problems, size)),
            "objective": np.zeros(problems),
            "gradient": np.zeros((problems, size)),
            "trials": np.zeros((len(STEPS), problems, size)),
            "found": np.zeros((problems, size)),
            "found_objective": np.zeros(problems),
            "good": np.zeros(problems, np.bool_),
            "missed": np.zeros(len(self.sites), np.int64),
            "counted": np.ones(len(self.sites), np.bool_),
        }

    def asks(self, state: State) -> WorkQuestion:
        """`slope` where the question is the gradient."""
        return "slope" if state["stage"] in (SolverStage.PLACE, SolverStage.STEP) else "train"

    def ask(self, state: State, round: int) -> Request:
        """The classes, the second moments, the losses where to try, or the gradient where it goes."""
        if state["stage"] == SolverStage.COUNT:
            return Request("classes", round)
        if state["stage"] == SolverStage.GATHER:
            return Request("gram", round, settings={"frequencies": self.model.frequencies})
        beside: State = {"classes/share": state["share"]} if self.config.class_weight else {}
        if state["stage"] == SolverStage.SEARCH:
            return Request("loss", round, {**self._weights(state["trials"]), **beside})
        point = state["point"] if state["stage"] == SolverStage.PLACE else state["found"]
        return Request("hessian" if self._newton else "gradient", round, {**self._weights(point), **beside})

    def tell(self, state: State, total: RoundTotal) -> State:
        """One question further; after a silence, only the attendance is noted.

        Raises:
            WireError: where the sums are not those that were asked for, or not finite.
        """
        attended = self._attended(state, total)
        if not total.sums or not self._whole(attended, total) or attended["stage"] != state["stage"]:
            return attended
        attended = attended | {"settled": np.array(False)}
        if state["stage"] == SolverStage.COUNT:
            return self._balanced(attended, total.sums)
        if state["stage"] == SolverStage.GATHER:
            return self._preconditioned(attended, total.sums)
        if state["stage"] == SolverStage.SEARCH:
            return self._searched(attended, total.sums)
        return self._stepped(attended, total.sums)

    def _balanced(self, state: State, sums: Tensors) -> State:
        """What a case of each class counts beside one of the rarest, and how much that one does: so all that the sites
        sum stays as large as without weights."""
        weights = self.model.balance(checked_sum(sums, "classes", (self.model.classes,)))
        heaviest = weights.max()
        balanced = state | {"share": weights / heaviest, "heaviest": np.array(heaviest)}
        return balanced | {"stage": np.array(self._stage_after_count(state), np.int64)}

    def _stage_after_count(self, state: State) -> SolverStage:
        return SolverStage.GATHER if self.model.moments and "factor" not in state else SolverStage.PLACE

    def _preconditioned(self, state: State, sums: Tensors) -> State:
        preconditioner = preconditioned(self.model, self.model.loss_of.steepest * self._strength(state) * ACTIVE, sums)
        return state | preconditioner | {"stage": np.array(SolverStage.PLACE, np.int64)}

    def _searched(self, state: State, sums: Tensors) -> State:
        """After the losses: on to the gradient where a class moved, else another search with shorter steps."""
        points = state["trials"]
        loss = checked_sum(sums, "loss", points.shape[:2])
        # Objective ½ |w|² + C Σ loss: what the sites sum has no C and no ½ |w|², both are added here once.
        best = found_best(state, (points, 0.5 * dots(points, points) + self._strength(state) * loss))
        if not best["good"].any():
            return self._aimed(best)
        return best | {"stage": np.array(SolverStage.STEP, np.int64)}

    def _stepped(self, state: State, sums: Tensors) -> State:
        """After the gradient where the classes are, or where they go: there, with the next points to try."""
        begins = state["stage"] == SolverStage.PLACE
        point = state["point"] if begins else state["found"]
        gradient = checked_sum(sums, "gradient", (self.model.rows, self._dimension)).reshape(point.shape)
        slope = point + self._strength(state) * gradient
        if begins:
            loss = checked_sum(sums, "loss", point.shape[:1])
            objective = 0.5 * dots(point, point) + self._strength(state) * loss
            stepped = state | {"objective": objective, "gradient": slope}
        else:
            stepped = step_to_found(state, slope)
        if self._newton:
            stepped["factor"] = self._refactored(state, sums, np.ones_like(state["good"]) if begins else state["good"])
        return self._aimed(stepped | {"stage": np.array(SolverStage.SEARCH, np.int64)})

    def begin_at(self, state: State, weights: Tensors) -> State:
        """From another point than zero: the optimum is the same, and may be nearer."""
        rows = np.concatenate([weights["alpha"], weights["intercept"][:, None]], axis=1)
        return state | {"point": rows.astype(np.float64).reshape(self._shape)}

    def carry(self, state: State, sums: Tensors, seed: int) -> State:
        """With an earlier run's second moments and weights of classes, and at a point of its own where scores differ by
        some .5: there the gradient is none that was summed before, over other sites."""
        draw = np.random.Generator(np.random.PCG64(seed)).standard_normal(state["point"].shape)
        state = state | {"point": state["point"] + np.round(draw * BEGINS / math.sqrt(self._dimension), 12)}
        if self.config.class_weight and "share" in sums and sums["share"].shape == (self.model.classes,):
            state = state | {"share": sums["share"], "heaviest": sums["heaviest"]}
            state = state | {"stage": np.array(self._stage_after_count(state), np.int64)}
        if "gram" not in sums or not self.model.moments:
            return state
        is_counted = state["stage"] != SolverStage.COUNT
        preconditioned = self._preconditioned(state, sums)
        return preconditioned if is_counted else preconditioned | {"stage": state["stage"]}

    def weights(self, state: State) -> Tensors:
        """`alpha` and `intercept` of the best point so far."""
        rows = state["point"].reshape(self.model.rows, self._dimension)
        return {"alpha": rows[:, :-1].copy(), "intercept": rows[:, -1].copy()}

    @property
    def chooses(self) -> bool:
        """Of several C the validation figure tells which."""
        return len(self.config.candidates) > 1

    def setting(self, state: State) -> dict[str, float | None]:
        """Of several C, that of the point; empty where there is but one."""
        return {"C": self.config.candidates[int(state["reached"])]} if self.chooses else {}

    def settled(self, state: State) -> bool:
        """The point is the optimum for a C, or there is but one and every point leads to it."""
        return not self.chooses or bool(state["settled"])

    def finished(self, state: State) -> bool:
        """With the last C, every class is within the tolerance, or at what the arithmetic can tell apart."""
        return bool(state["done"].all())

    def _strength(self, state: State) -> float:
        """Of the rarest class, where classes are balanced."""
        return self.config.candidates[int(state["candidate"])] * float(state.get("heaviest", 1.0))

    def counted_sites(self, state: State) -> tuple[str, ...]:
        """Names of the sites that the sums run over."""
        return tuple(name for name, yes in zip(self.sites, state["counted"], strict=True) if yes)

    @property
    def _dimension(self) -> int:
        return self.model.features.dimension + 1

    @property
    def _shape(self) -> tuple[int, int]:
        """Problems, and how many numbers each has."""
        return self.model.problems, self.model.rows * self._dimension // self.model.problems

    @property
    def _triangle_size(self) -> int:
        return self._dimension * (self._dimension + 1) // 2

    @property
    def _newton(self) -> bool:
        return self.config.solver == "newton"

    def _forgetful(self) -> State:
        """No memory, full steps, nothing done."""
        problems, size = self._shape
        memory = np.zeros((problems, 0 if self._newton else MEMORY, size))
        return {"moves": memory, "changes": memory, "scale": np.ones(problems), "done": np.zeros(problems, np.bool_)}

    def _attended(self, state: State, total: RoundTotal) -> State:
        """The state with this round's silences noted; begun anew from the same point if other sites count now."""
        present = np.isin(self.sites, total.sites)
        silences = np.where(present, 0, state["missed"] + 1)
        members = state["counted"] | present
        staying = members & (silences < self.patience)
        if staying.sum() >= min(self.quorum, len(self.sites)):
            members = staying
        attended = state | {"missed": silences, "counted": members}
        if (members == state["counted"]).all():
            return attended
        stage = min(int(state["stage"]), SolverStage.PLACE)
        return attended | self._forgetful() | {"stage": np.array(stage, np.int64)}

    def _whole(self, state: State, total: RoundTotal) -> bool:
        return set(self.counted_sites(state)) == set(total.sites)

    def _refactored(self, state: State, sums: Tensors, moved: Flags) -> Floats:
        """Newton's preconditioners, one a class: the newest where it moved, float64[rows, d (d + 1) / 2]."""
        hessian, strength = checked_sum(sums, "hessian", (self.model.rows, self._triangle_size)), self._strength(state)
        return np.stack(
            [
                descent.factored(strength * h, self._dimension) if new else state["factor"][row]
                for row, (h, new) in enumerate(zip(hessian, moved, strict=True))
            ]
        )

    def _solve(self, state: State, factor: Floats) -> descent.Solve:
        if self.model.moments is None:
            return partial(descent.solved, factor)
        return partial(solved_low, self.model.moments, factor, float(state["rest"][0]))

    def _aimed(self, state: State) -> State:
        """The state with the next points to try; on to the next C where every problem is done with this one."""
        aimed = state | self._trials(state)
        if not aimed["done"].all() or aimed["candidate"] + 1 == len(self.config.candidates):
            return aimed | {"settled": np.array(aimed["done"].all()), "reached": aimed["candidate"]}
        strength, following = self._strength(aimed), aimed | {"candidate": aimed["candidate"] + 1}
        weaker = weakened(following, self._strength(following) / strength)
        return weaker | self._trials(weaker) | {"settled": np.array(True), "reached": aimed["candidate"]}

    def _trials(self, state: State) -> State:
        """Each problem's next trials; where it is, for those that can gain no more than the tolerance."""
        direction, finished = np.zeros_like(state["point"]), state["done"].copy()
        factors = state.get("factor")
        for row in np.flatnonzero(~finished):
            solve = None if factors is None else self._solve(state, factors[row % len(factors)])
            way = descent.aim(state["gradient"][row], state["moves"][row], state["changes"][row], solve)
            # On a quadratic the whole step gains half of the slope along it: an estimate of all that is left to gain.
            gain = -0.5 * dot(way, state["gradient"][row])
            finished[row] = PESSIMISM * gain <= self.config.tolerance * state["objective"][row]
            direction[row] = 0.0 if finished[row] else way
        begins = ~state["moves"].any(axis=(1, 2)) if factors is None else np.False_
        lengths = np.where(begins, np.array(FIRST_STEPS)[:, None], np.array(STEPS)[:, None]) * state["scale"]
        return {"trials": state["point"] + lengths[:, :, None] * direction, "done": finished}

    def _weights(self, points: Floats) -> Tensors:
        """Of a request, from float64[..., problems, size]."""
        rows = points.reshape(*points.shape[:-2], self.model.rows, self._dimension)
        return prefixed("weights", {"alpha": rows[..., :-1].copy(), "intercept": rows[..., -1].copy()})

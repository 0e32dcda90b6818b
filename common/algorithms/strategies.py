"""The strategies of federated averaging: where the server goes, given the mean of what the sites moved.

    fedavg    McMahan et al., AISTATS 2017: along the example-weighted mean.
    fedprox   Li et al., MLSys 2020: the same; the sites add a proximal term.
    scaffold  Karimireddy et al., ICML 2020 (option II): the same; control variates correct the sites' drift.
    fedavgm   Hsu et al., 2019: momentum on the mean difference.
    fedadam, fedyogi  Reddi et al., ICLR 2021: adaptive steps on the mean difference.

`STRATEGIES` is the registry; a plug-in's strategy is an object of the same class `Strategy` (docs/extending.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import Federation
from common.errors import PluginError
from common.plugins import Part, load_part, run_part
from common.types import Tensors

BETA_1, BETA_2, TAU = 0.9, 0.99, 1e-3  # Reddi et al., section 5

Memory = dict[str, Tensors]
"""What a strategy keeps from round to round: by name, arrays of the weights' names and shapes."""
Step = Callable[[Federation, Tensors, Memory], tuple[Tensors, Memory]]
"""From the settings, the mean difference and the memory: the direction to go, and what has changed of the memory."""


@dataclass(frozen=True)
class Strategy:
    """One way to use the mean difference."""

    step: Step
    memory: tuple[str, ...] = ()
    """Names of what it keeps; all zero before the first round."""
    rate: float = 1.0
    """The server's learning rate, where `federation.server_learning_rate` is not set."""


def _mean(settings: Federation, mean: Tensors, memory: Memory) -> tuple[Tensors, Memory]:
    return mean, {}


def _momentum(settings: Federation, mean: Tensors, memory: Memory) -> tuple[Tensors, Memory]:
    velocity = {n: settings.server_momentum * v + 1.0 * mean[n] for n, v in memory["velocity"].items()}
    return velocity, {"velocity": velocity}


def _adaptive(squared: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]) -> Step:
    """Momentum divided by the root of a running second moment; `squared` takes that moment and the new square."""

    def step(settings: Federation, mean: Tensors, memory: Memory) -> tuple[Tensors, Memory]:
        velocity = {n: BETA_1 * v + (1 - BETA_1) * mean[n] for n, v in memory["velocity"].items()}
        square = {n: squared(v, mean[n] ** 2) for n, v in memory["square"].items()}
        direction = {n: v / (np.sqrt(square[n]) + TAU) for n, v in velocity.items()}
        return direction, {"velocity": velocity, "square": square}

    return step


def _adam(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    moment: NDArray[Any] = BETA_2 * old + (1 - BETA_2) * new
    return moment


def _yogi(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    moment: NDArray[Any] = old - (1 - BETA_2) * new * np.sign(old - new)
    return moment


STRATEGIES: dict[str, Strategy] = {
    "fedavg": Strategy(_mean),
    "fedprox": Strategy(_mean),
    "scaffold": Strategy(_mean, memory=("control",)),  # the sites' changes of it are summed beside the weights
    "fedavgm": Strategy(_momentum, memory=("velocity",)),
    "fedadam": Strategy(_adaptive(_adam), memory=("velocity", "square"), rate=0.01),
    "fedyogi": Strategy(_adaptive(_yogi), memory=("velocity", "square"), rate=0.01),
}


def strategy_of(settings: Federation) -> Strategy:
    """The strategy that a configuration names, built in or a plug-in's.

    Raises:
        PluginError: the plug-in is not here, or offers no `Strategy`.
    """
    if settings.part is None:
        return STRATEGIES[settings.strategy]
    strategy = load_part("strategies", settings.part)
    if not isinstance(strategy, Strategy) or STATE & set(strategy.memory):
        raise PluginError(
            "plugin-fails", f"{settings.part}: expected a Strategy of common.algorithms.strategies, its memory under "
            f"other names than {', '.join(sorted(STATE))}; got {strategy!r}.",
        )  # fmt: skip
    return replace(strategy, step=_guarded(settings.part, strategy))


STATE = {"weights", "moments", "control", "delta", "weight"}
"""Names that a round's state and sums have already."""


def _guarded(part: Part, strategy: Strategy) -> Step:
    """A plug-in's step, whose answer has just the arrays that it should."""

    def step(settings: Federation, mean: Tensors, memory: Memory) -> tuple[Tensors, Memory]:
        answer = run_part(part, strategy.step, settings, mean, memory)
        try:
            direction, changes = answer
            fits = set(changes) <= set(strategy.memory)
            fits &= all(_shapes(arrays) == _shapes(mean) for arrays in (direction, *changes.values()))
        except (TypeError, ValueError, AttributeError):
            fits = False
        if not fits:
            raise PluginError(
                "plugin-fails", f"{part}: expected a direction, and arrays of its memory "
                f"({', '.join(strategy.memory)}), of the weights' names and shapes, all finite.",
            )  # fmt: skip
        return direction, changes

    return step


def _shapes(arrays: Tensors) -> dict[str, tuple[int, ...]]:
    """Shapes by name; of an array that is not finite, none that fits."""
    return {n: np.shape(a) if np.isfinite(a).all() else (-1,) for n, a in arrays.items()}

"""A strategy: a pure function of the mean difference and of what it keeps, which sees sums alone."""

import numpy as np
import pytest

from common.algorithms.strategies import Strategy
from common.config import Federation
from common.types import Tensors

SHAPES = {"kernel": (3, 2), "bias": (2,)}


def arrays(seed: int | None) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {n: random.normal(size=s).astype(np.float32) if seed else np.zeros(s, np.float32) for n, s in SHAPES.items()}


def fits(tensors: Tensors) -> bool:
    return {n: a.shape for n, a in tensors.items()} == SHAPES and all(np.isfinite(a).all() for a in tensors.values())


@pytest.mark.parametrize("seed", [None, 1])
def test_a_step_is_of_the_weights_shapes_finite_and_the_same_again(strategy: Strategy, seed: int | None) -> None:
    memory = {name: arrays(None) for name in strategy.memory}
    mean = arrays(seed)
    for _ in range(3):
        before = {n: a.copy() for n, a in mean.items()}
        direction, changes = strategy.step(Federation(), mean, memory)
        again, _ = strategy.step(Federation(), mean, memory)
        assert fits(direction)
        assert all(np.array_equal(direction[n], again[n]) for n in SHAPES)
        assert all(np.array_equal(mean[n], before[n]) for n in SHAPES)
        assert set(changes) <= set(strategy.memory)
        assert all(fits(tensors) for tensors in changes.values())
        memory |= changes


def test_its_rate_is_a_positive_number(strategy: Strategy) -> None:
    assert strategy.rate > 0

"""A strategy."""

import numpy as np

from common.algorithms.strategies import Memory, Strategy
from common.config import Federation
from common.types import Tensors


def _adagrad(settings: Federation, mean: Tensors, memory: Memory) -> tuple[Tensors, Memory]:
    """Reddi et al., ICLR 2021, algorithm 2 without momentum: steps shrink as the squares add up."""
    square = {n: v + mean[n] ** 2 for n, v in memory["square"].items()}
    return {n: mean[n] / (np.sqrt(square[n]) + 1e-3) for n in mean}, {"square": square}


ADAGRAD = Strategy(_adagrad, memory=("square",), rate=0.01)

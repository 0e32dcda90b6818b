"""What the SVM looks at: the pixels in a row, or random Fourier features of them.

Random Fourier features: Rahimi and Recht, NIPS 2007; cosine and sine of one frequency are taken together, the better
of that paper's two embeddings (Sutherland and Schneider, UAI 2015).
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError

Floats = NDArray[np.float64]

_LARGEST_DRAW = 2**28  # frequencies, float32: 1 GB


class Features(Protocol):
    """φ, and how a linear function of it changes."""

    @property
    def dimension(self) -> int:
        """How many numbers an image becomes."""
        ...

    def __call__(self, flat: NDArray[np.float32], /) -> NDArray[Any]:
        """float32[n, inputs] to float32 or float64[n, dimension]."""
        ...

    def gradient(self, flat: NDArray[np.float32], alpha: Floats) -> Floats:
        """Of α·φ(x) by x, at every x: float64[n, inputs]."""
        ...


@dataclass(frozen=True)
class Identity:
    """φ(x) = x, the pixels in a row."""

    dimension: int

    def __call__(self, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, inputs] to float32[n, dimension]."""
        return flat

    def gradient(self, flat: NDArray[np.float32], alpha: Floats) -> Floats:
        """Of α·φ(x) by x, at every x: float64[n, inputs]."""
        return np.broadcast_to(alpha, flat.shape)


class Fourier:
    """φ(x)·φ(y) ≈ exp(-gamma |x - y|²), from frequencies that a seed draws.

    The frequencies are `Generator(PCG64(seed)).standard_normal((inputs, ⌈dimension / 2⌉), float32)` · √(2 gamma): the
    same numbers at every site that has the same release of this program, whose lock pins NumPy.
    """

    def __init__(self, inputs: int, dimension: int, gamma: float, seed: int) -> None:
        half = (dimension + 1) // 2
        if inputs * half > _LARGEST_DRAW:
            raise ConfigError(
                f"model.dimension: {dimension} Fourier features of {inputs} inputs take {inputs * half * 4 / 1e9:.1f} "
                f"GB, expected at most {_LARGEST_DRAW * 4 / 1e9:.1f}. Shrink the images with a resize step in "
                "`preprocess`, or lower model.dimension."
            )
        self.dimension = dimension
        draws = np.random.Generator(np.random.PCG64(seed)).standard_normal((inputs, half), dtype=np.float32)
        self.frequencies = draws * np.float32(np.sqrt(2 * gamma))

    def __call__(self, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, inputs] to float32[n, dimension]: cosines, then sines."""
        angles = flat @ self.frequencies
        both = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)[:, : self.dimension]
        return both * np.float32(np.sqrt(2 / self.dimension))

    def gradient(self, flat: NDArray[np.float32], alpha: Floats) -> Floats:
        """Of α·φ(x) by x, at every x: float64[n, inputs]."""
        half = self.frequencies.shape[1]
        angles = (flat @ self.frequencies).astype(np.float64)
        by_angle = -alpha[:half] * np.sin(angles)
        by_angle[:, : self.dimension - half] += alpha[half:] * np.cos(angles[:, : self.dimension - half])
        result: Floats = by_angle @ self.frequencies.T * np.sqrt(2 / self.dimension)
        return result

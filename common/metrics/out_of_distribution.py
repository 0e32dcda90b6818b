"""Whether an image is like those that a model was trained on: a few characteristics of each, and their spread in sums.

    statistics   Σt and Σttᵀ over the training images of all sites       before training
    evaluate     a histogram of the validation images' distances         with every evaluation

An image's distance is Mahalanobis's (1936) from the training images' mean, divided by the root of the number of
characteristics. How far is too far is read off the validation images: beyond it lie one in a hundred of them.
It tells another part of the body, another kind of image, an inverted or empty one; not everything that matters.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from common.image_stack import batches, slices, together
from common.imaging import geometry
from common.types import Images, Tensors

GRID = 4
TRAITS = GRID * GRID + 10
PRODUCTS = TRAITS * (TRAITS + 1) // 2
BINS = 256
LOWEST, OCTAVES = 2.0**-3, 8.0
"""Of the distances in the histogram: 1/8 to 32, in logarithmic steps; what lies beyond falls into the outermost."""
BEYOND = 0.01
"""Share of the validation images that may lie beyond the limit."""
RIDGE = 1e-5
"""Added to every variance: of what is the same in all training images a difference of 0.003 is one deviation."""
TOGETHER_PIXELS = 1 << 18
DIRECTIONS = 1
"""Draws the directions that an encoder's numbers are summed along."""

Floats = NDArray[np.float64]


def traits(images: Images) -> Floats:
    """Characteristics of every image, each within -1 and 1: float32[n, h, w, c] -> float64[n, TRAITS].

    Coarse layout (a grid of 4 × 4), mean and deviation, skewness and kurtosis, edges along both axes at two scales, and
    shares of the darkest and the brightest value. Of an encoder's numbers, which have no layout, sums along TRAITS
    directions, the same everywhere (a random projection: Johnson and Lindenstrauss, 1984).
    """
    numbers = int(np.prod(images.shape[1:]))
    if images.shape[1:3] == (1, 1):
        stacks = batches(images, slices(len(images), together(images)))
        parts = [_squashed(stack[:, 0, 0].astype(np.float64) @ _directions(numbers)) for stack in stacks]
    else:
        stacks = batches(images, slices(len(images), max(1, TOGETHER_PIXELS // numbers)))
        parts = [_traits(geometry.intensity(stack)) for stack in stacks]
    return np.concatenate(parts) if parts else np.zeros((0, TRAITS))


def sums(images: Images) -> dict[str, Floats]:
    """What a site adds: `n` [1], `sum` [TRAITS] and `products` [PRODUCTS], the upper triangle row by row."""
    values = traits(images)
    return {
        "n": np.array([float(len(values))]),
        "sum": values.sum(axis=0),
        "products": (values.T @ values)[np.triu_indices(TRAITS)],
    }


def of_nobody() -> dict[str, Floats]:
    """The sums over no image: where the sites did not answer, a run goes on without."""
    return {"n": np.zeros(1), "sum": np.zeros(TRAITS), "products": np.zeros(PRODUCTS)}


def possible(sums_of_traits: Tensors) -> bool:
    """Whether these can be sums over images: of each characteristic lies within -1 and 1 what is added for an image."""
    shapes = {name: array.shape for name, array in of_nobody().items()}
    if {name: array.shape for name, array in sums_of_traits.items() if name in shapes} != shapes:
        return False
    most = 1.01 * float(sums_of_traits["n"][0]) + 1  # they were rounded to be masked
    return most > 2 and all(bool((np.abs(sums_of_traits[name]) <= most).all()) for name in shapes)


def histogram(distances: Floats) -> Floats:
    """Distances counted: float64[BINS]."""
    with np.errstate(divide="ignore"):
        place = np.log2(np.maximum(distances, 1e-9) / LOWEST) * BINS / OCTAVES
    return np.bincount(np.clip(place, 0, BINS - 1).astype(np.int64), minlength=BINS).astype(np.float64)


def limit(counts: Floats) -> tuple[float, float]:
    """The distance beyond which BEYOND of the counted images lie, or fewer; and the share of them that does."""
    edges = LOWEST * 2 ** (np.arange(1, BINS + 1) * OCTAVES / BINS)
    beyond = counts.sum() - np.cumsum(counts)
    first = int(np.argmax(beyond <= BEYOND * counts.sum()))
    return float(edges[first]), float(beyond[first] / max(counts.sum(), 1.0))


@dataclass(frozen=True)
class Reference:
    """The training images, as far as distances from them need."""

    mean: Floats
    root: Floats
    """float64[TRAITS, TRAITS]: turns a difference from the mean into a vector whose length is the distance."""

    @classmethod
    def of(cls, sums_of_traits: Tensors) -> Self | None:
        """From sums over all sites; None where they are over no image."""
        n = float(sums_of_traits["n"][0])
        if n < 1:
            return None
        mean, second = sums_of_traits["sum"] / n, np.zeros((TRAITS, TRAITS))
        second[np.triu_indices(TRAITS)] = sums_of_traits["products"] / n
        second = np.triu(second) + np.triu(second, 1).T
        covariance = second - np.outer(mean, mean)
        variances = np.diag(np.maximum(np.diag(covariance), 0.0))
        trust = n / (n + TRAITS)  # of few images, how the characteristics go together is hardly known
        shrunk = trust * covariance + (1 - trust) * variances + RIDGE * np.eye(TRAITS)
        return cls(mean, _root(shrunk.tobytes()))

    def distances(self, images: Images) -> Floats:
        """Of every image, float64[n]; about 1 for one like the training's."""
        distances: Floats = np.sqrt(np.square((traits(images) - self.mean) @ self.root).sum(axis=1))
        return distances


@lru_cache(maxsize=4)
def _root(covariance: bytes) -> Floats:
    """Of float64[TRAITS, TRAITS]; once a process, for all sites of a simulation ask the same."""
    values, vectors = np.linalg.eigh(np.frombuffer(covariance).reshape(TRAITS, TRAITS))
    root: Floats = vectors / np.sqrt(np.maximum(values, RIDGE) * TRAITS)
    return root


def _traits(grey: NDArray[np.float32]) -> Floats:
    """The traits of images float32[n, h, w], one row an image."""
    n, h, w = grey.shape
    mean = grey.mean(axis=(1, 2), dtype=np.float64)
    centred = grey - mean[:, None, None].astype(np.float32)
    deviation = np.sqrt(np.square(centred).mean(axis=(1, 2), dtype=np.float64))
    z = centred / np.maximum(deviation, 1e-3)[:, None, None].astype(np.float32)
    square = z * z
    low, high = grey.min(axis=(1, 2), keepdims=True), grey.max(axis=(1, 2), keepdims=True)
    coarse = geometry.resize(z[..., None], max(2, h // 4), max(2, w // 4))[..., 0]
    columns = [
        mean,
        np.log(np.maximum(deviation, 1e-3)) / 2,
        (square * z).mean(axis=(1, 2), dtype=np.float64) / 2,
        np.square(square).mean(axis=(1, 2), dtype=np.float64) / 4 - 1,
        *(4 * _steps(image, axis) for image in (z, coarse / 2) for axis in (1, 2)),
        (grey == low).mean(axis=(1, 2)),
        (grey == high).mean(axis=(1, 2)),
    ]
    grid = geometry.resize(z[..., None], GRID, GRID).reshape(n, -1).astype(np.float64)
    all_of_them = np.concatenate([grid, np.stack(columns, axis=1)], axis=1)
    return _squashed(all_of_them)


def _squashed(values: Floats) -> Floats:
    return np.asarray(values / (1 + np.abs(values)))


@lru_cache(maxsize=4)
def _directions(inputs: int) -> Floats:
    draw = np.random.Generator(np.random.PCG64(DIRECTIONS)).standard_normal((inputs, TRAITS))
    return np.asarray(draw / np.sqrt(inputs))


def _steps(image: NDArray[Any], axis: int) -> Floats:
    """Mean of the differences between neighbours."""
    mean_steps: Floats = np.abs(np.diff(image, axis=axis)).mean(axis=(1, 2), dtype=np.float64)
    return mean_steps

"""The few types that travel through the whole program."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Stack = NDArray[np.float32]
"""Images of one shape: float32[n, h, w, c]."""

Labels = NDArray[np.int64]
"""Class indices, int64[n]; or of several findings an image, int64[n, findings]: 1, 0, or UNKNOWN."""

UNKNOWN = -1
"""Of a finding that nobody has looked for in an image: it is left out of every sum."""

Places = NDArray[np.int64]
"""Which ones of several: int64[n]."""

Tensors = Mapping[str, NDArray[Any]]
"""Named arrays in a fixed order: weights, optimiser states, sums."""


class Images(Protocol):
    """Images of one shape, taken a batch at a time: a `Stack`, or `common.image_stack.StoredImages`."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, h, w, c)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, which: Any, /) -> Stack:
        """Those of a slice or of places int64[k]: float32[k, h, w, c]."""
        ...


@dataclass(frozen=True)
class Cases:
    """Images with their labels, in one order: float32[n, h, w, c], and int64[n] or int64[n, findings]."""

    images: Images
    labels: Labels
    people: NDArray[np.int64] | None = None
    """Whom each shows, as numbers of these cases' own, int64[n]; None where each counts by itself. Of test cases
    it is always said, so that intervals go by patients."""

    def shares(self) -> NDArray[np.float64]:
        """What each case weighs where every person weighs 1 in all, float64[n]."""
        if self.people is None:
            return np.ones(len(self))
        _, person, images = np.unique(self.people, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / images[person])

    def __post_init__(self) -> None:
        if len(self.images.shape) != 4 or len(self.images) != len(self.labels):
            raise ValueError(f"images {self.images.shape} and labels {self.labels.shape} do not belong together")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class SiteCases:
    """One site's cases. No patient is in two of the three."""

    name: str
    train: Cases
    validation: Cases
    test: Cases
    warnings: tuple[str, ...] = ()
    """What is to be doubted of them, for the site alone: it may name files and patients."""


def cases_by_class(labels: Labels, classes: int) -> NDArray[np.int64]:
    """How many cases are of each class, int64[classes]; of several findings, how many have each, of those known."""
    if labels.ndim == 2:
        return np.asarray((labels == 1).sum(axis=0), np.int64)
    return np.bincount(labels, minlength=classes).astype(np.int64)


def prefixed(prefix: str, tensors: Tensors) -> dict[str, NDArray[Any]]:
    """`{"a": x}` as `{"prefix/a": x}`: several groups of arrays in one message."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def under(prefix: str, tensors: Tensors) -> dict[str, NDArray[Any]]:
    """The group of arrays that `prefixed` put under a prefix; empty if there is none."""
    start = prefix + "/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def nbytes(tensors: Tensors) -> int:
    """Bytes of all the arrays together."""
    return sum(np.asarray(value).nbytes for value in tensors.values())

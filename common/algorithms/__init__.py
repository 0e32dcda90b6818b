"""What the round loop drives: an algorithm as pure functions on plain arrays.

One question is `ask -> exchange -> sum -> tell`; a round has one or two. A `State` holds everything that a resume
needs, so a checkpoint is just its arrays, and an algorithm object keeps nothing between calls that it could not work
out again from the state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from common.messages.transport import Request
from common.types import Tensors

WorkQuestion = Literal["train", "slope"]
"""The questions of a round in which sites work on their training cases: `slope` is that for a gradient."""
State = dict[str, NDArray[Any]]
"""Named arrays (numbers as arrays of shape ()); never changed in place."""


@dataclass(frozen=True)
class RoundTotal:
    """What came back in one round, already summed."""

    sums: Tensors
    """The sites' vectors, added up name by name over `sites`; empty where there is no sum."""
    sites: tuple[str, ...]
    """Names of the sites that contributed (or, without a sum, that would have), sorted."""
    dropouts: tuple[str, ...]
    """Names of the sites that were asked and did neither contribute nor refuse, sorted."""
    bytes_up: int = 0
    """Of arrays, from all sites together."""
    bytes_down: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)
    """By site that was asked and refused, its code of `common.refusals`."""


class Algorithm(Protocol):
    """One way to train a model by rounds of summed replies."""

    @property
    def chooses(self) -> bool:
        """The run tries one setting after the other, and the validation figure says which model is kept."""
        ...

    @property
    def cohort_must_be_whole(self) -> bool:
        """Sums over a part of the sites are of no use: the loop asks every site each round, with no sampling."""
        ...

    @property
    def asks_once(self) -> bool:
        """Every answer is paid for: what was not answered is not asked again, and the model is evaluated at the end."""
        ...

    def start(self) -> State:
        """The state before the first round."""
        ...

    def asks(self, state: State) -> WorkQuestion:
        """Which of a round's two questions comes next; `slope` after a `train` is of the same round."""
        ...

    def ask(self, state: State, round: int) -> Request:
        """What is asked next of every site of the cohort."""
        ...

    def tell(self, state: State, total: RoundTotal) -> State:
        """The state after a question; `state` itself stays as it was."""
        ...

    def carry(self, state: State, sums: Tensors, seed: int) -> State:
        """The state at the beginning of a run that goes on from an earlier one's sums.

        Args:
            state: of `start`.
            sums: the earlier run's second moments, and what a case of each class counts; empty where there are none.
            seed: draws where it begins.
        """
        ...

    def begin_at(self, state: State, weights: Tensors) -> State:
        """The state of `start`, with these weights for fresh ones."""
        ...

    def weights(self, state: State) -> Tensors:
        """The model to evaluate now."""
        ...

    def settled(self, state: State) -> bool:
        """The model is one to choose from; of an algorithm that tries no settings, every one is."""
        ...

    def finished(self, state: State) -> bool:
        """Nothing is left to gain: further rounds would change nothing."""
        ...

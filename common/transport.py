"""How requests reach sites and replies come back: one method, so that everything above it can be tested.

A request goes to every site of a cohort; what comes back from each is a vector whose only use is to be added to the
others'. Silence is not an error here: a site that does not answer in time is missing from the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from common.types import Tensors


@dataclass(frozen=True)
class Request:
    """What the coordinator asks of a site."""

    kind: str
    """One of the site's handlers: statistics, prepare, train, evaluate, gram, gradient …"""
    round: int
    tensors: Tensors = field(default_factory=dict)
    """Weights and other arrays."""
    settings: Mapping[str, float | int | str] = field(default_factory=dict)
    """Scalars."""


@dataclass(frozen=True)
class Reply:
    """What a site answers: named vectors, meant to be summed over the sites and never to be looked at alone."""

    sums: Tensors


class Transport(Protocol):
    """The way to the sites."""

    def sites(self) -> tuple[str, ...]:
        """Names of the sites that take part, sorted."""
        ...

    def exchange(self, request: Request, cohort: Sequence[str], timeout_s: float) -> dict[str, Reply]:
        """Send one request to each site of the cohort; the replies that came in time, by site."""
        ...

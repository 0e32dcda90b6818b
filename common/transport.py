"""How requests reach sites and replies come back: one method, so that everything above it can be tested.

A request goes to every site of a cohort; what comes back from each is a vector whose only use is to be added to the
others'. Silence is not an error here: a site that does not answer in time is missing from the result.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

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


Answer = Callable[[Request, Tensors], tuple[Reply, Tensors]]
"""A site: a request and the site's state in, a reply and its next state out."""


class InMemory:
    """All sites in this process, for simulation and tests.

    Args:
        answers: the sites.
        workers: how many sites work at the same time, in threads. Sites share nothing, so the bits are the same.
        drop: probability that a site is away for a round.
        slow: probability that a site does its work but answers after the time-out.
        seed: decides who; the same seed, the same misfortunes.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer],
        *,
        workers: int = 1,
        drop: float = 0.0,
        slow: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._answers = dict(sorted(answers.items()))
        self._workers, self._drop, self._slow, self._seed = workers, drop, slow, seed
        self.states: dict[str, Tensors] = {name: {} for name in self._answers}
        """What each site keeps from round to round."""

    def sites(self) -> tuple[str, ...]:
        """Names of all sites, sorted."""
        return tuple(self._answers)

    def exchange(self, request: Request, cohort: Sequence[str], timeout_s: float) -> dict[str, Reply]:
        """Ask each site of the cohort; a site that is away or slow in this round is missing."""
        luck = {name: self._luck(request.round, name) for name in cohort}
        present = [name for name in cohort if luck[name] >= self._drop]
        with ThreadPoolExecutor(self._workers) as pool:
            answers = list(pool.map(lambda name: self._answers[name](request, self.states[name]), present))
        replies = {}
        for name, (reply, state) in zip(present, answers, strict=True):
            self.states[name] = state
            if luck[name] >= self._drop + self._slow:
                replies[name] = reply
        return replies

    def _luck(self, round: int, site: str) -> float:
        return float(np.random.default_rng([self._seed, round, zlib.crc32(site.encode())]).random())

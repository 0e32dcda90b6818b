"""How requests reach sites and replies come back: one method, so that everything above it can be tested.

A request goes to each site of a cohort; what comes back from each is a vector whose only use is to be added to the
others'. Silence is not an error here: a site that does not answer in time is missing from the result.
"""

import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from common.types import Tensors


@dataclass(frozen=True)
class Request:
    """What the coordinator asks of a site."""

    kind: str
    """One of the site's handlers: statistics, train, evaluate, gram, gradient …, or a step of secure aggregation."""
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

    states: dict[str, Tensors]
    """What simulated sites keep from round to round, for the checkpoint; empty where real sites keep their own."""

    def sites(self) -> tuple[str, ...]:
        """Names of the sites that take part, sorted."""
        ...

    def exchange(self, requests: Mapping[str, Request], timeout_s: float) -> dict[str, Reply]:
        """Send each site its request, all of one round; the replies that came in time, by site."""
        ...


Answer = Callable[[Request, Tensors], tuple[Reply, Tensors]]
"""A site: a request and the site's state in, a reply and its next state out."""


@dataclass(frozen=True)
class Misfortunes:
    """Sites that are away or late in a simulation. Seed, round and name decide: it is the same over every transport."""

    drop: float = 0.0
    """Probability that a site is away for a round."""
    slow: float = 0.0
    """Probability that a site does its work but answers after the time-out."""
    seed: int = 0

    def reach(self, requests: Mapping[str, Request]) -> dict[str, Request]:
        """The requests to those who are there."""
        return {name: r for name, r in requests.items() if self._luck(name, r.round) >= self.drop}

    def in_time(self, replies: Mapping[str, Reply], requests: Mapping[str, Request]) -> dict[str, Reply]:
        """The replies of those who are not late."""
        limit = self.drop + self.slow
        return {name: r for name, r in replies.items() if self._luck(name, requests[name].round) >= limit}

    def _luck(self, site: str, round: int) -> float:
        return float(np.random.default_rng([self.seed, round, zlib.crc32(site.encode())]).random())


NONE = Misfortunes()


class InMemory:
    """All sites in this process, for simulation and tests.

    Args:
        answers: the sites.
        workers: how many sites work at the same time, in threads. Sites share nothing, so the bits are the same.
        misfortunes: which sites are away or late.
    """

    def __init__(self, answers: Mapping[str, Answer], *, workers: int = 1, misfortunes: Misfortunes = NONE) -> None:
        self._answers = dict(sorted(answers.items()))
        self._workers, self._misfortunes = workers, misfortunes
        self.states: dict[str, Tensors] = {name: {} for name in self._answers}

    def sites(self) -> tuple[str, ...]:
        """Names of all sites, sorted."""
        return tuple(self._answers)

    def exchange(self, requests: Mapping[str, Request], timeout_s: float) -> dict[str, Reply]:
        """Ask each site what it is to be asked; a site that is away or slow in this round is missing."""
        reached = self._misfortunes.reach(requests)
        with ThreadPoolExecutor(self._workers) as pool:
            answers = list(pool.map(lambda name: self._answers[name](reached[name], self.states[name]), reached))
        self.states.update({name: state for name, (_, state) in zip(reached, answers, strict=True)})
        replies = {name: reply for name, (reply, _) in zip(reached, answers, strict=True)}
        return self._misfortunes.in_time(replies, requests)

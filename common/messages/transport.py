"""How requests reach sites and replies come back: one method, so that everything above it can be tested.

A request goes to each site of a cohort; what comes back from each is a vector whose only use is to be added to the
others', or the code of why the site refuses. Silence is not an error here: a site that does not answer in time is
missing from the result.
"""

import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import numpy as np

from common.errors import ConsiliumError
from common.refusals import code_of
from common.types import Tensors

log = logging.getLogger("consilium")


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


@dataclass(frozen=True)
class Refusal:
    """That a site answers nothing, and why."""

    code: str
    """Of the public list, `common.refusals`: nothing else of an error leaves a site."""


Outcome = Reply | Refusal


class Transport(Protocol):
    """How questions reach the sites and their answers come back."""

    states: dict[str, Tensors]
    """What simulated sites keep from round to round, for the checkpoint; empty where real sites keep their own."""

    def sites(self) -> tuple[str, ...]:
        """Names of the sites that take part, sorted."""
        ...

    def exchange(self, requests: Mapping[str, Request], timeout_s: float) -> Iterator[tuple[str, Outcome]]:
        """Send each site its request, all of one round, once the first reply is asked for.

        Yields:
            Site and reply, or that it refused, as they come, in any order, each handed over and not kept; those that
            came in time.
        """
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

    def away(self, site: str, round: int) -> bool:
        """Whether the site is not there in this round."""
        return self._befalls(site, round, self.drop)

    def silent(self, site: str, round: int) -> bool:
        """Whether nothing is heard of the site in this round: it is away, or late."""
        return self._befalls(site, round, self.drop + self.slow)

    def _befalls(self, site: str, round: int, share: float) -> bool:
        if not share:  # a generator for each message costs more than the message
            return False
        return bool(np.random.default_rng([self.seed, round, zlib.crc32(site.encode())]).random() < share)


NONE = Misfortunes()


class InMemory:
    """All sites in this process, for simulation and tests. A refusal is logged here, since it is the site's log too.

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

    def exchange(self, requests: Mapping[str, Request], timeout_s: float) -> Iterator[tuple[str, Outcome]]:
        """Ask each site what it is to be asked, only as many at a time as there are workers."""
        remaining = iter([(name, r) for name, r in requests.items() if not self._misfortunes.away(name, r.round)])
        with ThreadPoolExecutor(self._workers) as pool:
            running: dict[Future[tuple[Reply, Tensors]], tuple[str, Request]] = {}
            while True:
                for name, request in islice(remaining, self._workers - len(running)):
                    running[pool.submit(self._answers[name], request, self.states[name])] = name, request
                if not running:
                    return
                future = wait(running, return_when=FIRST_COMPLETED).done.pop()
                name, request = running.pop(future)
                outcome: Outcome
                try:
                    outcome, self.states[name] = future.result()
                except ConsiliumError as error:
                    log.warning("site %s refuses %s of round %d: %s", name, request.kind, request.round, error)
                    outcome = Refusal(code_of(error))
                del future  # it holds the reply
                if not self._misfortunes.silent(name, request.round):
                    yield name, outcome

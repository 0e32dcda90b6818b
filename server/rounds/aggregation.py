"""From requests to a sum: the one place where what single sites send is seen.

PlainSum                adds replies in the clear: one member in its own process, or a simulation to compare with
secure_sum.SecureSum    sees masked vectors alone, and unmasks only their sum
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from common.algorithms import RoundTotal
from common.messages.transport import Refusal, Reply, Request, Transport
from common.types import nbytes


class Aggregator(Protocol):
    """Asks sites, and hands out nothing but the sum over those that answered."""

    @property
    def transport(self) -> Transport:
        """The way to the sites."""
        ...

    def total(self, request: Request, cohort: Sequence[str], timeout_s: float) -> RoundTotal:
        """Ask every site of the cohort and add up what they contribute; silence is a dropout, a refusal is named."""
        ...

    def finish(self, timeout_s: float) -> None:
        """Nothing more is asked."""
        ...


@dataclass(frozen=True)
class PlainSum:
    """Adds the replies in the clear, once all have come."""

    transport: Transport

    def total(self, request: Request, cohort: Sequence[str], timeout_s: float) -> RoundTotal:
        """As `Aggregator.total`."""
        replies, codes = dict[str, Reply](), dict[str, str]()
        for site, outcome in self.transport.exchange(dict.fromkeys(cohort, request), timeout_s):
            if isinstance(outcome, Refusal):
                codes[site] = outcome.code
            else:
                replies[site] = outcome
        contributors = tuple(sorted(replies))  # floats add up to the same bits only in the same order
        sums: dict[str, np.ndarray] = {}
        for site in contributors:
            _add(sums, replies[site])
        silent = tuple(sorted(set(cohort) - set(contributors) - set(codes)))
        bytes_up = sum(nbytes(reply.sums) for reply in replies.values())
        bytes_down = nbytes(request.tensors) * len(cohort)
        return RoundTotal(sums, contributors, silent, bytes_up, bytes_down, codes)

    def finish(self, timeout_s: float) -> None:
        """As `Aggregator.finish`."""


def _add(sums: dict[str, np.ndarray], reply: Reply) -> None:
    for name, value in reply.sums.items():
        if name in sums:
            sums[name] += value
        else:
            sums[name] = value.astype(np.float64)

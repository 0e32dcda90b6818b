"""The coordinator talks with the sites over one question: messages there and back, counted, none of them kept."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from common.errors import SecAggError, WireError
from common.messages.transport import Reply, Request, Transport
from common.secagg.coordinator import Machine
from common.types import Tensors, nbytes

log = logging.getLogger("consilium")

NOTHING: Tensors = {}
NONE: Mapping[str, float | int | str] = {}


def forget(message: memoryview) -> None:
    """Keeps nothing."""


@dataclass
class QuestionExchange:
    """One question's messages to and from the sites, counted."""

    transport: Transport
    round: int
    timeout_s: float
    bytes_up: int = 0
    bytes_down: int = 0
    heard: set[str] = field(default_factory=set)
    """Sites that said anything of use."""
    silent: set[str] = field(default_factory=set)
    """Sites that did not answer, or not with a message that can be used."""
    counted: set[str] = field(default_factory=set)
    """Sites that answered the last step, in the end those in the sum."""

    def ask(self, requests: Mapping[str, Request]) -> Iterator[tuple[str, memoryview]]:
        """Send requests; site and message, as they come in time."""
        if not requests:
            return
        self.bytes_down += sum(nbytes(r.tensors) for r in requests.values())
        for site, reply in self.transport.exchange(requests, self.timeout_s):
            self.bytes_up += nbytes(reply.sums)
            if message := _message(site, reply):
                self.heard.add(site)
                yield site, message

    def step(
        self,
        machine: Machine,
        kind: str,
        tensors: Tensors = NOTHING,
        settings: Mapping[str, float | int | str] = NONE,
        keep: Callable[[memoryview], None] = forget,
    ) -> None:
        """Take a machine through one of its stages; `keep` is handed every message that it took.

        Raises:
            QuorumError: if they are too few.
        """
        contents = machine.requests()
        shared = {  # one request for all that are told the same
            content: Request(kind, self.round, {**tensors, "message": np.frombuffer(content, np.uint8)}, settings)
            for content in set(contents.values())
        }
        taken = set()
        for site, message in self.ask({site: shared[content] for site, content in contents.items()}):
            try:
                taken.add(machine.receive(message))
            except (WireError, SecAggError) as error:
                log.warning("site %s: a message that cannot be used: %s", site, error)
            else:
                keep(message)
        self.counted = taken
        self.silent |= set(contents) - taken
        machine.close()


def _message(site: str, reply: Reply) -> memoryview:
    found = reply.sums.get("message")
    if set(reply.sums) != {"message"} or found is None or found.dtype != np.uint8 or found.ndim != 1:
        log.warning("site %s: a reply that is no message of secure aggregation.", site)
        return memoryview(b"")
    return np.ascontiguousarray(found).data

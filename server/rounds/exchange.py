"""Messages of one question to the sites and back: counted, none of them kept."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from common.errors import SecAggError, WireError
from common.messages.answer_layout import PAGE
from common.messages.transport import Refusal, Reply, Request, Transport
from common.refusals import worse
from common.secagg.coordinator import CoordinatorMachine
from common.types import Tensors, nbytes

log = logging.getLogger("consilium")

NO_TENSORS: Tensors = {}
NO_SETTINGS: Mapping[str, float | int | str] = {}


@dataclass(frozen=True)
class Page:
    """A transcript that goes with the next question, to the sites that have seen all before it."""

    number: int
    """Of the question that it is of."""
    content: bytes = field(repr=False)
    sites: frozenset[str]

    def beside(self, request: Request) -> Request:
        """The request with it."""
        page = {PAGE: np.frombuffer(self.content, np.uint8)}
        return replace(request, tensors={**request.tensors, **page}, settings={**request.settings, PAGE: self.number})


def forget(message: memoryview) -> None:
    """Keep nothing of a message."""


@dataclass
class QuestionExchange:
    """One question's messages to and from the sites, counted.

    Under secure aggregation a question takes several steps, each a request to every site that is still in it.
    """

    transport: Transport
    round: int
    timeout_s: float
    bytes_up: int = 0
    bytes_down: int = 0
    responders: set[str] = field(default_factory=set)
    """Sites that said anything of use."""
    missing: set[str] = field(default_factory=set)
    """Sites that took no part in a step: silent, or their message could not be used, or they refused."""
    refusals: dict[str, str] = field(default_factory=dict)
    """By site, the code by which it refused a step."""
    contributors: set[str] = field(default_factory=set)
    """Sites that answered the last step, in the end those in the sum."""

    def ask(self, requests: Mapping[str, Request]) -> Iterator[tuple[str, memoryview]]:
        """Send requests; site and message, as they come in time."""
        if not requests:
            return
        self.bytes_down += sum(nbytes(r.tensors) for r in requests.values())
        for site, reply in self.transport.exchange(requests, self.timeout_s):
            if isinstance(reply, Refusal):
                self.refusals[site] = worse(self.refusals.get(site, reply.code), reply.code)
                continue
            self.bytes_up += nbytes(reply.sums)
            if message := _message(site, reply):
                self.responders.add(site)
                yield site, message

    def step(
        self,
        machine: CoordinatorMachine,
        kind: str,
        tensors: Tensors = NO_TENSORS,
        settings: Mapping[str, float | int | str] = NO_SETTINGS,
        keep: Callable[[memoryview], None] = forget,
        page: Page | None = None,
    ) -> None:
        """Take a machine of `common.secagg` through one of its stages; `keep` is handed every message that it took.

        Raises:
            QuorumError: if they are too few.
        """
        contents = machine.requests()
        requests = {  # one request for all that are told the same, so that it is encoded once
            content: Request(kind, self.round, {**tensors, "message": np.frombuffer(content, np.uint8)}, settings)
            for content in set(contents.values())
        }
        with_page = {content: page.beside(request) for content, request in requests.items()} if page else requests
        receivers = page.sites if page else frozenset()
        senders = set()
        for site, message in self.ask(
            {site: (with_page if site in receivers else requests)[content] for site, content in contents.items()}
        ):
            try:
                senders.add(machine.receive(message))
            except (WireError, SecAggError) as error:  # nothing has changed in the machine: the site has dropped out
                log.warning("site %s: a message that cannot be used: %s", site, error)
            else:
                keep(message)
        self.contributors = senders
        self.missing |= set(contents) - senders
        machine.close()


def _message(site: str, reply: Reply) -> memoryview:
    content = reply.sums.get("message")
    if set(reply.sums) != {"message"} or content is None or content.dtype != np.uint8 or content.ndim != 1:
        log.warning("site %s: a reply that is no message of secure aggregation.", site)
        return memoryview(b"")
    return np.ascontiguousarray(content).data

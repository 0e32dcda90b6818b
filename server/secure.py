"""The sum of masked vectors: the coordinator's side of secure aggregation, over a transport.

    epoch   present? · join · share · take     keys for `slots` questions; anew when they are used up, or when a site
                                               that was not in the epoch is back
    round   submit · agree · release           one question: masked vectors, whose they are, shares, the sum

Silence at any of these is a dropout, and so is a message that cannot be used. Where too few are left, nothing is
unmasked, and the total is empty. The coordinator holds no secret: all that it could tell is in the transcript. Nor does
it hold vectors: each is added as it comes, so its memory does not grow with the number of sites.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

from common import exchanges
from common.algorithms import Total
from common.enrolment import PURPOSE, Consortium
from common.errors import QuorumError, SecAggError, ShareError, WireError
from common.secagg import Epoch, EpochOpening, Exchange, RoundOpening, admitted, propose
from common.secagg.machine import Machine
from common.secagg.messages import Directory, Start
from common.secagg.plan import RUN_BYTES
from common.transport import Reply, Request, Transport
from common.types import Tensors, nbytes
from server.transcripts import Keep, Transcripts, forget

log = logging.getLogger("consilium")

NOTHING: Tensors = {}
NONE: Mapping[str, float | int | str] = {}


@dataclass
class SecureSum:
    """An `Aggregator` that sees no site's numbers.

    Args:
        consortium: who may take part.
        exchanges: the layouts for a cohort of so many sites, by name.
        config: 32 bytes that stand for the run's configuration.
        slots: questions that an epoch's keys are made for.
        keep: where to keep the rounds' transcripts.
    """

    transport: Transport
    consortium: Consortium
    exchanges: Callable[[int], dict[str, Exchange]]
    config: bytes
    slots: int
    keep: Transcripts | None = None
    _run: bytes = field(default_factory=lambda: os.urandom(RUN_BYTES))
    _opened: int = 0
    _epoch: Epoch | None = None
    _slot: int = 0
    _silent: frozenset[str] = frozenset()
    """Since the last round."""

    def total(self, request: Request, cohort: Sequence[str], timeout_s: float) -> Total:
        """As `Aggregator.total`; without sums where too few sites answered, or their shares did not fit."""
        talk = Talk(self.transport, request.round, timeout_s)
        try:
            epoch = self._epoch_for(tuple(sorted(cohort)), talk)
            sums = self._round(epoch, request, talk)
        except (QuorumError, ShareError) as error:
            log.warning("round %d, %s: %s", request.round, request.kind, error)
            sums = {}
        self._silent = frozenset(talk.silent | set(cohort) - talk.heard)
        dropped = tuple(sorted(set(cohort) - talk.counted))
        return Total(sums, tuple(sorted(talk.counted)), dropped, talk.bytes_up, talk.bytes_down)

    def _epoch_for(self, cohort: tuple[str, ...], talk: "Talk") -> Epoch:
        """The epoch as it is, if it serves; else a new one."""
        epoch = self._epoch
        serves = epoch and epoch.plan.cohort == cohort and self._slot < epoch.plan.rounds
        if epoch and serves and not self._strangers(epoch, talk):
            return epoch
        roster, self._epoch = admitted(self.consortium.roster, self.consortium.pins), None
        plan = propose(
            roster, run=self._run, epoch=self._opened, config=self.config, purpose=PURPOSE, cohort=cohort,
            rounds=self.slots, exchanges=self.exchanges(len(cohort)),
        )  # fmt: skip
        self._opened, self._slot, opening = self._opened + 1, 0, EpochOpening(plan, roster)
        talk.step(opening, "secagg/join", {"roster": np.frombuffer(self.consortium.roster, np.uint8)})
        talk.step(opening, "secagg/share")
        talk.step(opening, "secagg/take")
        self._epoch = opening.epoch()
        return self._epoch

    def _strangers(self, epoch: Epoch, talk: "Talk") -> bool:
        """Whether a site that is back, after a silence or a restart, is not in the epoch."""
        ready = {epoch.plan.cohort[i] for i in epoch.ready}
        doubtful = (set(epoch.plan.cohort) - ready) | self._silent
        views = list(talk.ask(dict.fromkeys(sorted(doubtful), Request("secagg/present", talk.round))))
        return any(site not in ready or view != epoch.view for site, view in views)

    def _round(self, epoch: Epoch, request: Request, talk: "Talk") -> Tensors:
        name, asked = exchanges.named(request), exchanges.question(request)
        opening = RoundOpening(epoch, self._slot, name, asked)
        self._slot += 1
        with self.keep.writing(request) if self.keep else nullcontext(forget) as keep:
            adverts = Directory(tuple(a.encode() for a in epoch.adverts.values())).encode()
            start = Start(opening.slot, name, asked).encode()
            for message in (self.consortium.roster, epoch.plan.content, adverts, start):
                keep(message)
            talk.step(opening, "secagg/submit", request.tensors, {**request.settings, "asked": request.kind}, keep)
            talk.step(opening, "secagg/agree", keep=keep)
            talk.step(opening, "secagg/release", keep=keep)
            total = opening.total()
        talk.counted = set(total.survivors)
        if total.blamed:
            log.warning("round %d, %s: wrong shares from %s", request.round, name, ", ".join(total.blamed))
        return epoch.plan.exchanges[name].layout.decode(total.words)


@dataclass
class Talk:
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
        keep: Keep = forget,
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

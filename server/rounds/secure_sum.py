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
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from common.algorithms import Total
from common.algorithms.course import Place, number
from common.config import Training
from common.errors import QuorumError, ShareError
from common.messages import answer_layout
from common.messages.answer_layout import exchanges
from common.messages.transport import Request, Transport
from common.models import Model
from common.secagg import Epoch, EpochOpening, Exchange, RoundOpening, admitted, propose
from common.secagg.audit import Account
from common.secagg.key_period_plan import RUN_BYTES
from common.secagg.messages import Directory, Start
from common.trust.enrolment import PURPOSE, Consortium
from common.types import Tensors
from server.rounds.audit_feed import Followers
from server.rounds.exchange import QuestionExchange
from server.rounds.transcripts import Page, Transcripts

log = logging.getLogger("consilium")


@dataclass
class SecureSum:
    """An `Aggregator` that sees no site's numbers.

    Args:
        consortium: who may take part.
        exchanges: the layouts for a cohort of so many sites, by name.
        config: 32 bytes that stand for the run's configuration.
        slots: questions that an epoch's keys are made for.
        keep: where the rounds' transcripts lie, for sites that audit and after a crash; none: they are not kept.
    """

    transport: Transport
    consortium: Consortium
    exchanges: Callable[[int], dict[str, Exchange]]
    config: bytes
    slots: int
    keep: Transcripts | None = None
    current: Callable[[], Consortium] | None = None
    """Gives the consortium as it is now, asked at every epoch: a site that has left is asked no more."""
    beside: Tensors = field(default_factory=dict)
    """What every site is handed when an epoch begins, beside roster and plan."""
    lost: int = -1
    """The round in which an earlier process ended: its training comes to what the transcript says, else to nothing."""
    _run: bytes = field(default_factory=lambda: os.urandom(RUN_BYTES))
    _opened: int = 0
    _epoch: Epoch | None = None
    _slot: int = 0
    _silent: frozenset[str] = frozenset()
    """Since the last round."""
    _left: frozenset[str] = frozenset()
    """Sites that were members when the run began, and are none any more; they do not come back within a run."""
    _followers: Followers | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.keep:
            self.keep.salvage(self.consortium.pins)
            self._followers = Followers(self.keep)

    def total(self, request: Request, cohort: Sequence[str], timeout_s: float, place: Place | None = None) -> Total:
        """As `Aggregator.total`; without sums where too few sites answered, or their shares did not fit."""
        talk = QuestionExchange(self.transport, request.round, timeout_s)
        sums: Tensors = {}
        try:
            if known := self._recorded(request):
                sums = self._taken_up(known, place, talk)
            elif request.round == self.lost and request.kind not in ("statistics", "evaluate"):
                raise QuorumError("the coordinator ended in this round, and no site sends its work in a round twice.")
            else:
                epoch = self._epoch_for(tuple(sorted(cohort)), talk)
                ready = {epoch.plan.cohort[i] for i in epoch.ready}
                self._show((ready - self._silent) | talk.heard, place, talk)
                sums = self._round(epoch, request, talk)
        except (QuorumError, ShareError) as error:
            log.warning("round %d, %s: %s", request.round, request.kind, error)
        counted = tuple(sorted(talk.counted))
        self._silent = frozenset(talk.silent | set(cohort) - talk.heard)
        self._show(talk.heard - talk.silent, None, talk)
        if self._followers:
            self._followers.clear(before=number("train", request.round))
        return Total(sums, counted, tuple(sorted(set(cohort) - set(counted))), talk.bytes_up, talk.bytes_down)

    def _recorded(self, request: Request) -> Account | None:
        """What became of a question that an earlier process asked: it is not asked again."""
        found = self.keep.read(request, self.consortium.pins) if self.keep else None
        return found if found and found.start.question == answer_layout.question(request) else None

    def _taken_up(self, known: Account, place: Place | None, talk: QuestionExchange) -> Tensors:
        self._show(self.transport.sites(), place, talk)
        if known.total is None:
            raise known.failure or QuorumError("a round without a sum.")
        talk.counted = set(known.total.survivors)
        return known.plan.exchanges[known.start.kind].layout.decode(known.total.words)

    def _show(self, sites: Collection[str], place: Place | None, talk: QuestionExchange) -> None:
        """Let sites that audit see what they have not seen, before they are asked on; and the last sum after it."""
        if self._followers:
            if place:
                self._followers.meet(sites, place, talk)
            self._followers.show(sites, talk)

    def _epoch_for(self, cohort: tuple[str, ...], talk: QuestionExchange) -> Epoch:
        """The epoch as it is, if it serves; else a new one."""
        epoch, members = self._epoch, tuple(site for site in cohort if site not in self._left)
        serves = epoch and epoch.plan.cohort == members and self._slot < epoch.plan.rounds
        if epoch and serves and not self._strangers(epoch, talk):
            return epoch
        self.consortium = self.current() if self.current else self.consortium
        roster, self._epoch = admitted(self.consortium.roster, self.consortium.pins), None
        self._left |= set(cohort) - set(roster.active)
        members = tuple(site for site in cohort if site not in self._left)
        plan = propose(
            roster, run=self._run, epoch=self._opened, config=self.config, purpose=PURPOSE, cohort=members,
            rounds=self.slots, exchanges=self.exchanges(len(members)),
        )  # fmt: skip
        self._opened, self._slot, opening = self._opened + 1, 0, EpochOpening(plan, roster)
        roster_file = np.frombuffer(self.consortium.roster, np.uint8)
        talk.step(opening, "secagg/join", {"roster": roster_file, **self.beside})
        talk.step(opening, "secagg/share")
        talk.step(opening, "secagg/take")
        self._epoch = opening.epoch()
        return self._epoch

    def _strangers(self, epoch: Epoch, talk: QuestionExchange) -> bool:
        """Whether a site that is back, after a silence or a restart, is not in the epoch."""
        ready = {epoch.plan.cohort[i] for i in epoch.ready}
        doubtful = (set(epoch.plan.cohort) - ready) | self._silent
        views = list(talk.ask(dict.fromkeys(sorted(doubtful), Request("secagg/present", talk.round))))
        return any(site not in ready or view != epoch.view for site, view in views)

    def _round(self, epoch: Epoch, request: Request, talk: QuestionExchange) -> Tensors:
        name, asked = answer_layout.named(request), answer_layout.question(request)
        opening = RoundOpening(epoch, self._slot, name, asked)
        self._slot += 1
        with self.keep.writing(request) if self.keep else nullcontext(Page()) as page:
            adverts = Directory(tuple(a.encode() for a in epoch.adverts.values())).encode()
            start = Start(opening.slot, name, asked).encode()
            for message in (self.consortium.roster, epoch.plan.content, adverts, start):
                page.keep(message)
            talk.step(opening, "secagg/submit", request.tensors, {**request.settings, "asked": request.kind}, page.keep)
            talk.step(opening, "secagg/agree", keep=page.keep)
            page.agree()
            talk.step(opening, "secagg/release", keep=page.keep)
            total = opening.total()
        talk.counted = set(total.survivors)
        if total.blamed:
            log.warning("round %d, %s: wrong shares from %s", request.round, name, ", ".join(total.blamed))
        return epoch.plan.exchanges[name].layout.decode(total.words)


def make_secure(
    config: Training, model: Model, about: tuple[Sequence[int], int], transport: Transport, consortium: Consortium,
    digest: bytes,
) -> SecureSum:  # fmt: skip
    """The aggregator of a run.

    Args:
        about: an image's shape, and the number of classes.
        digest: 32 bytes that stand for all that was agreed on.
    """
    shape, classes = about
    # A share of the sites is another cohort each round, and keys are for one cohort.
    asked = 2 * config.federation.rounds + 1 if config.federation.fraction == 1 else 1
    layouts = partial(exchanges, config, model, shape, classes)
    return SecureSum(transport, consortium, layouts, digest, min(asked, config.federation.epoch_rounds))

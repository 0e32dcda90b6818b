"""The sum of masked vectors: the coordinator's side of secure aggregation, over a transport.

    key period   present? · join · share · take    keys for `slots` questions; again when they are used up, or when a
                                                   site that was not in the period is back
    round        submit · agree · release          one question: masked vectors, whose they are, shares, the sum

Each pair of sites i < j shares a secret, of which both stretch the same mask; i adds it and j subtracts it. In the sum
over all sites every mask cancels, and no single vector is readable (Bonawitz et al., CCS 2017):

    yᵢ = xᵢ + Σ_{j>i} m(i,j) − Σ_{j<i} m(j,i)        Σ yᵢ = Σ xᵢ

A site that drops out after the others have masked for it leaves its masks in the sum. `release` asks the survivors for
shares of what removes just those, so that the total is over whoever stayed; `common/secagg` has the whole protocol, and
docs/secure-aggregation.md the argument for it.

Silence at any of these steps is a dropout, and so is a message that cannot be used; a refusal is noted, with its code.
Where too few are left, nothing is unmasked, and the total is empty. The coordinator holds no secret: all that it could
tell is in the transcript. Nor does it hold vectors: each is added as it comes, so its memory does not grow with the
number of sites.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from common.algorithms import RoundTotal
from common.algorithms.course import number
from common.errors import QuorumError, ShareError
from common.messages.transport import Request, Transport
from common.plans import binding
from common.plans import lineage as lineages
from common.plans.approvals import NAME, Approvals
from common.refusals import sentence
from common.secagg.key_period import KeyPeriod, KeyPeriodOpening
from common.secagg.key_period_plan import QuestionKind, check
from common.secagg.round import RoundOpening, UnmaskedSum
from common.secagg.transcript_reading import TranscriptAccount
from common.trust.enrolment import Consortium
from common.trust.roster import load_verified_roster
from common.types import Tensors
from server.rounds.audit_feed import Auditors
from server.rounds.exchange import QuestionExchange
from server.rounds.spool import Spool
from server.rounds.transcripts import Transcripts

log = logging.getLogger("consilium")


@dataclass
class SecureSum:
    """An `Aggregator` that sees no site's numbers.

    Args:
        consortium: who may take part.
        approvals: with which the run began; who is asked, and what keys are for, follows from them.
        question_kinds: the layouts for a cohort of so many sites, by name.
        transcripts: where the rounds' transcripts lie, for sites that audit and after a crash; none: they are not kept.
    """

    transport: Transport
    consortium: Consortium
    approvals: Approvals
    question_kinds: Callable[[int], dict[str, QuestionKind]]
    transcripts: Transcripts | None = None
    current_consortium: Callable[[], Consortium] | None = None
    """Gives the consortium as it is now, asked at every key period: a site that was suspended is asked no more."""
    attachments: Tensors = field(default_factory=dict)
    """What every site is handed when a key period begins, beside roster, approvals and plan."""
    lost_round: int = -1
    """The round in which an earlier process ended: its training comes to what the transcript says, else to nothing."""
    _period_number: int = 0
    """Of the newest key period."""
    _period: KeyPeriod | None = None
    _slot: int = 0
    """The next question's number within the key period."""
    _silent: frozenset[str] = frozenset()
    """Sites that were missing in a step since the last round."""
    _present: frozenset[str] | None = None
    """Those that were not, in the last question; none: this process has asked no question."""
    _round: int = 0
    """That of the last question."""
    _lineages: dict[int, bytes] = field(default_factory=dict)
    """By question, the lineage after its sum."""
    _auditors: Auditors | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.transcripts:
            self.transcripts.salvage(self.consortium.pins)
            self._auditors = Auditors(self.transcripts)
            self._lineages = self.transcripts.lineages()

    def total(self, request: Request, cohort: Sequence[str], timeout_s: float) -> RoundTotal:
        """As `Aggregator.total`; without sums where too few sites answered, or their shares did not fit."""
        exchange = QuestionExchange(self.transport, request.round, timeout_s)
        sums: Tensors = {}
        try:
            # In this order: a question of which shares may have been released is never asked again. Two sums over the
            # same vectors with different survivors would differ by a single site's vector.
            if recorded := self._recorded(request):
                sums = self._sums_of_record(recorded, request, exchange)
            elif request.round == self.lost_round and request.kind not in ("statistics", "evaluate"):
                raise QuorumError("the coordinator ended in this round, and no site sends its work in a round twice.")
            else:
                period = self._period_for(tuple(sorted(cohort)), exchange)
                ready = {period.plan.cohort[i] for i in period.ready}
                self._inform_auditors((ready - self._silent) | exchange.responders, exchange, but_newest=True)
                sums = self._ask_round(period, request, exchange)
        except (QuorumError, ShareError) as error:
            log.warning("round %d, %s: %s", request.round, request.kind, error)
        contributors = tuple(sorted(exchange.contributors))
        self._silent = frozenset(exchange.missing | set(cohort) - exchange.responders)
        self._present, self._round = frozenset(exchange.responders - exchange.missing), request.round
        codes = {site: exchange.refusals[site] for site in sorted(set(exchange.refusals) - set(contributors))}
        if codes:
            log.warning("round %d, %s: %s", request.round, request.kind, sentence(codes, len(cohort)))
        dropouts = tuple(sorted(set(cohort) - set(contributors) - set(codes)))
        return RoundTotal(sums, contributors, dropouts, exchange.bytes_up, exchange.bytes_down, codes)

    def finish(self, timeout_s: float) -> None:
        """As `Aggregator.finish`: the last sum is shown to whoever was there when it was made, or may have been."""
        sites = self.transport.sites() if self._present is None else self._present
        self._inform_auditors(sites, QuestionExchange(self.transport, self._round, timeout_s))

    def _recorded(self, request: Request) -> TranscriptAccount | None:
        """What became of a question that an earlier process asked: it is not asked again."""
        record = self.transcripts.read(request, self.consortium.pins) if self.transcripts else None
        return record if record and record.start.question == self._question(request) else None

    def _question(self, request: Request) -> bytes:
        return lineages.question(request, self._lineage_before(request))

    def _lineage_before(self, request: Request) -> bytes:
        """Of all sums before a question; an evaluation's questions do not follow from one another."""
        question_number = number(request.kind, request.round)
        earlier = [question for question in self._lineages if question < question_number]
        if self.approvals.plan.content.models or not earlier:
            return lineages.start(self.approvals)
        return self._lineages[max(earlier)]

    def _note_sum(self, request: Request, context: bytes, total: UnmaskedSum) -> None:
        question_number, lineage = (
            number(request.kind, request.round),
            lineages.following(context, total.survivors, total.words),
        )
        self._lineages[question_number] = lineage
        if self.transcripts:
            self.transcripts.note_lineage(question_number, lineage)

    def _sums_of_record(self, record: TranscriptAccount, request: Request, exchange: QuestionExchange) -> Tensors:
        """The sums that follow from a transcript of an earlier process."""
        self._inform_auditors(self.transport.sites(), exchange)
        if record.total is None:
            self._lineages.pop(number(request.kind, request.round), None)
            raise record.failure or QuorumError("a round without a sum.")
        self._note_sum(request, record.context, record.total)
        exchange.contributors = set(record.total.survivors)
        return record.plan.question_kinds[record.start.kind].layout.decode(record.total.words)

    def _inform_auditors(self, sites: Collection[str], exchange: QuestionExchange, *, but_newest: bool = False) -> None:
        """Let sites that audit see what they have not seen; the newest goes with what they are asked next."""
        if self._auditors:
            self._auditors.ask_new_sites(sites, self._papers, exchange)
            self._auditors.send_transcripts(sites, exchange, but_newest=but_newest)

    def _papers(self) -> Tensors:
        """What a site holds a run against: who is a member, and who has approved."""
        files = {"roster": self.consortium.roster, NAME: self.approvals.encode()}
        return {name: np.frombuffer(content, np.uint8) for name, content in files.items()} | dict(self.attachments)

    def _period_for(self, cohort: tuple[str, ...], exchange: QuestionExchange) -> KeyPeriod:
        """The key period as it is, if it serves; else a new one."""
        period = self._period
        serves = period and (
            period.plan.cohort == binding.remaining(cohort, period.roster) and self._slot < period.plan.rounds
        )
        if period and serves and not self._has_strangers(period, exchange):
            return period
        return self._begin_period(cohort, exchange)

    def _begin_period(self, cohort: tuple[str, ...], exchange: QuestionExchange) -> KeyPeriod:
        """Make new keys with all of the cohort that are members now."""
        self.consortium = self.current_consortium() if self.current_consortium else self.consortium
        roster = load_verified_roster(self.consortium.roster, self.consortium.pins)
        self._period = None
        # The millisecond in which it begins: so it rises, also after a crash, without being written down.
        self._period_number = max(self._period_number + 1, time.time_ns() // 1_000_000)
        kinds = self.question_kinds(len(binding.remaining(cohort, roster)))
        plan = binding.key_period_plan(self.approvals, roster, self._period_number, cohort, kinds)
        check(plan, roster)
        self._slot = 0
        opening = KeyPeriodOpening(plan, roster)
        exchange.step(opening, "secagg/join", self._papers())
        exchange.step(opening, "secagg/share")
        exchange.step(opening, "secagg/take")
        self._period = opening.key_period()
        return self._period

    def _has_strangers(self, period: KeyPeriod, exchange: QuestionExchange) -> bool:
        """Whether a site that is back, after a silence or a restart, is not in the key period."""
        ready = {period.plan.cohort[i] for i in period.ready}
        doubtful = (set(period.plan.cohort) - ready) | self._silent
        requests = dict.fromkeys(sorted(doubtful), Request("secagg/present", exchange.round))
        views = list(exchange.ask(requests))
        return any(site not in ready or view != period.view for site, view in views)

    def _ask_round(self, period: KeyPeriod, request: Request, exchange: QuestionExchange) -> Tensors:
        """One question: masked vectors, agreement on whose they are, shares; the sum over the survivors.

        Raises:
            QuorumError: too few are left.
            ShareError: the shares do not fit together.
        """
        name, question = request.kind, self._question(request)
        opening = RoundOpening(period, self._slot, name, question)
        self._slot += 1  # before anything is sent: a slot's masks hide one vector, and none are used twice
        with self._spool(request, opening) as spool:
            settings = {**request.settings, "asked": request.kind, "lineage": self._lineage_before(request).hex()}
            page = self._auditors.page(opening.requests()) if self._auditors else None
            exchange.step(opening, "secagg/submit", request.tensors, settings, spool.append, page)
            if self._auditors and page:
                self._auditors.note_answers(page, exchange.contributors)
            exchange.step(opening, "secagg/agree", keep=spool.append)
            spool.agree()
            exchange.step(opening, "secagg/release", keep=spool.append)
            if spool.file:
                opening.check_sketches(spool.vector)
            total = opening.total()
        self._note_sum(request, opening.context, total)
        exchange.contributors = set(total.survivors)
        if total.blamed:
            log.warning("round %d, %s: wrong shares or sketches from %s", request.round, name, ", ".join(total.blamed))
        return period.plan.question_kinds[name].layout.decode(total.words)

    def _spool(self, request: Request, opening: RoundOpening) -> AbstractContextManager[Spool]:
        """Where the round's messages go as they come."""
        if self.transcripts is None:
            return nullcontext(Spool())
        return self.transcripts.spool(request, opening, self.consortium.roster)

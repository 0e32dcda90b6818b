"""What this site signed of a run, and that a key period is of nothing else.

A site derives for itself who is in a sum, how many must agree on it and what it may ask (`common.plans.binding`), and
compares it with what the coordinator proposes, before a key is made. The approvals that a run began with stay with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from common.errors import PolicyError, StageError
from common.messages.answer_keys import answer_keys
from common.messages.transport import Request
from common.plans import binding, carry
from common.plans.approvals import Approvals
from common.plans.decision import Decision
from common.plans.plan import RunPlan
from common.plans.run_work import RunWork, question_kinds
from common.secagg.key_period_plan import KeyPeriodPlan, QuestionKind
from common.trust.roster import Roster
from common.types import Tensors


class RunPapers(Protocol):
    """What a site keeps of a run from its beginning on."""

    def datasets(self) -> tuple[str, ...]:
        """The names by which its data set goes at this site."""
        ...

    def approvals(self) -> bytes:
        """Those that the run began with here; empty before it has."""
        ...

    def keep_approvals(self, content: bytes) -> None:
        """Write them down, for good."""
        ...

    def carried_sums(self) -> Tensors:
        """What the plan carries from an earlier run."""
        ...

    def keep_carried(self, arrays: Tensors) -> None:
        """Write it down."""
        ...


@dataclass
class PapersInMemory:
    """`RunPapers` for as long as the program runs."""

    content: bytes = b""
    arrays: Tensors = field(default_factory=dict)

    def datasets(self) -> tuple[str, ...]:
        """A simulated site has one, without a name."""
        return ("",)

    def approvals(self) -> bytes:
        """As `RunPapers.approvals`."""
        return self.content

    def keep_approvals(self, content: bytes) -> None:
        """As `RunPapers.keep_approvals`."""
        self.content = content

    def carried_sums(self) -> Tensors:
        """As `RunPapers.carried_sums`."""
        return self.arrays

    def keep_carried(self, arrays: Tensors) -> None:
        """As `RunPapers.keep_carried`."""
        self.arrays = arrays


@dataclass
class RunBinding:
    """One run, as one site signed it.

    Args:
        decision: this site's newest approval.
        papers: the approvals that this site has answered with before, and what the plan carries.
    """

    plan: RunPlan
    decision: Decision
    papers: RunPapers = field(default_factory=PapersInMemory)

    def approvals(self, content: bytes, roster: Roster, sums: Tensors) -> Approvals:
        """Who takes part; the approvals are taken once, and no others later.

        Args:
            sums: the arrays that came with them.

        Raises:
            PolicyError, IdentityError, WireError: for others than this run began with here, without this site's own
                newest one, or that no run may begin with.
        """
        site, before = self.decision.site, self.papers.approvals()
        if before and before != content:
            raise PolicyError(
                "other-approvals",
                f"{site}: run {self.plan.name} began with other approvals than the coordinator shows now. Nothing was "
                "sent; a new plan is needed.",
            )
        approvals = Approvals.load_verified(content, self.plan, roster)
        if not before:
            decision = approvals.decisions.get(site)
            if decision is None or decision.document.digest != self.decision.document.digest:
                raise PolicyError(
                    "other-decision",
                    f"{site}: the coordinator shows another decision on {self.plan.name} than this site's newest.",
                )
            if self.plan.content.carried:
                self.papers.keep_carried(carry.verified(self.plan.content.carried, sums))
            self.papers.keep_approvals(content)
        return approvals

    def begun_approvals(self) -> Approvals:
        """Those that the run began with here."""
        if not self.papers.approvals():
            raise StageError("out-of-order", f"{self.decision.site}: run {self.plan.name} has not begun here.")
        return self._first_approvals

    @cached_property
    def _first_approvals(self) -> Approvals:
        """Read once: every message asks for them, and once a run has begun they stay as they are."""
        return Approvals.load(self.papers.approvals(), self.plan)

    def work(self) -> RunWork:
        """What the run asks, by the plan and the approvals that it began with."""
        return RunWork.of(self.begun_approvals(), self.papers.carried_sums())

    def question_kinds(self, sites: int) -> Mapping[str, QuestionKind]:
        """The layouts of its questions, for a cohort of so many sites."""
        return question_kinds(self.begun_approvals(), self.papers.carried_sums(), sites)

    def answer_keys(self, request: Request) -> tuple[bytes, ...]:
        """What an answer tells, for the ledger; see `common.messages.answer_keys`."""
        return answer_keys(request, self.papers.datasets())

    def check(self, proposal: KeyPeriodPlan, approvals: Approvals, roster: Roster) -> None:
        """Hold a key period's proposal against what follows from the signed plan.

        Raises:
            PolicyError: naming the first field that differs.
        """
        cohort = approvals.sites
        for draw in binding.draws(approvals):
            if binding.remaining(draw, roster) == proposal.cohort:
                cohort = draw
        kinds = self.question_kinds(len(binding.remaining(cohort, roster)))
        derived = binding.key_period_plan(approvals, roster, proposal.number, cohort, kinds)
        binding.refuse_other(proposal, derived)


def simulated_binding(approvals: Approvals, site: str) -> RunBinding:
    """The binding of a simulated site, for as long as the program runs."""
    return RunBinding(approvals.plan, approvals.decisions[site], PapersInMemory(approvals.encode()))

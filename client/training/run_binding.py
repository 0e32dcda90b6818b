"""What this site signed of a run, and that a key period is of nothing else.

A site derives for itself who is in a sum, how many must agree on it and what it may ask (`common.plans.binding`), and
compares it with what the coordinator proposes, before a key is made. The approvals that a run began with stay with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from common.errors import PolicyError
from common.messages.answer_keys import answer_keys
from common.messages.transport import Request
from common.plans import binding
from common.plans.approvals import Approvals
from common.plans.decision import Decision
from common.plans.plan import RunPlan
from common.secagg.key_period_plan import KeyPeriodPlan, QuestionKind
from common.trust.roster import Roster

DECIDE_NO_SUM = {"C", "solver", "tolerance"}
"""Settings of a model on which what a case adds to a sum does not depend."""
QuestionKinds = Callable[[int], Mapping[str, QuestionKind]]
"""The layouts that the site derives from the plan's training, for a cohort of so many sites."""


@dataclass
class RunBinding:
    """One run, as one site signed it.

    Args:
        own: this site's newest approval.
        begun: the approvals that this site has answered with before, as bytes; empty before the first.
        begin: writes them down, for good.
    """

    plan: RunPlan
    own: Decision
    question_kinds: QuestionKinds
    begun: Callable[[], bytes]
    begin: Callable[[bytes], None]

    def approvals(self, content: bytes, roster: Roster) -> Approvals:
        """Who takes part; the approvals are taken once, and no others later.

        Raises:
            PolicyError, IdentityError, WireError: for others than this run began with here, without this site's own
                newest one, or that no run may begin with.
        """
        site, before = self.own.site, self.begun()
        if before and before != content:
            raise PolicyError(
                "other-approvals",
                f"{site}: run {self.plan.name} began with other approvals than the coordinator shows now. Nothing was "
                "sent; a new plan is needed.",
            )
        approvals = Approvals.load_verified(content, self.plan, roster)
        if not before:
            own = approvals.decisions.get(site)
            if own is None or own.document.digest != self.own.document.digest:
                raise PolicyError(
                    "other-decision",
                    f"{site}: the coordinator shows another decision on {self.plan.name} than this site's newest.",
                )
            self.begin(content)
        return approvals

    def begun_approvals(self) -> Approvals:
        """Those that the run began with here."""
        return Approvals.load(self.begun(), self.plan)

    def answer_keys(self, request: Request) -> tuple[bytes, ...]:
        """What an answer tells, for the ledger; see `common.messages.answer_keys`."""
        content = self.plan.content
        features = (
            ""
            if content.models
            else content.training.model_for(content.training.seeds[0]).model_dump_json(exclude=DECIDE_NO_SUM)
        )
        return answer_keys(request, content.dataset, features)

    def check(self, proposal: KeyPeriodPlan, approvals: Approvals, roster: Roster) -> None:
        """Hold a key period's proposal against what follows from the signed plan.

        Raises:
            PolicyError: naming the first field that differs.
        """
        cohort = approvals.sites
        for drawn in binding.draws(approvals):
            if binding.remaining(drawn, roster) == proposal.cohort:
                cohort = drawn
        kinds = self.question_kinds(len(binding.remaining(cohort, roster)))
        derived = binding.key_period_plan(approvals, roster, proposal.number, cohort, kinds)
        binding.refuse_other(proposal, derived)


def simulated_binding(approvals: Approvals, site: str, question_kinds: QuestionKinds) -> RunBinding:
    """The binding of a simulated site, for as long as the program runs."""
    begun = [b""]
    return RunBinding(
        approvals.plan, approvals.decisions[site], question_kinds, lambda: begun[0], partial(begun.__setitem__, 0)
    )

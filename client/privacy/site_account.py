"""What an answer may cost at this hospital, by the plan and by the hospital's own rule; and what it then pays.

Both bound the patient who has paid most: a plan what all its answers cost together, `policy.privacy` of site.yaml what
all plans do. Every answer is paid for, one that is asked again too: its noise is fresh.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from client.home import Home
from client.privacy.ledger import LedgerLine, LineDraft, PrivacyLedger, ledger_of
from client.privacy.patient_sets import PatientSet
from client.privacy.reopening import refuse_closed
from common.audit.account_statement import AccountStatement, BudgetRest
from common.errors import PolicyError
from common.privacy import Price, epsilon, mu_of
from common.privacy.account import SLACK, refuse_again
from common.privacy.accounting import Cost, without_tail
from common.privacy.price_list import Part, Unit, together

MECHANISM, SAMPLED = "discrete gaussian, in shares", "sampled discrete gaussian in every step"


@dataclass(frozen=True)
class PlanBudget:
    """Which plan asks, of what data set, and what all of it may cost."""

    name: str
    digest: str
    dataset: str
    epsilon: float
    delta: float
    unit: Unit


@dataclass(frozen=True)
class SiteAccount:
    """A hospital's `common.privacy.Account`, for the answers of one plan.

    Args:
        patients: over whom its questions are.
        tell: brings the site's word on its account to the coordinator; raises where that cannot be.
    """

    home: Home
    budget: PlanBudget
    patients: Mapping[Part, PatientSet]
    tell: Callable[[AccountStatement], None]

    def spend(self, price: Price) -> None:
        """Write one answer down, for good and in other hands too, before it leaves.

        Raises:
            PolicyError: over-budget, with the figures; closed-account.
            AuditError, RunError, OSError: the account is not what was written, or cannot be.
            LinkError: the coordinator could not be told. In each case nothing may leave.
        """
        plan, patients, ledger = self.budget, self.patients[price.part], ledger_of(self.home)
        with ledger.lock():
            refuse_closed(self.home)
            lines = ledger.lines()
            due = self._due(lines, price)
            self._refuse_over(lines, due)
            draft = LineDraft(
                plan=plan.name, digest=plan.digest, dataset=plan.dataset, part=price.part, question=price.question,
                mechanism=SAMPLED if price.is_shared else MECHANISM, sensitivity=price.sensitivity, sigma=price.sigma,
                squared_mu=due.squared_mu * self.factor(price.part), tail=due.tail,
            )  # fmt: skip
            lines.append(ledger.record(draft, patients))
            statement = statement_of(self.home, lines, self._rest(lines))
        self.tell(statement)

    def factor(self, part: Part) -> int:
        """How often a plan's price counts for a patient: where it is for an image, of k images of one patient, k²."""
        return self.patients[part].most_images ** 2 if self.budget.unit == "image" else 1

    def refuse_whole(self, prices: Sequence[Price]) -> None:
        """Refuse a plan that does not fit as a whole, before it is approved.

        Raises:
            PolicyError: over-budget, with the figures.
            AuditError: the account is not what was written.
        """
        ledger = ledger_of(self.home)
        with ledger.lock():
            lines = [line for line in ledger.lines() if line.digest != self.budget.digest]
        for part in self.patients:
            whole = together(price for price in prices if price.part == part)
            self._refuse_over(
                lines, Price(f"all of plan {self.budget.name}", 0.0, 0.0, whole.squared_mu, part, whole.tail)
            )

    def _due(self, lines: Sequence[LedgerLine], price: Price) -> Price:
        """What is to be paid now: nothing, where every patient has paid for all of the kind in this run."""
        before = [line for line in lines if line.digest == self.budget.digest and line.part == price.part]
        before = [line for line in before if line.question.partition("/")[0] == price.kind]
        refuse_again(price, (line.question for line in before))
        if not price.is_shared or not before:
            return price
        paid = ledger_of(self.home).accounts(before, self.patients[price.part])
        is_paid = np.min(paid, initial=math.inf) >= price.squared_mu * (1 - SLACK)
        return replace(price, squared_mu=0.0, tail=0.0) if is_paid else price

    def _refuse_over(self, lines: Sequence[LedgerLine], price: Price) -> None:
        plans = [line for line in lines if line.digest == self.budget.digest]
        cost = Cost(price.squared_mu * self.factor(price.part), price.tail)
        if cost.tail and self.factor(price.part) > 1:
            raise PolicyError(
                "over-budget",
                f"{self.home.site}: {price.question} is for each image, and patients of data set "
                f"'{self.budget.dataset}' have up to {self.patients[price.part].most_images}: what the training of a "
                "network then costs a patient is not known. Nothing was sent. Ask for a plan with privacy.of: patient.",
            )
        limits = [(plans, self.budget.epsilon, self.budget.delta, self.factor(price.part), "the plan's budget")]
        if rule := self.home.settings.policy.privacy:
            limits.append((list(lines), rule.epsilon, rule.delta, 1, "the budget of this hospital (policy.privacy)"))
        for scope, most, delta, factor, whose in limits:
            paid = worst(ledger_of(self.home), scope, self.patients[price.part])
            after = Cost((paid.squared_mu + cost.squared_mu) / factor, paid.tail + cost.tail)
            if not after.fits(most, delta, SLACK):
                raised = Cost(after.squared_mu * factor, after.tail).epsilon(delta)
                rest = rest_of(most, delta, paid, factor, price.tail)
                raise PolicyError(
                    "over-budget",
                    f"{self.home.site}: {price.question} would bring a patient of the {price.part} images of data set "
                    f"'{self.budget.dataset}' to ε {raised:.3f} at δ {delta:g}; "
                    f"{whose} is {most:g}. Nothing was sent. ε {rest:.3f} is left: a plan of at "
                    "most that fits, or one on new patients.",
                )

    def _rest(self, lines: Sequence[LedgerLine]) -> dict[str, BudgetRest]:
        rule = self.home.settings.policy.privacy or self.budget
        paid = worst(ledger_of(self.home), lines, self.patients["training"])
        rest = rest_of(rule.epsilon, rule.delta, paid)
        return {self.budget.dataset: BudgetRest(rest, rule.epsilon, rule.delta)}


def statement_of(home: Home, lines: Sequence[LedgerLine], rest: Mapping[str, BudgetRest]) -> AccountStatement:
    """The site's word on its account."""
    paid = paid_by_set(lines)
    squares = {version: cost.squared_mu for version, cost in paid.items()}
    tails = {version: cost.tail for version, cost in paid.items() if cost.tail}
    return AccountStatement.sign(home.site, squares, rest, [home.identity, home.log.key()], tails)


def paid_by_set(lines: Sequence[LedgerLine]) -> dict[str, Cost]:
    """What was paid over each set of patients."""
    paid = defaultdict[str, Cost](lambda: Cost(0.0))
    for line in lines:
        before = paid[line.patients]
        paid[line.patients] = Cost(before.squared_mu + line.squared_mu, before.tail + line.tail)
    return dict(paid)


def worst(ledger: PrivacyLedger, lines: Sequence[LedgerLine], patients: PatientSet) -> Cost:
    """What the patients of a set have paid who have paid most, of μ² and of tails."""
    most = np.max(ledger.accounts(lines, patients), initial=0.0)
    return Cost(float(most), float(np.max(ledger.accounts(lines, patients, "tail"), initial=0.0)))


def rest_of(most: float, delta: float, paid: Cost, factor: int = 1, tail: float = 0.0) -> float:
    """ε of the largest plan, at this δ and with this tail, that still fits a budget (ε, δ)."""
    rest = without_tail(delta, paid.tail + tail)
    if rest <= 0:
        return 0.0
    squared = max(0.0, mu_of(most, rest) ** 2 * factor - paid.squared_mu)
    return float(epsilon(squared**0.5, without_tail(delta, tail)))

"""What an answer may cost at this hospital, by the plan and by the hospital's own rule; and what it then pays.

Both bound the patient who has paid most: a plan what all its answers cost together, `policy.privacy` of site.yaml what
all plans do. Every answer is paid for, one that is asked again too: its noise is fresh.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from client.home import Home
from client.privacy.ledger import LedgerLine, LineDraft, PrivacyLedger, ledger_of
from client.privacy.patient_sets import PatientSet
from client.privacy.reopening import refuse_closed
from common.audit.account_statement import AccountStatement, BudgetRest
from common.errors import PolicyError
from common.privacy import Price, epsilon, mu_of
from common.privacy.account import SLACK
from common.privacy.price_list import Part, Unit

MECHANISM = "discrete gaussian, in shares"


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
            self._refuse_over(lines, price)
            draft = LineDraft(
                plan=plan.name, digest=plan.digest, dataset=plan.dataset, part=price.part, question=price.question,
                mechanism=MECHANISM, sensitivity=price.sensitivity, sigma=price.sigma,
                squared_mu=price.squared_mu * self.factor(price.part),
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
            whole = sum(price.squared_mu for price in prices if price.part == part)
            self._refuse_over(lines, Price(f"all of plan {self.budget.name}", 0.0, 0.0, whole, part))

    def _refuse_over(self, lines: Sequence[LedgerLine], price: Price) -> None:
        plans = [line for line in lines if line.digest == self.budget.digest]
        cost = price.squared_mu * self.factor(price.part)
        limits = [(plans, self.budget.epsilon, self.budget.delta, self.factor(price.part), "the plan's budget")]
        if rule := self.home.settings.policy.privacy:
            limits.append((list(lines), rule.epsilon, rule.delta, 1, "the budget of this hospital (policy.privacy)"))
        for scope, most, delta, factor, whose in limits:
            paid = worst(ledger_of(self.home), scope, self.patients[price.part])
            limit = mu_of(most, delta) ** 2 * factor
            if paid + cost > limit * (1 + SLACK):
                raise PolicyError(
                    "over-budget",
                    f"{self.home.site}: {price.question} would bring a patient of the {price.part} images of data set "
                    f"'{self.budget.dataset}' to ε {epsilon((paid + cost) ** 0.5, delta):.3f} at δ {delta:g}; "
                    f"{whose} is {most:g}. Nothing was sent. ε {rest_of(limit, paid, delta):.3f} is left: a plan of at "
                    "most that fits, or one on new patients.",
                )

    def _rest(self, lines: Sequence[LedgerLine]) -> dict[str, BudgetRest]:
        rule = self.home.settings.policy.privacy or self.budget
        paid = worst(ledger_of(self.home), lines, self.patients["training"])
        rest = rest_of(mu_of(rule.epsilon, rule.delta) ** 2, paid, rule.delta)
        return {self.budget.dataset: BudgetRest(rest, rule.epsilon, rule.delta)}


def statement_of(home: Home, lines: Sequence[LedgerLine], rest: Mapping[str, BudgetRest]) -> AccountStatement:
    """The site's word on its account."""
    return AccountStatement.sign(home.site, paid_by_set(lines), rest, [home.identity, home.log.key()])


def paid_by_set(lines: Sequence[LedgerLine]) -> dict[str, float]:
    """What was paid over each set of patients: μ²."""
    paid = defaultdict[str, float](float)
    for line in lines:
        paid[line.patients] += line.squared_mu
    return dict(paid)


def worst(ledger: PrivacyLedger, lines: Sequence[LedgerLine], patients: PatientSet) -> float:
    """What the patient of a set has paid who has paid most: μ²."""
    return float(np.max(ledger.accounts(lines, patients), initial=0.0))


def rest_of(limit: float, paid: float, delta: float) -> float:
    """ε that is left of a budget of so much μ²."""
    return float(epsilon(max(0.0, limit - paid) ** 0.5, delta))

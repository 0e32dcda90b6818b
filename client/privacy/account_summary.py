"""What a hospital's patients have paid, for people: by data set, and by plan."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from client.home import Home
from client.privacy.ledger import LedgerLine, PrivacyLedger, ledger_of
from client.privacy.reopening import what_is_awaited
from client.privacy.site_account import paid_by_set, rest_of, worst
from client.site_settings import PrivacyRule
from common.privacy.accounting import Cost

DELTA = 1e-5
"""At which ε is told where the hospital has no budget of its own."""


@dataclass(frozen=True)
class AccountRow:
    """The patients of one part of a data set, as they were when they were asked last."""

    dataset: str
    part: str
    patients: int
    new: int
    """How many of them had paid nothing before that plan."""
    epsilon: float
    """Of the patient who has paid most, over all plans."""
    rest: float | None
    """ε of the largest plan that still fits; none: the hospital has no budget of its own."""


@dataclass(frozen=True)
class PlanRow:
    """What one plan has cost."""

    plan: str
    dataset: str
    part: str
    answers: int
    epsilon: float
    at_s: float
    """When the last answer was paid for."""


@dataclass(frozen=True)
class AccountSummary:
    """All of it."""

    site: str
    budget: dict[str, Any] | None
    """As `policy.privacy` of site.yaml has it."""
    delta: float
    """At which every ε here is."""
    closed: str
    """Why nothing is paid; empty: it is."""
    accounts: tuple[AccountRow, ...]
    plans: tuple[PlanRow, ...]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def summary(home: Home) -> AccountSummary:
    """The accounts of a site.

    Raises:
        AuditError: the account is not what was written, or was set back.
    """
    ledger, rule = ledger_of(home), home.settings.policy.privacy
    delta = rule.delta if rule else DELTA
    with ledger.lock():
        lines = ledger.lines()
        reason = what_is_awaited(home)
    by_part, by_plan = defaultdict[tuple[str, str], list[LedgerLine]](list), defaultdict[str, list[LedgerLine]](list)
    for line in lines:
        by_part[line.dataset, line.part].append(line)
        by_plan[f"{line.digest} {line.dataset} {line.part}"].append(line)
    accounts = tuple(_account(ledger, lines, group, delta, rule) for (dataset, _), group in by_part.items() if dataset)
    plans = tuple(
        PlanRow(
            group[-1].plan or group[-1].question, group[-1].dataset, group[-1].part, len(group),
            _worst(ledger, group, group[-1]).epsilon(delta), group[-1].at_s,
        )
        for group in by_plan.values()
    )  # fmt: skip
    return AccountSummary(home.site, rule.model_dump() if rule else None, delta, reason, accounts, plans)


def _account(
    ledger: PrivacyLedger,
    lines: Sequence[LedgerLine],
    group: Sequence[LedgerLine],
    delta: float,
    rule: PrivacyRule | None,
) -> AccountRow:
    last = group[-1]
    first = next(line for line in group if (line.digest, line.patients) == (last.digest, last.patients))
    paid = _worst(ledger, lines, last)
    rest = None if rule is None else rest_of(rule.epsilon, rule.delta, paid)
    return AccountRow(last.dataset, last.part, last.count, first.new, paid.epsilon(delta), rest)


def _worst(ledger: PrivacyLedger, lines: Sequence[LedgerLine], of: LedgerLine) -> Cost:
    """What the patient has paid who has paid most of those whom a line was over."""
    if not ledger.sets.has(of.patients):
        return paid_by_set(lines).get(of.patients, Cost(0.0))
    return worst(ledger, lines, ledger.sets.load(of.patients))

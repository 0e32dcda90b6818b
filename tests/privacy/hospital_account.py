"""A hospital's account of its patients, in a real folder, without a consortium around it."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from client.privacy.ledger import LedgerLine, ledger_of
from client.privacy.patient_sets import PatientSet
from client.privacy.site_account import PlanBudget, SiteAccount
from client.setup import enrol
from common.audit.account_statement import AccountStatement
from common.privacy import Price
from common.privacy.price_list import Unit
from tests.admitted import home_of

PLAN = "ab" * 32


class Hospital:
    """A site's folder, and what the coordinator heard of its account."""

    def __init__(self, folder: Path, epsilon: float | None = 3.0) -> None:
        self.home = home_of(folder)
        enrol.begin(self.home, "lisbon", "")
        if epsilon is not None:
            self.allow(epsilon)
        self.heard: list[AccountStatement] = []

    def allow(self, epsilon: float, **more: object) -> None:
        """Set the hospital's own budget."""
        path = self.home.folder / "site.yaml"
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        tree["policy"]["privacy"] = {"epsilon": epsilon, "delta": 1e-5, **more}
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")

    def people(self, names: Sequence[str], each: int = 1) -> PatientSet:
        """Patients of these names, with so many images each."""
        return ledger_of(self.home).sets.of([(name, f"image {i} of {name}") for name in names for i in range(each)])

    def account(
        self, people: PatientSet, digest: str = PLAN, epsilon: float = 3.0, unit: Unit = "patient"
    ) -> SiteAccount:
        """As a run of a plan has it."""
        budget = PlanBudget(f"plan-{digest[:4]}", digest, "chest", epsilon, 1e-5, unit)
        return SiteAccount(self.home, budget, {"training": people}, self.heard.append)

    def lines(self) -> list[LedgerLine]:
        """What is in the account."""
        ledger = ledger_of(self.home)
        with ledger.lock():
            return ledger.lines()


def price(squared_mu: float, question: str = "gradient/1") -> Price:
    """One answer's."""
    return Price(question, 0.5, 0.5 / squared_mu**0.5, squared_mu)

"""What a site has spent of its patients' budget. Nothing leaves before it is written down here."""

from dataclasses import dataclass, field
from typing import Protocol

from common.errors import PolicyError
from common.privacy.accounting import epsilon, mu, mu_of
from common.privacy.price_list import Part, Price

SLACK = 1e-9
"""Of a budget, or of a total: by so much the digits of a sum may differ."""


class Account(Protocol):
    """Where a site writes what its answers cost, over all runs on a data set."""

    def spend(self, price: Price) -> None:
        """Write one answer down, for good, before it leaves.

        Raises:
            PolicyError: over-budget, with the figures; then nothing may leave.
        """
        ...


@dataclass
class AccountInMemory:
    """An account for as long as the program runs, as a simulated site has one.

    Args:
        epsilon, delta: the most that the patients of a part may come to.
    """

    epsilon: float
    delta: float
    entries: list[Price] = field(default_factory=list)

    def spend(self, price: Price) -> None:
        """As `Account.spend`."""
        after = mu([*self._squares(price.part), price.squared_mu])
        if after > mu_of(self.epsilon, self.delta) * (1 + SLACK):
            raise PolicyError(
                "over-budget",
                f"'{price.question}' would bring this site's {price.part} patients to ε "
                f"{epsilon(after, self.delta):.3f} at δ {self.delta:g}, and the budget is {self.epsilon:g}. Nothing "
                "was sent.",
            )
        self.entries.append(price)

    def cost(self, part: Part = "training") -> float:
        """ε of all that was written down of a part, at the account's δ."""
        return epsilon(mu(self._squares(part)), self.delta)

    def _squares(self, part: Part) -> list[float]:
        return [entry.squared_mu for entry in self.entries if entry.part == part]

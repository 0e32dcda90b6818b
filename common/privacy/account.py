"""What a site has spent of its patients' budget. Nothing leaves before it is written down here."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from common.errors import PolicyError
from common.privacy.price_list import Part, Price, together

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
        paid = [entry for entry in self.entries if entry.part == price.part]
        refuse_again(price, (entry.question for entry in paid))
        after = together([*paid, price])
        if not after.fits(self.epsilon, self.delta, SLACK):
            raise PolicyError(
                "over-budget",
                f"'{price.question}' would bring this site's {price.part} patients to ε "
                f"{after.epsilon(self.delta):.3f} at δ {self.delta:g}, and the budget is {self.epsilon:g}. Nothing "
                "was sent.",
            )
        self.entries.append(price)

    def cost(self, part: Part = "training") -> float:
        """ε of all that was written down of a part, at the account's δ."""
        return together(entry for entry in self.entries if entry.part == part).epsilon(self.delta)


def refuse_again(price: Price, questions: Iterable[str]) -> None:
    """Refuse a second answer to a question of a kind that was paid for once, for each of its questions once.

    Args:
        questions: of the run, that were answered before.

    Raises:
        PolicyError: replayed-number.
    """
    if price.is_shared and price.question in questions:
        raise PolicyError(
            "replayed-number",
            f"'{price.question}' was paid for, and what was paid for all of its kind is for each once. Nothing was "
            "sent.",
        )

"""An answer under a budget: paid for first, then this site's share of the noise is added to the rounded numbers.

How much noise follows from the signed plan: its budget, its sites, and the fewest of them that a sum may be over. What
the coordinator says decides nothing of it.
"""

from functools import lru_cache

import numpy as np

from common.config import Training
from common.errors import PolicyError
from common.messages.transport import Request
from common.privacy.account import Account, AccountInMemory
from common.privacy.noise import DiscreteGaussian
from common.privacy.price_list import GRID, Schedule
from common.secagg.masks import Words


def add_noise(words: Words, request: Request, schedule: Schedule | None, account: Account | None) -> None:
    """Pay for an answer, and add this site's share of the noise to it, in place.

    Args:
        words: the answer's numbers in steps of `common.privacy.price_list.GRID`, before the mask; what a network
            was trained to has its noise in it already.

    Raises:
        PolicyError: the plan has no budget, the site no account, or the account refuses. Nothing may leave then.
    """
    if schedule is None or account is None:
        missing = "the plan has no budget" if schedule is None else "this site keeps no account of privacy"
        raise PolicyError("no-account", f"asked for '{request.kind}', and {missing}. Nothing was sent.")
    price = schedule.price(request.kind, request.round)
    if price.is_shared:  # what a network's weights moved: every step of it had this site's noise in full
        account.spend(price)
        return
    noise = _source(schedule.share_variance(price) / GRID**2)
    account.spend(price)
    words += noise.draw(len(words)).view(np.uint64)  # negative numbers wrap round, as all in the ring


@lru_cache(maxsize=8)
def _source(variance: float) -> DiscreteGaussian:
    """Tables of one width, which are no secret; what is drawn by them is."""
    return DiscreteGaussian.of(variance)


def account_in_memory(training: Training) -> AccountInMemory | None:
    """A simulated site's account, for as long as the program runs; None where its plan has no budget."""
    budget = training.budget
    return AccountInMemory(budget.epsilon, budget.delta) if budget else None

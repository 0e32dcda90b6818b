"""Differential privacy: what an answer costs, and the noise that it leaves with.

accounting   what answers cost together, exactly: μ, and ε for a δ
price_list   the questions of a plan with a budget, each with its sensitivity, its noise and its price
noise        the noise itself: integers that a site adds to an answer before the mask
account      what a site has spent; nothing leaves before it is written down
feasibility  whether a budget leaves anything to learn
"""

from common.privacy.account import Account, AccountInMemory
from common.privacy.accounting import delta, epsilon, mu, mu_of
from common.privacy.price_list import Price, Schedule, is_noised, schedule_of

__all__ = [
    "Account",
    "AccountInMemory",
    "Price",
    "Schedule",
    "delta",
    "epsilon",
    "is_noised",
    "mu",
    "mu_of",
    "schedule_of",
]

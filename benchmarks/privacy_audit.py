"""How much of a claimed ε an attacker can show: a lower bound from canaries, through the noise as sites really add it.

    python benchmarks/privacy_audit.py                  200 runs at ε 1, 3 and 8, without noise, and with planted faults
    python benchmarks/privacy_audit.py --runs 20        sooner, and looser

A hundred canaries are patients as bad as can be: each moves every question by its whole sensitivity, along a direction
of its own. A coin decides for each whether it is in the data. The attacker sees every noised sum, knows what the other
patients sum to, and is in league with as many sites as the schedule allows for, whose noise it takes off; as few other
sites as a sum may have are there. It weighs each question as the best test does, and says "in" above the middle.

From its errors, with Clopper and Pearson's bounds at 99.9 % together, follows a μ that cannot be smaller, and an ε
(Gaussian differential privacy as in Nasr et al., USENIX Security 2023). A right build stays under its claim but once in
a thousand; with the noise off the bound is far above, so the audit can fail; and faults that were planted are found.
The same of a network (`benchmarks/network_canaries.py`). The last line is JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
from scipy.stats import beta, norm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import network_canaries
from client.training import noised_answer
from common.messages.transport import Request
from common.privacy.account import AccountInMemory
from common.privacy.accounting import epsilon, mu
from common.privacy.price_list import FRACTION_BITS, NOISED, Price, SampledSteps, Schedule, schedule_of
from common.secagg.fixedpoint import Layout, Segment
from common.secagg.key_period_plan import threshold

CANARIES, DIMENSION, SITES, DELTA = 100, 101, 5, 1e-5
ERROR = 0.001
"""Of a lower bound that is too high."""
BUDGETS = (1.0, 3.0, 8.0)


@dataclass(frozen=True)
class Bound:
    """What the attacker's errors prove."""

    false_alarms: float
    misses: float
    mu: float
    epsilon: float


def audit(schedule: Schedule, runs: int, rng: np.random.Generator, *, silent: frozenset[int] = frozenset()) -> Bound:
    """The lower bound of so many runs.

    Args:
        schedule: what sites add noise by.
        silent: sites whose noise is missing, though they should add it.
    """
    wrong, many = np.zeros(2), np.zeros(2)
    for _ in range(runs):
        is_in = rng.random(CANARIES) < 0.5
        score, middle = np.zeros(CANARIES), 0.0
        for price in (p for p in schedule.prices if p.part == "training"):
            claimed = CLAIMS[schedule.epsilon][price.question]
            seen = _seen(schedule, price, is_in, silent)
            # What the best test between N(0, σ²) and N(Δ, σ²) adds up over questions: Δ x / σ², its middle Δ²/2σ².
            score += claimed.sensitivity * seen / claimed.sigma**2
            middle += claimed.squared_mu / 2
        says_in = score > middle
        wrong += [(says_in & ~is_in).sum(), (~says_in & is_in).sum()]
        many += [(~is_in).sum(), is_in.sum()]
    return _bound(wrong, many, schedule.delta)


def audit_network(schedule: Schedule, runs: int, rng: np.random.Generator, steps: SampledSteps | None = None) -> Bound:
    """The lower bound of so many runs of a network.

    Args:
        steps: what sites do; None: as the schedule says.
    """
    claim, found, was_in = schedule.steps, [], []
    assert claim is not None
    for _ in range(runs):
        is_in = rng.random(CANARIES) < 0.5
        found.append(network_canaries.scores(steps or claim, claim, is_in))
        was_in.append(is_in)
    score, is_in = np.concatenate(found), np.concatenate(was_in)
    # The middle of the two is the attacker's threshold; half of the canaries, whom the rest does not judge, place it.
    half = len(score) // 2
    middle = (score[:half][is_in[:half]].mean() + score[:half][~is_in[:half]].mean()) / 2
    says_in, truth = score[half:] > middle, is_in[half:]
    wrong = np.array([(says_in & ~truth).sum(), (~says_in & truth).sum()])
    return _bound(wrong, np.array([(~truth).sum(), truth.sum()]), schedule.delta)


def _bound(wrong: np.ndarray, many: np.ndarray, delta: float) -> Bound:
    # Each of the two rates is below its bound but for half of the error.
    above = [float(beta.ppf(1 - ERROR / 2, k + 1, n - k)) for k, n in zip(wrong, many, strict=True)]
    least = max(0.0, float(-norm.ppf(above[0]) - norm.ppf(above[1])))
    return Bound(wrong[0] / many[0], wrong[1] / many[1], least, epsilon(least, delta))


def _seen(schedule: Schedule, price: Price, is_in: np.ndarray, silent: frozenset[int]) -> np.ndarray:
    """One question: each canary's number in the sum; rounding is in the price."""
    return noised_sum(schedule, price, price.sensitivity * is_in, silent)


def noised_sum(schedule: Schedule, price: Price, exact: np.ndarray, silent: frozenset[int] = frozenset()) -> np.ndarray:
    """What is left of a sum to who is in league with as many sites as may be, where as few others as may be are there.

    Args:
        exact: float64[numbers]. It is all at the first honest site: wherever it is, the sum is the same.
    """
    layout = Layout((Segment("x", exact.shape, 1e6, FRACTION_BITS),), 64)
    kind, _, round = price.question.partition("/")
    request, total = Request(NOISED + kind, int(round)), np.zeros(exact.size, np.uint64)
    for site in range(schedule.quorum - schedule.colluders):
        words = layout.encode({"x": exact * (site == 0)}, 1.0, bytes(32))
        if site not in silent:
            noised_answer.add_noise(words, request, schedule, AccountInMemory(1e4, DELTA))
        total += words
    return layout.decode(total)["x"]


def plan(budget: float, dimension: int = DIMENSION) -> Schedule:
    """A head's schedule at five sites."""
    return schedule_of((budget, DELTA, "patient"), sites=SITES, quorum=threshold(SITES), dimension=dimension)


def network_plan(budget: float) -> Schedule:
    """A network's schedule at five sites."""
    return network_canaries.plan(budget, DELTA, SITES, threshold(SITES), CANARIES)


CLAIMS = {budget: {price.question: price for price in plan(budget).prices} for budget in BUDGETS}


class SharesOfAll(Schedule):
    """A fault: each site adds σ²/n, as if everybody were there and honest."""

    def share_variance(self, price: Price) -> float:
        """Too little."""
        return price.sigma**2 / self.sites


def without_root(schedule: Schedule) -> Schedule:
    """A fault: twenty gradients, each with the noise of one alone, which forgets √20."""
    prices = [
        replace(price, sigma=price.sigma / np.sqrt(20)) if price.question.startswith("gradient") else price
        for price in schedule.prices
    ]
    return replace(schedule, prices=tuple(prices))


@contextmanager
def no_noise() -> Iterator[None]:
    """As if the noise were switched off."""
    with mock.patch.object(noised_answer, "add_noise", return_value=None):
        yield


FAULTS: dict[str, Callable[[Schedule], tuple[Schedule, frozenset[int]]]] = {
    "one share only": lambda schedule: (schedule, frozenset(range(1, SITES))),
    "σ not times √T": lambda schedule: (without_root(schedule), frozenset()),
    "shares of n": lambda schedule: (SharesOfAll(**vars(schedule)), frozenset()),
}
BUDGET_OF_FAULTS = 3.0


def main() -> None:
    """All audits, a line each; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    rng, started_s = np.random.default_rng(16), time.monotonic()
    print(f"{CANARIES} canaries, {runs} runs, {SITES} sites, δ {DELTA:g}; confidence {1 - ERROR:.1%}")
    bounds = {budget: audit(plan(budget), runs, rng) for budget in BUDGETS}
    for budget, bound in bounds.items():
        claimed = mu(p.squared_mu for p in plan(budget).prices if p.part == "training")
        print(f"ε {budget:g} (μ {claimed:.3f}): at least ε {bound.epsilon:.2f} (μ {bound.mu:.3f}), false alarms "
              f"{bound.false_alarms:.4f}, misses {bound.misses:.4f}", flush=True)  # fmt: skip
    with no_noise():
        silent = audit(plan(BUDGET_OF_FAULTS), runs, rng)
    print(f"noise off: at least ε {silent.epsilon:.1f}", flush=True)
    faults = {}
    for name, plant in FAULTS.items():
        schedule, without = plant(plan(BUDGET_OF_FAULTS))
        faults[name] = audit(schedule, runs, rng, silent=without).epsilon
        print(f"{name}, at a claim of ε {BUDGET_OF_FAULTS:g}: at least ε {faults[name]:.2f}", flush=True)
    network = {budget: audit_network(network_plan(budget), runs, rng) for budget in BUDGETS}
    for budget, bound in network.items():
        print(f"network, ε {budget:g}: at least ε {bound.epsilon:.2f}, false alarms {bound.false_alarms:.4f}, misses "
              f"{bound.misses:.4f}", flush=True)  # fmt: skip
    claim, network_faults = network_plan(BUDGET_OF_FAULTS), {}
    assert claim.steps is not None
    bare = audit_network(claim, runs, rng, replace(claim.steps, sigma=0.0)).epsilon
    for name, (change, plant_fault) in network_canaries.FAULTS.items():
        with plant_fault():
            network_faults[name] = audit_network(claim, runs, rng, change(claim.steps)).epsilon
        print(
            f"network, {name}, at a claim of ε {BUDGET_OF_FAULTS:g}: at least ε {network_faults[name]:.2f}", flush=True
        )
    print(f"{time.monotonic() - started_s:.0f} s")
    print(json.dumps({
        "claimed": list(BUDGETS), "lower_bound": [round(bounds[b].epsilon, 3) for b in BUDGETS],
        "lower_bound_without_noise": round(silent.epsilon, 2), "faults_at": BUDGET_OF_FAULTS,
        "faults": {name: round(value, 3) for name, value in faults.items()},
        "network_lower_bound": [round(network[b].epsilon, 3) for b in BUDGETS],
        "network_lower_bound_without_noise": round(bare, 2),
        "network_faults": {name: round(value, 3) for name, value in network_faults.items()},
    }, ensure_ascii=False))  # fmt: skip


if __name__ == "__main__":
    main()

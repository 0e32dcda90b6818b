"""What answers cost together: known answers, and Google's accountant over random schedules."""

import math
import warnings

import numpy as np
import pytest

from common.privacy.accounting import delta, epsilon, mu, mu_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from absl import logging as absl_logging
    from dp_accounting import dp_event, rdp
    from dp_accounting.pld import privacy_loss_distribution as pld

absl_logging.set_verbosity(absl_logging.ERROR)

KNOWN = [
    ([1.0], 1e-5, 4.377178),
    ([2.0] * 10, 1e-5, 7.511276),
    ([10.0] * 20, 1e-5, 1.760057),
    ([5.0] + [8.0] * 10, 1e-5, 1.741629),
    ([3.0, 4.0, 12.0], 1e-4, 1.410089),
    ([40.0] * 5, 1e-6, 0.213171),
]


@pytest.mark.parametrize(("sigmas", "at", "answer"), KNOWN)
def test_a_schedule_costs_what_is_known(sigmas: list[float], at: float, answer: float) -> None:
    assert epsilon(mu(1 / s**2 for s in sigmas), at) == pytest.approx(answer, abs=6e-7)


@pytest.mark.parametrize("chance", [0, *(pytest.param(chance, marks=pytest.mark.slow) for chance in range(1, 10))])
def test_random_schedules_cost_what_another_accountant_says_to_a_thousandth_and_never_less(
    chance: int,
) -> None:
    rng = np.random.default_rng([16, chance])
    for _ in range(20):
        groups = [(float(np.exp(rng.uniform(0.3, 3))), int(rng.integers(1, 12))) for _ in range(rng.integers(1, 4))]
        at, squares = float(10.0 ** rng.uniform(-8, -3)), [1 / s**2 for s, many in groups for _ in range(many)]
        low, high = (_reference(groups, at, pessimistic=pessimistic) for pessimistic in (False, True))
        ours = epsilon(mu(squares), at)
        assert low <= ours <= high <= ours * 1.001 + 1e-6, (groups, at)


def _reference(groups: list[tuple[float, int]], at: float, *, pessimistic: bool) -> float:
    """ε by discretised privacy losses, each answer's composed with the others': from below, or from above."""
    total = None
    for sigma, many in groups:
        one = pld.from_gaussian_mechanism(
            sigma, value_discretization_interval=5e-4, pessimistic_estimate=pessimistic, use_connect_dots=pessimistic
        ).self_compose(many)
        total = one if total is None else total.compose(one)
    assert total is not None
    return float(total.get_epsilon_for_delta(at))


def test_renyi_accounting_bounds_the_same_schedule_and_is_dearer() -> None:
    accountant = rdp.RdpAccountant(orders=np.concatenate([np.linspace(1.1, 20, 190), np.arange(21, 257)]))
    accountant.compose(dp_event.GaussianDpEvent(10.0), 20)
    ours = epsilon(mu([0.01] * 20), 1e-5)
    assert ours < accountant.get_epsilon(1e-5) < 1.2 * ours


@pytest.mark.parametrize("at", [1e-3, 1e-5, 1e-10, 1e-30, 1e-200])
@pytest.mark.parametrize("value", [1e-3, 0.1, 1.0, 7.0, 60.0])
def test_mu_epsilon_and_delta_are_each_others_inverse_far_into_the_tails(value: float, at: float) -> None:
    cost = epsilon(value, at)
    if cost == 0:
        assert delta(value, 0.0) <= at
        return
    assert delta(value, cost) <= at
    assert delta(value, cost) == pytest.approx(at, rel=1e-6)
    assert mu_of(cost, at) == pytest.approx(value, rel=1e-7)


def test_a_budget_is_rounded_to_the_safe_side() -> None:
    for wanted in (0.2, 1.0, 3.0, 8.0):
        assert delta(mu_of(wanted, 1e-5), wanted) <= 1e-5
        assert epsilon(mu_of(wanted, 1e-5), 1e-5) <= wanted


def test_delta_agrees_with_arithmetic_of_fifty_digits() -> None:
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        for value in (0.01, 0.3, 1.0, 5.0, 40.0):
            for at in (0.0, 0.5, 3.0, 20.0):
                m, e = mpmath.mpf(value), mpmath.mpf(at)
                exact = mpmath.ncdf(-e / m + m / 2) - mpmath.exp(e) * mpmath.ncdf(-e / m - m / 2)
                if exact > 1e-290:
                    assert math.isclose(delta(value, at), float(exact), rel_tol=1e-9), (value, at)


@pytest.mark.parametrize(
    "call",
    [
        lambda: delta(-1.0, 1.0), lambda: delta(1.0, -1.0), lambda: delta(math.nan, 1.0), lambda: epsilon(1.0, 0.0),
        lambda: epsilon(1.0, 1.0), lambda: epsilon(math.inf, 1e-5), lambda: mu_of(0.0, 1e-5), lambda: mu_of(1.0, 2.0),
    ],
)  # fmt: skip
def test_what_is_no_budget_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()  # type: ignore[operator]

"""What a plan with a budget asks: prices that add up to it, and noise that holds against every coalition."""

import itertools
import math

import pytest

from common.errors import PolicyError
from common.privacy.account import AccountInMemory
from common.privacy.accounting import epsilon, mu, mu_of
from common.privacy.feasibility import doubt_of, least_epsilon
from common.privacy.price_list import GRID, LEAST_STEPS, Schedule, price_of, schedule_of
from common.secagg.key_period_plan import colluders, threshold


def schedule(budget: float = 3.0, *, sites: int = 5, dimension: int = 153, outcomes: int = 20) -> Schedule:
    return schedule_of(
        (budget, 1e-5, "patient"), sites=sites, quorum=threshold(sites), dimension=dimension, outcomes=(outcomes, 1.0)
    )


@pytest.mark.parametrize("dimension", [3, 153, 785, 5000])
@pytest.mark.parametrize("budget", [0.3, 1.0, 3.0, 8.0])
def test_the_prices_of_a_plan_are_its_budget_and_no_more(budget: float, dimension: int) -> None:
    plan = schedule(budget, dimension=dimension)
    for part in ("training", "validation"):
        spent = epsilon(mu(price.squared_mu for price in plan.prices if price.part == part), 1e-5)
        assert budget * (1 - 1e-9) < spent <= budget * (1 + 1e-12)
    assert [price.question for price in plan.prices][:2] == ["mean/0", "gram/1" if dimension < 1200 else "gradient/1"]


def test_every_price_is_that_of_noise_which_is_discrete_and_of_a_sum_that_is_rounded() -> None:
    for price in schedule().prices:
        assert price.squared_mu == pytest.approx(price.sensitivity**2 / (price.sigma**2 - 10 * GRID**2))
        assert price.sensitivity > (0.5 if price.question.startswith("gradient") else 1.0)


@pytest.mark.parametrize("sites", range(3, 21))
def test_what_is_left_over_after_any_legal_dropout_and_any_coalition_is_never_below_what_was_promised(
    sites: int,
) -> None:
    plan = schedule(sites=sites)
    price = plan.prices[0]
    least = plan.share_variance(price) * min(
        survivors - lying
        for survivors, lying in itertools.product(range(plan.quorum, sites + 1), range(plan.colluders + 1))
    )
    assert least >= price.sigma**2 * (1 - 1e-12)
    assert plan.colluders >= max(1, colluders(sites))
    assert plan.variance(price, sites) <= 3 * price.sigma**2


def test_with_all_sites_there_the_noise_is_as_much_more_as_it_must_be() -> None:
    ratios = {n: math.sqrt(schedule(sites=n).variance(p := schedule(sites=n).prices[0], n)) / p.sigma for n in (5, 10)}
    assert ratios == pytest.approx({5: 1.29, 10: 1.58}, abs=0.005)


def test_a_budget_so_large_that_noise_falls_below_the_grid_is_refused() -> None:
    with pytest.raises(PolicyError, match=f"expected {LEAST_STEPS} at least"):
        price_of("mean/0", 1.0, 1, (1 / (99 * GRID)) ** 2)


def test_sums_that_colluders_could_make_alone_are_refused() -> None:
    with pytest.raises(PolicyError, match="may know each other's noise"):
        schedule_of((3.0, 1e-5, "image"), sites=5, quorum=1, dimension=9)


def test_a_budget_that_cannot_train_is_told_with_one_that_could() -> None:
    hopeless = schedule(0.05)
    said = doubt_of(hopeless, 500, 153)
    assert "drowns the signal" in said
    enough = least_epsilon(hopeless, 500, 153)
    assert f"From ε {enough:.2g} on" in said
    assert not doubt_of(schedule(enough * 1.01), 500, 153)
    assert doubt_of(schedule(enough * 0.99), 500, 153)
    assert not doubt_of(schedule(1.0), 5000, 153)


def test_an_account_takes_a_plan_to_its_last_question_and_not_one_more() -> None:
    plan, account = schedule(), AccountInMemory(3.0, 1e-5)
    for price in plan.prices:
        account.spend(price)
    assert account.cost("training") == pytest.approx(3.0)
    assert account.cost("validation") == pytest.approx(3.0)
    for price in (plan.prices[5], plan.prices[-1]):
        with pytest.raises(PolicyError, match=r"over the|budget is 3\. Nothing was sent"):
            account.spend(price)
    assert len(account.entries) == len(plan.prices)


def test_a_question_that_the_plan_does_not_ask_has_no_price() -> None:
    with pytest.raises(PolicyError, match="no question of a plan"):
        schedule().price("gram", 7)
    assert schedule().price("gradient", 4).squared_mu == pytest.approx(0.63 * mu_of(3.0, 1e-5) ** 2 / 20)

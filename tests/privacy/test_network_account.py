"""What a network's training costs: all sampled steps together, once, in the account of a hospital."""

import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError, PolicyError
from common.privacy import Price, mu_of
from common.privacy.accounting import Cost, delta, without_tail
from common.privacy.network_prices import RATE, network_schedule, noise_for
from common.privacy.price_list import Schedule, together
from tests.privacy.hospital_account import PLAN, Hospital

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dp_accounting.pld import privacy_loss_distribution as pld


def schedule(epsilon: float = 3.0, rounds: int = 3, steps: int = 4) -> Schedule:
    return network_schedule(
        (epsilon, 1e-5, "patient"), sites=5, quorum=4, weights=1000, rounds=rounds, steps=steps, classes=2,
        outcomes=(20, 1.0),
    )  # fmt: skip


def answers(plan: Schedule) -> list[Price]:
    return [price for price in plan.prices if price.part == "training"]


@pytest.fixture
def lisbon(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path / "lisbon")


@pytest.mark.parametrize("epsilon", [1.0, pytest.param(8.0, marks=pytest.mark.slow)])
def test_all_steps_and_the_count_together_cost_the_budget_by_another_accounts_arithmetic(epsilon: float) -> None:
    plan = schedule(epsilon)
    count, train = plan.of_kind("count"), plan.of_kind("train")
    assert together(answers(plan)).epsilon(1e-5) == pytest.approx(epsilon)
    one = pld.from_gaussian_mechanism(
        train.sigma / train.sensitivity, sampling_prob=RATE, value_discretization_interval=2e-4
    )
    all_of_it = one.self_compose(8).compose(
        pld.from_gaussian_mechanism(count.sigma / count.sensitivity, value_discretization_interval=2e-4)
    )
    assert 0.95 * epsilon < all_of_it.get_epsilon_for_delta(1e-5) <= epsilon


def test_sampled_steps_are_below_the_curve_of_their_mu_at_every_epsilon_and_with_less_noise_they_are_not() -> None:
    noise, mu, tail = noise_for(0.25, 12, 0.7, 1e-6), 0.7, 1e-6
    for factor, is_below in ((1.0, True), (0.98, False)):
        curve = pld.from_gaussian_mechanism(
            noise * factor, sampling_prob=0.25, value_discretization_interval=2e-4
        ).self_compose(12)
        at = np.linspace(0, 8, 161)
        most = np.array([tail + (1 - tail) * delta(mu, epsilon) for epsilon in at])
        assert bool((np.array(curve.get_delta_for_epsilon(at)) <= most).all()) is is_below


def test_a_cost_and_a_tail_are_a_budget_only_together() -> None:
    cost = Cost(mu_of(3.0, without_tail(1e-5, 1e-6)) ** 2, 1e-6)
    assert cost.epsilon(1e-5) == pytest.approx(3.0)
    assert cost.fits(3.0, 1e-5, 1e-9)
    assert not replace(cost, tail=2e-6).fits(3.0, 1e-5, 1e-9)
    assert replace(cost, tail=1e-5).epsilon(1e-5) == math.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [({"epsilon": 90.0}, "expected 0.5 at least"), ({"rounds": 1}, "0 steps"), ({"steps": 9999}, "steps in all")],
)
def test_steps_that_no_noise_can_be_found_for_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises((PolicyError, ConfigError), match=message):
        schedule(**change)  # type: ignore[arg-type]


def test_a_hospital_pays_for_all_rounds_with_the_first_and_for_each_round_once(lisbon: Hospital) -> None:
    plan, account = schedule(), lisbon.account(lisbon.people("abc"))
    count, *rounds = answers(plan)
    account.refuse_whole(plan.prices)
    account.spend(count)
    account.spend(rounds[1])
    account.spend(rounds[0])
    lines = lisbon.lines()
    assert [line.squared_mu for line in lines] == [count.squared_mu, rounds[0].squared_mu, 0.0]
    assert [line.tail for line in lines] == [0.0, pytest.approx(1e-6), 0.0]
    assert lisbon.heard[-1].tails == {lines[0].patients: pytest.approx(1e-6)}
    with pytest.raises(PolicyError, match="is for each once"):
        account.spend(rounds[0])
    assert len(lisbon.lines()) == 3
    lisbon.home.log.verify()


def test_a_tail_is_taken_off_the_delta_of_all_later_plans(lisbon: Hospital) -> None:
    lisbon.allow(4.0)
    people, plan = lisbon.people("abc"), schedule()
    for price in answers(plan):
        lisbon.account(people).spend(price)
    rest = lisbon.heard[-1].rest["chest"].rest
    fits = Cost(mu_of(rest, 1e-5) ** 2 + together(answers(plan)).squared_mu, 1e-6)
    assert fits.epsilon(1e-5) == pytest.approx(4.0)
    other = lisbon.account(people, "cd" * 32, epsilon=4.0)
    with pytest.raises(PolicyError, match="the budget of this hospital"):
        other.spend(Price("gradient/1", 0.5, 1.0, mu_of(rest, 1e-5) ** 2 * 1.001))
    other.spend(Price("gradient/1", 0.5, 1.0, mu_of(rest, 1e-5) ** 2))


def test_the_plan_that_a_refusal_says_would_fit_does_and_a_larger_one_does_not(lisbon: Hospital) -> None:
    lisbon.allow(4.0)
    people = lisbon.people("abc")
    for price in answers(schedule()):
        lisbon.account(people).spend(price)
    other = lisbon.account(people, "cd" * 32, epsilon=4.0)
    with pytest.raises(PolicyError, match=r"a plan of at most that fits") as refused:
        other.refuse_whole(answers(schedule()))
    left = float(str(refused.value).partition(" is left")[0].rpartition("ε ")[2])
    with pytest.raises(PolicyError, match="would bring"):
        other.refuse_whole(answers(schedule(left + 0.002)))
    other.refuse_whole(answers(schedule(left - 0.001)))


def test_patients_that_came_after_the_first_round_are_paid_for_again(lisbon: Hospital) -> None:
    lisbon.allow(9.0)
    _, first, second = answers(schedule())
    lisbon.account(lisbon.people("abc"), epsilon=9.0).spend(first)
    lisbon.account(lisbon.people("abcd"), epsilon=9.0).spend(second)
    assert [line.squared_mu for line in lisbon.lines()] == [first.squared_mu] * 2
    assert lisbon.lines()[0].digest == PLAN


def test_for_each_image_a_network_is_not_trained_where_patients_have_several(lisbon: Hospital) -> None:
    two = lisbon.account(lisbon.people("abc", each=2), unit="image")
    with pytest.raises(PolicyError, match=r"Ask for a plan with privacy\.of: patient"):
        two.spend(answers(schedule())[1])
    assert not lisbon.lines()


def test_a_line_without_a_tail_is_written_as_ever(lisbon: Hospital) -> None:
    lisbon.account(lisbon.people("abc")).spend(answers(schedule())[0])
    assert b"tail" not in (lisbon.home.folder / "privacy" / "ledger").read_bytes()

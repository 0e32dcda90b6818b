"""The audit of benchmarks/privacy_audit.py, shorter: a right build is under its claim, and the audit can fail.

A bound too high is as rare as one run in a thousand; here in a hundred thousand.
"""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import network_canaries, privacy_audit
from benchmarks.privacy_audit import FAULTS, audit, audit_network, network_plan, no_noise, plan

RUNS = 30


@pytest.fixture(autouse=True)
def surer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy_audit, "ERROR", 1e-5)


@pytest.mark.parametrize("budget", [1.0, 3.0, 8.0])
def test_what_an_attacker_can_show_is_under_the_claim_and_not_nothing(budget: float) -> None:
    bound = audit(plan(budget), RUNS, np.random.default_rng(int(budget)))
    assert 0.3 * budget * (budget > 1) <= bound.epsilon < budget


def test_without_noise_the_same_attacker_shows_far_more() -> None:
    with no_noise():
        bound = audit(plan(3.0), RUNS, np.random.default_rng(1))
    assert bound.epsilon > 20
    assert bound.misses == bound.false_alarms == 0


@pytest.mark.parametrize("fault", ["one share only", "σ not times √T"])
def test_a_fault_that_was_planted_is_found(fault: str) -> None:
    schedule, silent = FAULTS[fault](plan(3.0))
    assert audit(schedule, RUNS, np.random.default_rng(2), silent=silent).epsilon > 3.0


@pytest.mark.parametrize("budget", [3.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_what_an_attacker_can_show_of_a_networks_steps_is_under_the_claim(budget: float) -> None:
    bound = audit_network(network_plan(budget), RUNS, np.random.default_rng(int(budget)))
    assert bound.epsilon < budget  # that the attacker is strong, the next two tests show


def test_without_noise_in_a_networks_steps_the_same_attacker_shows_far_more() -> None:
    schedule = network_plan(3.0)
    assert schedule.steps is not None
    bound = audit_network(schedule, RUNS, np.random.default_rng(1), replace(schedule.steps, sigma=0.0))
    assert bound.epsilon > 20


@pytest.mark.parametrize("fault", network_canaries.FAULTS)
def test_a_fault_that_was_planted_in_a_networks_steps_is_found(fault: str) -> None:
    schedule, (change, plant) = network_plan(3.0), network_canaries.FAULTS[fault]
    assert schedule.steps is not None
    with plant():
        bound = audit_network(schedule, RUNS, np.random.default_rng(2), change(schedule.steps))
    assert bound.epsilon > 3.0

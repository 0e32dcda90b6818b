"""A site keeps of its own model what its validation cases speak for, and nothing where they cannot speak."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from client.training.personalise import SHARES, Mix, choose_mix
from common.metrics import performance


def logits(seed: int, labels: np.ndarray, strength: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(size=(len(labels), 2)) + strength * np.eye(2)[labels]).astype(np.float32)


@given(st.integers(0, 999), st.floats(-1, 3), st.floats(-1, 3))
def test_no_other_share_has_a_lower_loss_on_validation(seed: int, own: float, common: float) -> None:
    labels = np.arange(40) % 2
    one, other = logits(seed, labels, own), logits(seed + 1, labels, common)
    chosen = choose_mix(one, other, labels)
    losses = {share: performance.log_losses(Mix(share)(one, other), labels).mean() for share in SHARES}
    assert losses[chosen.own_share] == min(losses.values())


def test_the_better_model_gets_the_greater_share() -> None:
    labels = np.arange(60) % 2
    good, bad = logits(1, labels, 4.0), logits(2, labels, -4.0)
    assert choose_mix(good, bad, labels).own_share == 1.0
    assert choose_mix(bad, good, labels).own_share == 0.0


def test_a_site_with_hardly_a_case_of_a_class_keeps_the_federated_model() -> None:
    for positives in (0, 1, 4):
        labels = np.array([1] * positives + [0] * 40)
        assert choose_mix(logits(1, labels, 4.0), logits(2, labels, -4.0), labels).own_share == 0.0
    assert (
        choose_mix(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), np.zeros(0, np.int64)).own_share == 0.0
    )

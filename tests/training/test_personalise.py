"""A site keeps of its own model what its validation cases speak for, with few cases a little of each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.training.personalise import RIDGES, Blend, Scored, choose_blend, heads_near, intercepts
from common.config import Local, Svm
from common.metrics import performance
from common.models import Work
from common.models.svm import LinearSvm
from common.types import Cases

NAMES = ("healthy", "ill")


def logits(seed: int, labels: np.ndarray, strength: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(size=(len(labels), 2)) + strength * np.eye(2)[labels]).astype(np.float32)


def blend_of(labels: np.ndarray, own: float, common: float, train: np.ndarray | None = None) -> Blend:
    train = np.arange(50) % 2 if train is None else train
    validation = Scored({"own": logits(1, labels, own), "federated": logits(2, labels, common)}, labels)
    return choose_blend(Scored({"federated": logits(3, train, common)}, train), validation, NAMES)


def test_the_better_model_gets_the_greater_share() -> None:
    labels = np.arange(60) % 2
    assert blend_of(labels, 4.0, -4.0).own_share > 0.95
    assert blend_of(labels, -4.0, 4.0).own_share < 0.05
    assert 0.2 < blend_of(labels, 2.0, 2.0).own_share < 0.8


def test_few_cases_leave_the_share_near_the_middle_and_more_move_it_on() -> None:
    shares = [blend_of(np.arange(n) % 2, 2.0, -1.0).own_share for n in (2, 8, 60)]
    assert 0.5 < shares[0] < shares[1] < shares[2]


@given(st.integers(2, 40), st.floats(-1, 3), st.floats(-1, 3))
def test_a_blend_is_no_worse_on_validation_than_the_worse_of_the_two(n: int, own: float, common: float) -> None:
    losses = blend_of(np.arange(n) % 2, own, common).log_losses
    assert losses["personalised"] <= max(losses["own"], losses["federated"]) + 0.7  # halved logits say less


@pytest.mark.parametrize("positives", [1, 2, 4])
def test_one_case_of_a_class_is_enough_to_choose_by(positives: int) -> None:
    labels = np.array([1] * positives + [0] * 40)
    blend = blend_of(labels, 4.0, -4.0, labels)
    assert blend.own_share > 0.8
    assert "own" in blend.reason
    assert not blend.is_unchanged


@pytest.mark.parametrize(("train", "validation", "part"), [
    ([0] * 20, [0, 1, 0, 1], "no training case of ill"),
    ([0, 1] * 10, [0, 0, 0], "no validation case of ill"),
    ([0, 1] * 10, [], "no validation case of healthy, ill"),
])  # fmt: skip
def test_where_a_class_is_missing_the_federated_model_stays_and_the_reason_is_said(
    train: list[int], validation: list[int], part: str
) -> None:
    blend = blend_of(np.array(validation, np.int64), 4.0, -4.0, np.array(train, np.int64))
    assert blend.parts == {"federated": 1.0}
    assert blend.own_share == 0
    assert part in blend.reason
    same = blend({"federated": logits(2, np.array([0, 1]), 1.0)})
    assert (np.argsort(same[:, 1] - same[:, 0]) == np.argsort(np.diff(logits(2, np.array([0, 1]), 1.0))[:, 0])).all()


@given(st.integers(0, 99), st.integers(2, 4), st.floats(0.02, 0.9))
def test_moved_intercepts_predict_as_many_of_each_class_as_there_are(seed: int, classes: int, first: float) -> None:
    random = np.random.default_rng(seed)
    labels = np.where(random.random(200) < first, 0, random.integers(1, classes, 200))
    z = random.normal(size=(200, classes))
    p = np.exp(z + intercepts(z, labels))
    shares = (np.bincount(labels, minlength=classes) + 0.5) / (200 + 0.5 * classes)
    np.testing.assert_allclose((p / p.sum(axis=1, keepdims=True)).mean(axis=0), shares, atol=1e-6)


def test_a_site_of_another_prevalence_has_its_probabilities_moved() -> None:
    random = np.random.default_rng(4)
    labels = (random.random(400) < 0.05).astype(np.int64)
    common = logits(5, labels, 2.0) + np.array([0, 3], np.float32)  # trained where half are ill
    half = Scored({"federated": common[:200], "own": 0 * common[:200]}, labels[:200])
    blend = choose_blend(Scored({"federated": common[200:]}, labels[200:]), half, NAMES)
    assert blend.log_losses["personalised"] < 0.5 * blend.log_losses["federated"]


@pytest.mark.parametrize(("loss", "classes"), [("logistic", 2), ("squared_hinge", 3)])
def test_heads_lie_between_the_own_and_the_federated_one_and_are_its_optimum(loss: str, classes: int) -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, classes, 60)
    images = (random.normal(size=(60, 1, 1, 8)) + np.eye(8)[labels][:, None, None]).astype(np.float32)
    model = LinearSvm(Svm(kind="svm", loss=loss, C=0.3), (1, 1, 8), classes)
    federated = {"alpha": random.normal(size=(model.rows, 8)), "intercept": random.normal(size=model.rows)}
    heads = heads_near(model, federated, Cases(images, labels))
    away = {name: np.square(head["alpha"] - federated["alpha"]).sum() for name, head in heads.items()}
    assert set(heads) == set(RIDGES)
    assert 0 < away["tight"] < away["loose"]
    slope = model.gradient(heads["loose"], Cases(images, labels))["gradient"][:, :-1] * 0.3 / RIDGES["loose"]
    np.testing.assert_allclose(slope + heads["loose"]["alpha"] - federated["alpha"], 0, atol=2e-3)


def test_logistic_scores_are_log_odds() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 2, 400)
    images = (random.normal(size=(400, 1, 1, 2)) + labels[:, None, None, None]).astype(np.float32)
    model = LinearSvm(Svm(kind="svm", loss="logistic", C=100.0), (1, 1, 2), 2)
    scores = model.scores(model.fit({}, Cases(images, labels), Work(Local(), 0.0, 1)).weights, images)
    sure = 1 / (1 + np.exp(-performance.margins(scores)[:, 0]))
    assert abs(sure.mean() - labels.mean()) < 0.01  # as unpenalised maximum likelihood has it
    assert performance.log_losses(scores, labels).mean() < performance.log_losses(2 * scores, labels).mean()

"""Losses, weights by class and a choice of C: federated, pooled and by scikit-learn."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from benchmarks.svm_images import Watched, lines
from client.training.personalise import heads_near
from client.training.site import Site
from client.training.solved_alone import solve_alone
from common.algorithms.course import Course
from common.config import Config, Local, Svm
from common.errors import PolicyError, WireError
from common.image_stack import join
from common.imaging import Pipeline
from common.messages.transport import InMemory, Request
from common.metrics import performance
from common.models.svm import LinearSvm
from common.types import Cases, SiteCases, Tensors
from server.report import sentences
from server.results.result_json import kept_strength
from server.rounds import loop
from server.rounds.aggregation import PlainSum
from server.rounds.loop import LoopState
from server.rounds.transcripts import Transcripts
from tests.rounds.world import World

SHAPE = (1, 1, 12)
CLASSES = 3


def config(model: dict[str, Any], **federation: Any) -> Config:
    return Config.model_validate({
        "name": "heads", "data": {"kind": "synthetic", "sites": 4}, "sites": {"split": "natural"},
        "model": {"kind": "svm", "tolerance": 1e-6, **model}, "federation": {"rounds": 300, **federation},
    })  # fmt: skip


def cases_of(n: int, seed: int, classes: int = CLASSES) -> Cases:
    """Classes of unequal size that overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    centres = np.random.default_rng(1).normal(size=(classes, 12)) * 0.7
    return Cases((rng.normal(size=(n, 12)) + centres[labels]).astype(np.float32).reshape(n, *SHAPE), labels)


class Federation:
    """Four sites of one configuration, in the clear."""

    def __init__(self, told: Config, classes: int = CLASSES, sizes: tuple[int, ...] = (90, 60, 40, 30)) -> None:
        self.told, self.model = told, LinearSvm(told.model_for(1), SHAPE, classes)
        train = [cases_of(n, i, classes) for i, n in enumerate(sizes)]
        judge = [cases_of(60, 50 + i, classes) for i in range(len(sizes))]
        self.parts = [SiteCases(f"s{i}", t, v, v) for i, (t, v) in enumerate(zip(train, judge, strict=True))]
        self.pooled = SiteCases("pooled", join(train), join(judge), join(judge))

    def site(self, cases: SiteCases) -> Site:
        return Site(cases, Pipeline(), self.model, Local(), least_active=1)

    def train(self) -> LoopState:
        way = InMemory({cases.name: self.site(cases).answer for cases in self.parts})
        return list(loop.run(Course.of(self.told, self.model, 1, way.sites()), PlainSum(way)))[-1]

    def alone(self) -> tuple[Tensors, Tensors]:
        """All cases in one place, by scikit-learn."""
        return solve_alone(self.site(self.pooled), Course.of(self.told, self.model, 1, ("pooled",)), {})


def rows_of(weights: Tensors) -> np.ndarray:
    return np.concatenate([weights["alpha"], weights["intercept"][:, None]], axis=1)


def by_sklearn(cases: Cases, loss: str, C: float, class_weight: str | None) -> np.ndarray:
    """scikit-learn's own, with its own weights by class, and nothing of this project's."""
    z = np.concatenate([cases.images.reshape(len(cases), -1), np.ones((len(cases), 1))], axis=1)
    if loss == "squared_hinge":
        told = {"C": C, "fit_intercept": False, "dual": False, "tol": 1e-10, "max_iter": 10**5}
        return LinearSVC(class_weight=class_weight, **told).fit(z, cases.labels).coef_
    told = {"C": C, "fit_intercept": False, "tol": 1e-10, "max_iter": 10**5}
    return LogisticRegression(class_weight=class_weight, **told).fit(z, cases.labels).coef_


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize(
    ("loss", "classes"), [("softmax", 3), ("softmax", 2), ("logistic", 2), ("squared_hinge", 2)]
)  # fmt: skip
def test_federated_pooled_and_scikit_learn_are_one_model(loss: str, classes: int, class_weight: str | None) -> None:
    told = config({"loss": loss, "C": 0.3, "class_weight": class_weight}, select="last", evaluate_every=300)
    federation = Federation(told, classes)
    reference = by_sklearn(federation.pooled.train, loss, 0.3, class_weight)
    np.testing.assert_allclose(rows_of(federation.train().best), reference, atol=2e-4)
    np.testing.assert_allclose(rows_of(federation.alone()[0]), reference, atol=2e-4)


def test_balanced_one_vs_rest_counts_each_case_by_its_own_class() -> None:
    federation = Federation(config({"loss": "logistic", "C": 0.3, "class_weight": "balanced"}, select="last"))
    train = federation.pooled.train
    weight = len(train) / (3 * np.bincount(train.labels))[train.labels]
    z = np.concatenate([train.images.reshape(len(train), -1), np.ones((len(train), 1))], axis=1)
    fitted = [
        LogisticRegression(C=0.3, fit_intercept=False, tol=1e-10, max_iter=10**5).fit(z, train.labels == k, weight)
        for k in range(3)
    ]
    reference = np.concatenate([one.coef_ for one in fitted])
    np.testing.assert_allclose(rows_of(federation.train().best), reference, atol=2e-4)
    np.testing.assert_allclose(rows_of(federation.alone()[0]), reference, atol=2e-4)


@pytest.mark.parametrize("loss", ["softmax", "logistic"])
def test_a_class_that_nobody_has_is_no_obstacle(loss: str) -> None:
    federation = Federation(config({"loss": loss, "C": 0.3, "class_weight": "balanced"}, select="last"), 4)
    for part in (*federation.parts, federation.pooled):
        part.train.labels[part.train.labels == 2] = 1
    np.testing.assert_allclose(rows_of(federation.train().best), rows_of(federation.alone()[0]), atol=3e-4)


def test_slopes_of_softmax_are_the_differences_of_its_values() -> None:
    model, cases, step = LinearSvm(config({"loss": "softmax"}).model_for(1), SHAPE, 3), cases_of(30, 1), 1e-6
    rng = np.random.default_rng(1)
    weights = {"alpha": rng.normal(size=(3, 12)), "intercept": rng.normal(size=3)}
    shares = np.array([1.0, 0.5, 0.25])
    gradient = model.gradient(weights, cases, shares)
    along = {name: rng.normal(size=value.shape) for name, value in weights.items()}
    moved = {n: np.stack([w - step * along[n], w + step * along[n]]) for n, w in weights.items()}
    before, after = model.loss(moved, cases, shares)["loss"][:, 0]
    slope = float((rows_of(along) * gradient["gradient"]).sum())
    assert (after - before) / (2 * step) == pytest.approx(slope, rel=1e-6)
    assert gradient["loss"].shape == (1,)


def test_scores_of_a_logistic_model_are_log_odds() -> None:
    """They were doubled: the log-loss of an honest model was that of an overconfident one."""
    for loss, times in (("logistic", 1.0), ("softmax", 1.0), ("squared_hinge", 2.0)):
        model, cases = LinearSvm(config({"loss": loss}).model_for(1), SHAPE, 2), cases_of(20, 1, 2)
        weights = {"alpha": np.full((1, 12), 0.3), "intercept": np.array([0.1])}
        f = cases.images.reshape(20, -1).astype(float).sum(axis=1) * 0.3 + 0.1
        np.testing.assert_allclose(performance.margins(model.scores(weights, cases.images))[:, 0], times * f, rtol=1e-5)


@pytest.mark.parametrize("select", ["loss", "auc"])
@pytest.mark.parametrize("loss", ["logistic", "softmax", "squared_hinge"])
def test_several_c_are_chosen_from_by_the_same_rule_federated_and_pooled(loss: str, select: str) -> None:
    several = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
    federation = Federation(config({"loss": loss, "C": several}, select=select))
    state = federation.train()
    judged = [record for record in state.records if record.validation]
    assert 2 <= len(judged) <= len(several)  # once for each C, and not after the first that is worse
    assert [record.validation["C"] for record in judged] == list(several[: len(judged)])
    figures = [record.validation[select] * (-1 if select == "loss" else 1) for record in judged]
    chosen = int(np.argmax(figures))
    assert chosen == len(figures) - 1 or chosen == len(figures) - 2
    assert kept_strength([asdict(record) for record in state.records], state.best_round) == several[chosen]
    one = Federation(config({"loss": loss, "C": several[chosen]}, select="last"))
    np.testing.assert_allclose(rows_of(state.best), rows_of(one.alone()[0]), atol=2e-3)
    np.testing.assert_allclose(rows_of(federation.alone()[0]), rows_of(state.best), atol=2e-3)


def test_a_descent_that_goes_on_asks_less_than_one_that_begins_again() -> None:
    several = (0.01, 0.03, 0.1, 0.3)
    told = {"loss": "logistic", "tolerance": 1e-3}
    together = Federation(config(told | {"C": several}, patience=9)).train()
    apart = [Federation(config(told | {"C": C}, select="last")).train() for C in several]
    assert len([r for r in together.records if r.validation]) == len(several)
    assert len(together.records) < 0.8 * sum(len(state.records) for state in apart)


@pytest.mark.parametrize("loss", ["squared_hinge", "logistic"])
def test_never_more_than_two_gradients_of_all_c_lie_on_one_line(loss: str) -> None:
    told = config({"loss": loss, "C": (0.01, 0.03, 0.1, 0.3), "tolerance": 0.01}, patience=9)
    points, gradients = Watched.run(cases_of(300, 1, 2), told).gradients()
    assert len(gradients) > 8
    assert lines(points) == 2


def test_masked_and_audited_sums_choose_the_same(tmp_path: Path) -> None:
    tree = config({}, rounds=60).model_dump()
    tree["model"] |= {"loss": "logistic", "C": (0.003, 0.03), "class_weight": "balanced", "tolerance": 0.1}
    tree["federation"]["simulate"]["auditors"] = 5
    world = World(Config.model_validate(tree))
    masked, plain = world.run(world.secure(transcripts=Transcripts(tmp_path))), world.run(world.plain())
    assert masked.best_round == plain.best_round
    assert [bool(r.validation) for r in masked.records] == [bool(r.validation) for r in plain.records]
    np.testing.assert_allclose(rows_of(masked.best), rows_of(plain.best), atol=1e-3)


@pytest.mark.parametrize(
    ("model", "federation", "why"),
    [
        ({"C": [0.1, 0.1]}, {}, "rising"),
        ({"C": [0.1, 0.01]}, {}, "rising"),
        ({"C": []}, {}, "at least 1"),
        ({"C": [0.1, -1]}, {}, "greater than 0"),
        ({"C": [0.1, float("nan")]}, {}, "C"),
        ({"C": [0.01, 0.1]}, {"select": "last"}, "chooses among several"),
        ({"loss": "softmax", "solver": "newton"}, {}, "softmax takes all together"),
        ({"class_weight": "equal"}, {}, "balanced"),
        ({"class_weight": "balanced"}, {"rounds": 3}, "expected 4 at least"),
    ],
)
def test_what_cannot_be_is_refused_before_a_run(model: dict[str, Any], federation: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        config(model, **federation)


@pytest.mark.parametrize("shares", [None, [1.0, 0.5], [1.0, 0.0, 1.0], [1.0, 2.0, 1.0], [1.0, np.nan, 1.0]])
def test_a_site_takes_no_weights_by_class_but_those_of_its_plan(shares: list[float] | None) -> None:
    plain = Federation(config({"loss": "softmax"}))
    balanced = Federation(config({"loss": "softmax", "class_weight": "balanced"}))
    point = {"weights/alpha": np.zeros((3, 12)), "weights/intercept": np.zeros(3)}
    recipe = {"recipe": Pipeline().fingerprint()}
    beside = {} if shares is None else {"classes/share": np.array(shares)}
    with pytest.raises((PolicyError, WireError), match="class"):
        balanced.site(balanced.parts[0]).contribute(Request("gradient", 0, point | beside, recipe), {})
    if shares:
        with pytest.raises(PolicyError, match="weighted otherwise"):
            plain.site(plain.parts[0]).contribute(Request("gradient", 0, point | beside, recipe), {})
    with pytest.raises(PolicyError, match="none are balanced"):
        plain.site(plain.parts[0]).contribute(Request("classes", 0, {}, recipe), {})


@pytest.mark.parametrize("auc", [0.8, None])
def test_the_report_says_which_c_was_kept_and_warns_where_nothing_chose(auc: float | None) -> None:
    record = {"round": 2, "validation": {"C": 0.1, "auc": auc, "loss": 0.5}}
    told = {"federation": {"select": "auc"}, "model": {"C": [0.01, 0.1]}}
    sentence = sentences.choice_of_model({"config": told, "best_round": 2, "rounds": [record]})
    assert ("that of 0.1" in sentence) == (auc is not None)
    assert ("WARNING: a class has no validation case" in sentence) == (auc is None)


def test_heads_are_held_by_the_c_that_was_kept() -> None:
    cases = cases_of(60, 3)
    several, one = (LinearSvm(Svm(kind="svm", C=C), SHAPE, CLASSES) for C in ((0.01, 1.0), 1.0))
    expected, found = heads_near(one, one.init(1), cases), heads_near(several, several.init(1), cases, 1.0)
    for name in expected:
        np.testing.assert_array_equal(found[name]["alpha"], expected[name]["alpha"])

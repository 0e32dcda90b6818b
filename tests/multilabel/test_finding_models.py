"""Models and counts of several findings: each is learned and judged on the cases that know it, and on no other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from common.config import Cnn, Local, Svm
from common.metrics import performance
from common.models import Model, Work, build
from common.models.svm import LinearSvm
from common.types import UNKNOWN, Cases
from server.results import outcome_counts

SHAPE, K = (10, 10, 1), 3
FLAT = (3, 2, 1)
seeds = st.integers(0, 2**32 - 1)


def labels_of(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.asarray(rng.choice([0, 1, UNKNOWN], (n, K), p=[0.5, 0.3, 0.2]), np.int64)


def cases_of(seed: int, n: int, shape: tuple[int, int, int] = FLAT) -> Cases:
    rng = np.random.default_rng(seed)
    labels = labels_of(rng, n)
    images = rng.normal(size=(n, *shape)) + (labels[:, :1] == 1)[:, :, None, None]
    return Cases(images.astype(np.float32), labels)


def one_finding(cases: Cases, j: int) -> Cases:
    known = cases.labels[:, j] != UNKNOWN
    return Cases(cases.images[known], cases.labels[known, j])


@settings(deadline=None, max_examples=20)
@given(seeds, st.sampled_from(["squared_hinge", "logistic"]))
def test_every_row_of_the_svm_is_that_of_two_classes_on_the_cases_that_know_its_finding(seed: int, loss: str) -> None:
    model = LinearSvm(Svm(kind="svm", C=0.1, multilabel=True, loss=loss), FLAT, K)
    binary = LinearSvm(Svm(kind="svm", C=0.1, loss=loss), FLAT, 2)
    cases, rng = cases_of(seed, 40), np.random.default_rng(seed)
    weights = {"alpha": rng.normal(size=(K, 6)), "intercept": rng.normal(size=K)}
    sums, active = model.hessian(weights, cases), model.active(weights, cases)
    trials = {name: value[None] for name, value in weights.items()}
    losses = model.loss(trials, cases)["loss"][0]
    optimum = model.fit({}, cases, Work(Local(), 0.0, 0)).weights
    for j in range(K):
        row, known = {name: value[j : j + 1] for name, value in weights.items()}, one_finding(cases, j)
        expected = binary.hessian(row, known)
        for name in ("loss", "gradient", "hessian"):
            np.testing.assert_allclose(sums[name][j], expected[name][0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(losses[j], expected["loss"][0])
        np.testing.assert_allclose(active[j], binary.active(row, known)[0])
        alone = binary.fit({}, known, Work(Local(), 0.0, 0)).weights
        np.testing.assert_allclose(optimum["alpha"][j], alone["alpha"][0], atol=1e-4)


def test_a_finding_that_nobody_knows_has_a_row_of_zeros() -> None:
    model = LinearSvm(Svm(kind="svm", C=0.1, multilabel=True), FLAT, K)
    cases = cases_of(1, 30)
    cases.labels[:, 1] = UNKNOWN
    fitted = model.fit({}, cases, Work(Local(), 0.0, 0)).weights
    assert not fitted["alpha"][1].any()
    assert fitted["alpha"][0].any()
    assert not model.gradient(fitted, cases)["gradient"][1].any()


def cnn() -> Model:
    return build(Cnn(kind="cnn", width=4, multilabel=True), SHAPE, K)


def test_unknown_findings_of_a_cnn_have_no_gradient_and_the_mean_over_sites_is_that_over_the_pooled_cases() -> None:
    model, local = cnn(), Local(steps=1, batch=64, optimizer="sgd", learning_rate=0.1)
    weights, cases = model.init(1), cases_of(3, 24, SHAPE)
    cases.labels[:, 2] = UNKNOWN

    def step(part: slice) -> dict[str, np.ndarray]:
        here = Cases(cases.images[part], cases.labels[part])
        fitted = model.fit(weights, here, Work(local, 0.1, 1))
        assert fitted.correct <= fitted.examples == len(here)
        return {name: len(here) * (fitted.weights[name] - weights[name]) for name in weights}

    one, two, pooled = step(slice(0, 9)), step(slice(9, 24)), step(slice(0, 24))
    kernel = next(name for name in weights if weights[name].shape[-1] == K and weights[name].ndim == 2)
    assert not pooled[kernel][:, 2].any()
    assert pooled[kernel][:, :2].any()
    for name in weights:
        np.testing.assert_allclose(one[name] + two[name], pooled[name], atol=1e-4)


def test_a_cnn_learns_findings_that_come_together() -> None:
    model, rng = cnn(), np.random.default_rng(5)
    labels = rng.integers(0, 2, (120, K))
    images = 0.1 * rng.normal(size=(120, *SHAPE)).astype(np.float32)
    for j in range(K):
        images[:, 3 * j : 3 * j + 3, :, 0] += labels[:, j, None, None]
    labels[::4, 0] = UNKNOWN
    local = Local(epochs=30, batch=16, learning_rate=0.01)
    weights = model.fit(model.init(1), Cases(images, labels), Work(local, 0.01, 1)).weights
    score = performance.score(model.scores(weights, images), labels, None)
    assert [one.n for one in score.findings] == [90, 120, 120]
    assert min(one.auc or 0 for one in score.findings) > 0.95


@given(seeds, st.integers(0, 30), st.integers(0, 30))
def test_counts_of_findings_add_up_and_have_their_shapes(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(n + m, K)), labels_of(rng, n + m)
    one, two = performance.count(logits[:n], labels[:n]), performance.count(logits[n:], labels[n:])
    both = performance.count(logits, labels)
    assert {name: value.shape for name, value in both.items()} == performance.count_shapes(K, multilabel=True)
    for name in both.keys() - {"within"}:  # which adds up over sites
        np.testing.assert_allclose(one[name] + two[name], both[name], rtol=1e-9)
    np.testing.assert_array_equal(both["confusion"].sum(axis=(1, 2)), (labels != UNKNOWN).sum(axis=0))


def test_figures_of_findings_are_scikit_learn_s_on_the_cases_that_know_them() -> None:
    rng = np.random.default_rng(2)
    labels = labels_of(rng, 400)
    logits = rng.normal(size=labels.shape) + (labels == 1)
    counts = performance.count(logits, labels)
    score, summary = performance.score(logits, labels, (0.2, 0.0, -0.1)), performance.summary_of_counts(counts)
    areas, losses = [], []
    for j, one in enumerate(score.findings):
        known = labels[:, j] != UNKNOWN
        areas.append(roc_auc_score(labels[known, j], logits[known, j]))
        losses.append(log_loss(labels[known, j], 1 / (1 + np.exp(-logits[known, j]))))
        assert (one.n, one.auc, one.log_loss) == (known.sum(), pytest.approx(areas[-1]), pytest.approx(losses[-1]))
        hits = (logits[known, j] > (0.2, 0.0, -0.1)[j]) == labels[known, j]
        assert one.accuracy == pytest.approx(hits.mean())
    assert score.auc == pytest.approx(np.mean(areas))
    assert summary["auc"] == pytest.approx(np.mean(areas), abs=1e-3)
    assert summary["loss"] == pytest.approx(np.mean(losses))
    points = performance.operating_point(counts, "youden")
    assert isinstance(points, tuple)
    assert len(points) == K


def test_a_finding_that_no_case_knows_has_no_figures() -> None:
    labels = np.array([[0, UNKNOWN], [1, UNKNOWN], [1, UNKNOWN]], np.int64)
    score = performance.score(np.zeros((3, 2)), labels, None)
    nobody = score.findings[1]
    assert (nobody.n, nobody.accuracy, nobody.log_loss, nobody.auc) == (0, None, None, None)
    assert score.accuracy is not None
    figures = outcome_counts.of_cases(np.zeros((3, 2)), labels, None)["classes"][1]["figures"]
    assert figures["accuracy"] is None
    assert "accuracy_interval" not in figures
    unknown = performance.score(np.zeros((3, 2)), np.full((3, 2), UNKNOWN), None)
    assert (unknown.accuracy, unknown.log_loss) == (None, None)

"""The SVM's features, its sums, and its local optimum."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config import Local, Svm
from common.errors import ConfigError, DataError, WeightsError
from common.models import Work, build
from common.models.features import Fourier
from common.models.svm import LinearSvm
from common.types import Cases, Tensors

SHAPE = (3, 2, 1)
WORK = Work(Local(), 0.0, 0)
FOURIER = Svm(kind="svm", features="fourier", dimension=9, C=0.1)
PLAIN = Svm(kind="svm", C=0.1)


def cases_of(n: int, classes: int, seed: int, shape: tuple[int, int, int] = SHAPE) -> Cases:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    return Cases((rng.normal(size=(n, *shape)) + labels[:, None, None, None] / 2).astype(np.float32), labels)


def weights_of(model: LinearSvm, seed: int, *points: int) -> Tensors:
    rng = np.random.default_rng(seed)
    rows, d = model.rows, model.features.dimension
    return {"alpha": rng.normal(size=(*points, rows, d)) / d, "intercept": rng.normal(size=(*points, rows))}


def objective(model: LinearSvm, weights: Tensors, cases: Cases) -> np.ndarray:
    penalty = np.square(weights["alpha"]).sum(axis=1) + np.square(weights["intercept"])
    return np.asarray(0.5 * penalty + model.config.C * model.gradient(weights, cases)["loss"])


def sums(model: LinearSvm, weights: Tensors, cases: Cases) -> dict[str, np.ndarray]:
    moments = model.gram(cases.images) if model.moments else {}
    return dict(moments) | dict(model.hessian(weights, cases))


@given(
    config=st.sampled_from([PLAIN, FOURIER]),
    classes=st.integers(2, 4),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=30)
def test_sums_over_sites_are_the_sums_over_the_pooled_cases(
    config: Svm, classes: int, cuts: list[int], seed: int
) -> None:
    model = LinearSvm(config, SHAPE, classes, 2)
    pooled, weights = cases_of(40, classes, seed), weights_of(model, seed)
    order = np.random.default_rng(seed).permutation(40)
    parts = [sums(model, weights, Cases(pooled.images[i], pooled.labels[i])) for i in np.split(order, sorted(cuts))]
    for name, whole in sums(model, weights, pooled).items():
        np.testing.assert_allclose(sum(part[name] for part in parts), whole, rtol=1e-9, atol=1e-9)


@given(config=st.sampled_from([PLAIN, FOURIER]), classes=st.integers(2, 3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_gradient_is_the_slope_of_the_loss_and_hessian_the_slope_of_the_gradient(
    config: Svm, classes: int, seed: int
) -> None:
    model, step = LinearSvm(config, SHAPE, classes), 1e-7
    cases, weights = cases_of(30, classes, seed), weights_of(model, seed)
    there = model.hessian(weights, cases)
    rng, d = np.random.default_rng(seed), model.features.dimension + 1
    way = rng.normal(size=(model.rows, d))
    moved = {"alpha": weights["alpha"] + step * way[:, :-1], "intercept": weights["intercept"] + step * way[:, -1]}
    after = model.gradient(moved, cases)
    np.testing.assert_allclose(
        (after["loss"] - there["loss"]) / step, (there["gradient"] * way).sum(axis=1), rtol=1e-4, atol=1e-3
    )
    for row in range(model.rows):
        hessian = np.zeros((d, d))
        hessian[np.triu_indices(d)] = there["hessian"][row]
        hessian = np.triu(hessian) + np.triu(hessian, 1).T
        slope = (after["gradient"] - there["gradient"])[row] / step
        np.testing.assert_allclose(slope, hessian @ way[row], rtol=1e-3, atol=1e-3)


def test_the_losses_at_several_points_are_those_of_each_alone() -> None:
    model, cases = LinearSvm(FOURIER, SHAPE, 3), cases_of(50, 3, 1)
    points = weights_of(model, 2, 4)
    together = model.loss(points, cases)
    assert set(together) == {"loss", "n"}
    for k in range(4):
        alone = model.gradient({name: value[k] for name, value in points.items()}, cases)
        np.testing.assert_allclose(together["loss"][k], alone["loss"], rtol=1e-12)


@pytest.mark.parametrize("sums", ["gradient", "hessian", "scores"])
def test_nothing_but_the_loss_is_told_at_several_points(sums: str) -> None:
    model, cases = LinearSvm(FOURIER, SHAPE, 3), cases_of(50, 3, 1)
    with pytest.raises(WeightsError, match="expected alpha"):
        getattr(model, sums)(weights_of(model, 2, 4), cases.images if sums == "scores" else cases)
    with pytest.raises(WeightsError, match="expected an axis of points"):
        model.loss(weights_of(model, 2), cases)


def test_what_a_site_sends_has_a_length_that_says_nothing_about_its_cases() -> None:
    model = LinearSvm(FOURIER, SHAPE, 3)
    weights = weights_of(model, 1)
    shapes = [{k: v.shape for k, v in sums(model, weights, cases_of(n, 3, n)).items()} for n in (0, 1, 7)]
    assert shapes[0] == shapes[1] == shapes[2]


def test_batches_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model, cases = LinearSvm(FOURIER, SHAPE, 2), cases_of(23, 2, 1)
    whole = sums(model, weights_of(model, 1), cases)
    monkeypatch.setattr("common.models.svm._BATCH_ELEMENTS", 40)
    for name, value in sums(model, weights_of(model, 1), cases).items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.01, 0.1, 1.0])
def test_fourier_features_approach_the_gaussian_kernel(gamma: float) -> None:
    x = np.random.default_rng(1).normal(size=(40, 12)).astype(np.float32)
    kernel = np.exp(-gamma * np.square(x[:, None] - x[None]).sum(axis=2))
    errors = []
    for dimension in (256, 16384):
        phi = Fourier(12, dimension, gamma, seed=3)(x)
        errors.append(float(np.abs(phi @ phi.T - kernel).max()))
    assert errors[1] < 0.05
    assert errors[1] < errors[0] / 3


def test_frequencies_are_those_of_the_documented_generator() -> None:
    seen = Fourier(4, 6, gamma=0.5, seed=11)(np.eye(4, dtype=np.float32))
    drawn = np.random.Generator(np.random.PCG64(11)).standard_normal((4, 3), dtype=np.float32)
    expected = np.concatenate([np.cos(drawn), np.sin(drawn)], axis=1) * np.sqrt(2 / 6)
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(drawn[0], [0.16018116, 0.08126565, 1.0901263], rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_rank_by_decision_value(classes: int) -> None:
    model, cases = LinearSvm(PLAIN, SHAPE, classes), cases_of(20, classes, 1)
    weights = weights_of(model, 1)
    scores = model.scores(weights, cases.images)
    f = cases.images.reshape(20, -1) @ weights["alpha"].T + weights["intercept"]
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, np.hstack([-f, f]) if classes == 2 else f, rtol=1e-4, atol=1e-5)
    assert model.scores(weights, cases.images[:0]).shape == (0, classes)


@pytest.mark.parametrize("present", [[0, 1, 2], [0, 1], [1]])
def test_fit_reaches_a_point_without_slope_whatever_classes_are_there(present: list[int]) -> None:
    model, drawn = LinearSvm(PLAIN, SHAPE, 3), cases_of(90, 3, 1)
    keep = np.isin(drawn.labels, present)
    cases = Cases(drawn.images[keep], drawn.labels[keep])
    fitted = model.fit(model.init(0), cases, WORK)
    point = np.concatenate([fitted.weights["alpha"], fitted.weights["intercept"][:, None]], axis=1)
    slope = point + model.config.C * model.gradient(fitted.weights, cases)["gradient"]
    assert np.square(slope).sum(axis=1).max() / 2 < 1e-6 * objective(model, fitted.weights, cases).min()
    assert fitted.examples == len(cases)
    assert fitted.loss_sum == pytest.approx(float(model.gradient(fitted.weights, cases)["loss"].sum()))


def test_the_registry_builds_the_svm_without_the_heavy_libraries() -> None:
    program = (
        "import sys, common.models, common.config, common.algorithms.solver;"
        "common.models.build(common.config.Svm(kind='svm'), (4, 4, 1), 2);"
        "assert not {'sklearn', 'tensorflow', 'keras', 'flwr'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
    assert build(PLAIN, SHAPE, 2).kind == "svm"


def test_bad_weights_images_and_sizes_are_named() -> None:
    model, cases = LinearSvm(PLAIN, SHAPE, 2), cases_of(5, 2, 1)
    good = weights_of(model, 1)
    with pytest.raises(WeightsError, match=r"expected alpha \(1, 6\)"):
        model.gradient({"alpha": np.zeros((1, 5)), "intercept": np.zeros(1)}, cases)
    with pytest.raises(WeightsError, match="infinite"):
        model.scores({"alpha": good["alpha"] * np.nan, "intercept": good["intercept"]}, cases.images)
    with pytest.raises(DataError, match=r"expected \(3, 2, 1\)"):
        LinearSvm(PLAIN, SHAPE, 2, 2).gram(np.zeros((2, 4, 4, 1), np.float32))
    with pytest.raises(WeightsError, match="asks for none"):
        model.gram(cases.images)
    with pytest.raises(DataError, match="no cases"):
        model.fit(good, Cases(cases.images[:0], cases.labels[:0]), WORK)
    with pytest.raises(ConfigError, match="resize"):
        LinearSvm(Svm(kind="svm", features="fourier", dimension=16384), (512, 512, 1), 2)

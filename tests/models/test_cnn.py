"""The CNN behind the model protocol: what it is handed decides every bit of what it makes."""

import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from common.config import Cnn, Local
from common.errors import ConfigError, WeightsError
from common.imaging.augment import Augment
from common.models import Work
from common.models.cnn import KerasCnn
from common.types import Cases, Tensors

PLAIN = Cnn(kind="cnn")
TINY = Cnn(kind="cnn", width=4)
SMALL = (12, 12, 1)


def bright_or_dark(n: int, seed: int = 0, shape: tuple[int, int, int] = SMALL) -> Cases:
    """Noise with a lighter or a darker middle."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = random.normal(0.5, 0.1, (n, *shape)).astype(np.float32)
    images[:, 3:9, 3:9] += np.where(labels, 0.2, -0.2).astype(np.float32)[:, None, None, None]
    return Cases(images, labels.astype(np.int64))


def work(rate: float = 1e-2, seed: int = 1, decay_to_zero: bool = False, **local: object) -> Work:
    return Work(Local.model_validate(local), rate, seed, decay_to_zero)


def flat(tensors: Tensors) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in tensors.values()])


@pytest.fixture(scope="module")
def model() -> KerasCnn:
    return KerasCnn(TINY, SMALL, 2)


def test_the_missions_network_has_its_layers_and_no_others() -> None:
    weights = KerasCnn(PLAIN, (28, 28, 1), 2).init(0)
    assert [array.shape for array in weights.values()] == [
        *[(3, 3, 1, 32), (32,), (3, 3, 32, 64), (64,)],
        *[(1600, 64), (64,), (64, 2), (2,)],
    ]
    assert sum(array.size for array in weights.values()) == 121_410


@pytest.mark.parametrize("architecture", ["plain", "groupnorm", "resnet"])
def test_every_architecture_takes_any_size_channels_and_classes(architecture: str) -> None:
    shape, classes = (18, 23, 3), 5
    model = KerasCnn(Cnn.model_validate({"kind": "cnn", "architecture": architecture, "width": 4}), shape, classes)
    cases = bright_or_dark(5, shape=shape)
    fitted = model.fit(model.init(1), cases, work(batch=4))
    scores = model.scores(fitted.weights, cases.images)
    assert scores.shape == (5, classes)
    assert scores.dtype == np.float32
    assert {name: array.shape for name, array in fitted.weights.items()} == {
        name: array.shape for name, array in model.init(1).items()
    }


@pytest.mark.parametrize(("architecture", "side"), [("plain", 9), ("groupnorm", 7), ("resnet", 15)])
def test_an_image_too_small_is_refused_with_the_size_that_would_do(architecture: str, side: int) -> None:
    config = Cnn.model_validate({"kind": "cnn", "architecture": architecture})
    with pytest.raises(ConfigError, match=f"at least {side + 1}×{side + 1} pixels, got {side}×40"):
        KerasCnn(config, (side, 40, 1), 2)


def test_one_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 classes, got 1"):
        KerasCnn(TINY, SMALL, 1)


def test_an_easy_problem_is_learned(model: KerasCnn) -> None:
    fitted = model.fit(model.init(3), bright_or_dark(200), work(epochs=5, batch=16, decay_to_zero=True))
    fresh = bright_or_dark(100, seed=9)
    assert (model.scores(fitted.weights, fresh.images).argmax(1) == fresh.labels).all()
    assert fitted.examples == 1000
    assert fitted.steps == 65
    assert fitted.correct > 800
    assert fitted.loss_sum / fitted.examples < 0.5


def test_a_fit_is_repeated_bit_for_bit_in_another_process() -> None:
    program = (
        "import test_cnn as t, zlib;"
        "m = t.KerasCnn(t.Cnn(kind='cnn', width=4, dropout=0.3), t.SMALL, 2, t.Augment(shift=.1, noise=.1, flip=True));"
        "f = m.fit(m.init(5), t.bright_or_dark(70), t.work(epochs=2));"
        "print(zlib.crc32(t.flat(f.weights).tobytes()), zlib.crc32(t.flat(f.moments).tobytes()))"
    )
    model = KerasCnn(Cnn(kind="cnn", width=4, dropout=0.3), SMALL, 2, Augment(shift=0.1, noise=0.1, flip=True))
    fitted = model.fit(model.init(5), bright_or_dark(70), work(epochs=2))
    here = f"{zlib.crc32(flat(fitted.weights).tobytes())} {zlib.crc32(flat(fitted.moments).tobytes())}"
    path = {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[2]}", "PATH": ""}
    other = subprocess.run([sys.executable, "-c", program], env=path, capture_output=True, encoding="utf-8", check=True)
    assert other.stdout.strip() == here
    assert other.stderr == ""


def test_sites_trained_at_once_get_the_bits_that_they_get_in_turn(model: KerasCnn) -> None:
    start, sites = model.init(5), [bright_or_dark(n, seed=n) for n in (20, 35, 50, 65)]
    in_turn = [model.fit(start, cases, work(epochs=3)) for cases in sites]
    with ThreadPoolExecutor(4) as threads:
        at_once = threads.map(lambda cases: model.fit(start, cases, work(epochs=3)), sites)
    for one, other in zip(in_turn, at_once, strict=True):
        assert (flat(one.weights) == flat(other.weights)).all()


def test_another_seed_makes_other_weights(model: KerasCnn) -> None:
    cases, start = bright_or_dark(70), model.init(5)
    one, two = (model.fit(start, cases, work(seed=seed)) for seed in (1, 2))
    assert (flat(one.weights) != flat(two.weights)).any()
    assert (flat(model.init(5)) == flat(start)).all()
    assert (flat(model.init(6)) != flat(start)).any()


def test_sites_of_every_size_share_one_trace(model: KerasCnn) -> None:
    start = model.init(0)
    traces = model._graphs.train["adam"].experimental_get_tracing_count  # type: ignore[attr-defined]
    for n in (1, 2, 31, 33, 64):
        model.fit(start, bright_or_dark(n), work(batch=32))
        model.scores(start, bright_or_dark(n).images)
    assert traces() == 1
    assert model._graphs.logits.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_step_is_what_keras_does(model: KerasCnn, optimizer: str) -> None:
    import keras

    cases, start = bright_or_dark(8), model.init(2)
    network = model._graphs.network
    for variable, array in zip(network.trainable_variables, start.values(), strict=True):
        variable.assign(array)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.01}}), loss)
    for _ in range(3):
        network.train_on_batch(cases.images, cases.labels)
    ours = model.fit(start, cases, work(0.01, optimizer=optimizer, epochs=3, batch=8))
    keras_has = np.concatenate([np.ravel(variable) for variable in network.trainable_variables])
    np.testing.assert_allclose(flat(ours.weights), keras_has, rtol=2e-4, atol=2e-5)


def test_moments_handed_on_make_two_fits_one(model: KerasCnn) -> None:
    cases, start = bright_or_dark(8), model.init(2)  # one batch: the order of the cases does not matter
    whole = model.fit(start, cases, work(epochs=6, batch=8))
    half = model.fit(start, cases, work(epochs=3, batch=8))
    rest = model.fit(half.weights, cases, work(epochs=3, batch=8), moments=half.moments)
    np.testing.assert_allclose(flat(rest.weights), flat(whole.weights), rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(flat(rest.moments), flat(whole.moments), rtol=2e-3, atol=1e-6)
    assert rest.moments["steps"] == 6
    forgetful = model.fit(half.weights, cases, work(epochs=3, batch=8))
    assert np.abs(flat(forgetful.weights) - flat(whole.weights)).max() > 1e-3


def test_gradient_descent_has_no_moments(model: KerasCnn) -> None:
    assert not model.fit(model.init(2), bright_or_dark(8), work(optimizer="sgd")).moments


def test_scaffolds_correction_is_added_to_the_gradient(model: KerasCnn) -> None:
    cases, start = bright_or_dark(8), model.init(2)
    correction = {name: np.full_like(array, 0.25) for name, array in start.items()}
    descent = work(0.01, optimizer="sgd", steps=1)
    without = flat(model.fit(start, cases, descent).weights)
    with_it = flat(model.fit(start, cases, descent, correction=correction).weights)
    np.testing.assert_allclose(with_it, without - 0.01 * 0.25, atol=1e-6)


def test_fedprox_pulls_towards_the_anchor(model: KerasCnn) -> None:
    cases, start = bright_or_dark(8), model.init(2)
    anchor = {name: array + np.float32(1.0) for name, array in start.items()}
    descent = work(0.01, optimizer="sgd", steps=1, proximal=0.5)
    without = flat(model.fit(start, cases, descent).weights)
    with_it = flat(model.fit(start, cases, descent, anchor=anchor).weights)
    np.testing.assert_allclose(with_it, without + 0.01 * 0.5, atol=1e-6)


def test_weight_decay_shrinks_kernels_alone(model: KerasCnn) -> None:
    cases, start = bright_or_dark(8), model.init(2)
    plain, decayed = (
        model.fit(start, cases, work(0.01, optimizer="sgd", steps=1, weight_decay=decay)).weights for decay in (0, 0.5)
    )
    for name, array in start.items():
        expected = plain[name] - 0.01 * 0.5 * array * (array.ndim > 1)
        np.testing.assert_allclose(decayed[name], expected, atol=1e-6)


def test_the_gradient_agrees_with_finite_differences(model: KerasCnn) -> None:
    cases, start = bright_or_dark(8), model.init(2)
    step = work(1.0, optimizer="sgd", steps=1)
    gradient = flat(start) - flat(model.fit(start, cases, step).weights)
    direction = gradient / np.linalg.norm(gradient)
    losses = []
    for side in (0.002, -0.002):
        cuts = np.cumsum([array.size for array in start.values()])[:-1]
        parts = np.split((flat(start) + side * direction).astype(np.float32), cuts)
        moved = {name: part.reshape(start[name].shape) for name, part in zip(start, parts, strict=True)}
        losses.append(model.fit(moved, cases, work(1e-9, optimizer="sgd", steps=1)).loss_sum / 8)
    assert (losses[0] - losses[1]) / 0.004 == pytest.approx(np.linalg.norm(gradient), rel=0.02)


def test_no_learning_rate_changes_nothing(model: KerasCnn) -> None:
    start = model.init(2)
    assert (flat(model.fit(start, bright_or_dark(40), work(0.0, weight_decay=0.1)).weights) == flat(start)).all()


def test_no_cases_change_nothing(model: KerasCnn) -> None:
    start = model.init(2)
    fitted = model.fit(start, bright_or_dark(0), work())
    assert (flat(fitted.weights) == flat(start)).all()
    assert (fitted.steps, fitted.examples) == (0, 0)
    assert model.scores(start, bright_or_dark(0).images).shape == (0, 2)


@pytest.mark.parametrize(
    ("local", "steps", "examples"),
    [
        ({}, 4, 100),
        ({"epochs": 2}, 8, 200),
        ({"epochs": 0.5}, 2, 64),
        ({"epochs": 0.01}, 1, 32),
        ({"steps": 5}, 5, 132),
        ({"batch": 1000}, 1, 100),
    ],
)
def test_work_is_measured_in_epochs_or_steps(
    model: KerasCnn, local: dict[str, float], steps: int, examples: int
) -> None:
    fitted = model.fit(model.init(0), bright_or_dark(100), work(**local))
    assert (fitted.steps, fitted.examples) == (steps, examples)


def test_scores_of_a_case_do_not_depend_on_its_company(model: KerasCnn) -> None:
    weights, images = model.init(0), bright_or_dark(9).images
    alone = np.concatenate([model.scores(weights, images[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(model.scores(weights, images), alone, atol=1e-5)


def test_arrays_of_another_model_are_refused_by_name(model: KerasCnn) -> None:
    start = dict(model.init(0))
    name = next(iter(start))
    with pytest.raises(WeightsError, match=f"expected '{name}' of shape"):
        model.scores(start | {name: np.zeros((1, 2), np.float32)}, bright_or_dark(2).images)
    with pytest.raises(WeightsError, match="nothing of that name"):
        model.fit({k: v for k, v in start.items() if k != name}, bright_or_dark(2), work())
    with pytest.raises(WeightsError, match="moments"):
        model.fit(start, bright_or_dark(2), work(), moments={"first/x": np.zeros(3)})


def test_weights_that_are_not_finite_are_refused(model: KerasCnn) -> None:
    start = dict(model.init(0))
    name = next(iter(start))
    with pytest.raises(WeightsError, match="NaN or infinite"):
        model.scores(start | {name: np.full_like(start[name], np.nan)}, bright_or_dark(2).images)


def test_training_that_diverges_says_what_to_lower(model: KerasCnn) -> None:
    with pytest.raises(WeightsError, match=r"lower federation\.local\.learning_rate"):
        model.fit(model.init(0), bright_or_dark(64), work(1e30, optimizer="sgd", epochs=5))

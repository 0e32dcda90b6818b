"""A model: it holds no weights, and the same weights, cases and seed give the same bits."""

import numpy as np

from common.config import Local, ModelConfig, Svm
from common.models import Model, Work, build
from common.types import Cases, Tensors

SHAPE, CLASSES = (16, 18, 1), 3


def made(network: ModelConfig) -> Model:
    """Built, and not taken from what this process built before."""
    if not isinstance(network, Svm):
        from common.models.training_graphs import graphs

        graphs.cache_clear()
    return build(network, SHAPE, CLASSES)


def cases(n: int) -> Cases:
    random = np.random.default_rng(n)
    return Cases(random.random((n, *SHAPE), np.float32), np.arange(n) % CLASSES)


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_fresh_weights_have_the_same_names_and_bits_wherever_the_model_is_built(network: ModelConfig) -> None:
    one, other = made(network).init(3), made(network).init(3)
    assert same(one, other)
    assert all(np.isfinite(array).all() for array in one.values())


def test_logits_are_of_every_image_by_itself(network: ModelConfig) -> None:
    model, images = made(network), cases(5).images[:]
    weights = model.init(1)
    logits = model.scores(weights, images)
    assert (logits.shape, logits.dtype) == ((5, CLASSES), np.float32)
    assert model.scores(weights, images[:0]).shape == (0, CLASSES)
    alone = np.concatenate([model.scores(weights, images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(logits, alone, rtol=1e-4, atol=1e-5)


def test_training_is_repeated_bit_for_bit_and_changes_nothing_that_it_is_handed(network: ModelConfig) -> None:
    model, data = made(network), cases(9)
    start, images = model.init(1), data.images[:].copy()
    before = {name: array.copy() for name, array in start.items()}
    work = Work(Local(steps=3, batch=4), 1e-2, seed=5)
    one, other = model.fit(start, data, work), model.fit(start, data, work)
    assert same(one.weights, other.weights)
    assert same(start, before)
    assert np.array_equal(data.images[:], images)
    assert {n: a.shape for n, a in one.weights.items()} == {n: a.shape for n, a in start.items()}
    assert not same(one.weights, start)


def test_the_mean_of_two_sites_weights_is_a_model(network: ModelConfig) -> None:
    model = made(network)
    one, other = model.init(1), model.init(2)
    mean = {name: ((one[name] + other[name]) / 2).astype(one[name].dtype) for name in one}
    assert np.isfinite(model.scores(mean, cases(4).images)).all()

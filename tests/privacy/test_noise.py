"""The noise as it is drawn: its distribution, its tails, and that it is never the same twice.

Statistical tests fail a right program once in 10^6 runs at most: the bounds are five standard errors and more.
"""

import math
from decimal import Decimal, localcontext
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chi2, kstwo, norm

from common.errors import PolicyError
from common.privacy.noise import DiscreteGaussian, _Table, largest

DRAWS = 200_000


@pytest.mark.parametrize("deviation", [30.0, 1234.5, 65536.0, 3.7e6, 1e9])
def test_mean_variance_and_shape_are_those_of_a_normal_variable(deviation: float) -> None:
    drawn = DiscreteGaussian.of(deviation**2).draw(DRAWS) / deviation
    assert abs(drawn.mean()) < 5 / math.sqrt(DRAWS)
    assert abs(drawn.var() - 1) < 5 * math.sqrt(2 / DRAWS)
    assert abs((drawn**4).mean() - 3) < 5 * math.sqrt(96 / DRAWS)
    ordered = np.sort(drawn + np.random.default_rng(1).uniform(-0.5, 0.5, DRAWS) / deviation)
    below = norm.cdf(ordered, scale=math.sqrt(1 + 1 / (12 * deviation**2)))
    distance = np.abs(below - (np.arange(DRAWS) + 0.5) / DRAWS).max()
    assert distance < kstwo.isf(1e-7, DRAWS)


def test_the_tails_hold_as_many_as_they_must() -> None:
    drawn = np.abs(DiscreteGaussian.of(1000.0**2).draw(2_000_000)) / 1000.0
    for far in (3.0, 4.0):
        expected = 2 * norm.sf(far) * len(drawn)
        assert abs((drawn > far).sum() - expected) < 5.5 * math.sqrt(expected), far
    assert 4.5 < drawn.max() < 8


def test_neighbouring_integers_are_as_likely_as_the_discrete_gaussian_says() -> None:
    """Where two tables are put together nothing may show: every residue mod the coarse step is as frequent."""
    source = DiscreteGaussian.of(40.0**2)
    drawn = source.draw(400_000)
    values = np.arange(-160, 161)
    weights = np.exp(-((values / 40.0) ** 2) / 2)
    expected = weights / weights.sum() * len(drawn)
    counts = np.array([(drawn == value).sum() for value in values])
    statistic = float(((counts - expected) ** 2 / expected)[expected > 20].sum())
    assert statistic < chi2.isf(1e-7, int((expected > 20).sum()))


@pytest.mark.parametrize("deviation", [12.0, 500.0])
def test_a_table_is_exact_to_fifteen_digits(deviation: float) -> None:
    table = _Table.of(deviation)
    edges = [0, *table.cumulative.tolist(), 2**64]
    weights = [after - before for before, after in pairwise(edges)]
    with localcontext() as context:
        context.prec = 40
        exact = [(-((Decimal(k) / Decimal(deviation)) ** 2) / 2).exp() for k in range(table.low, 1 - table.low)]
        total = sum(exact)
        apart = sum(abs(Decimal(w) / 2**64 - e / total) for w, e in zip(weights, exact, strict=True)) / 2
        beyond = (-((Decimal(1 - table.low) / Decimal(deviation)) ** 2) / 2).exp()
    assert apart < Decimal("4e-15")
    assert beyond / total < Decimal(2) ** -64


def test_noise_is_never_the_same_twice_and_no_seed_decides_it() -> None:
    np.random.seed(1)  # noqa: NPY002 what a plan's seed might reach
    source = DiscreteGaussian.of(1e6)
    one, other = source.draw(1000), DiscreteGaussian.of(1e6).draw(1000)
    assert (one == other).mean() < 0.05
    assert (source.draw(1000) == one).mean() < 0.05


def test_no_number_is_beyond_what_it_says_that_the_largest_is() -> None:
    source = DiscreteGaussian.of(1e8)
    extremes = np.array([0, 2**64 - 1], np.uint64)
    reach = (source.coarse.draw(extremes) << source.shift) + source.fine.draw(extremes)
    assert np.abs(reach).max() == largest(1e8) < 10 * 1e4


@pytest.mark.parametrize("deviation", [0.0, 1.0, 24.9, 2.0**33])
def test_noise_that_would_not_hide_or_hides_all_is_refused(deviation: float) -> None:
    with pytest.raises(PolicyError, match="steps, expected"):
        DiscreteGaussian.of(deviation**2)

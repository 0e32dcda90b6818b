"""How many cases a site needs for a sum: floors that hold whatever fewer than a third of the sites claim."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import Training
from common.errors import PolicyError
from common.plans import floors
from common.plans.floors import CaseCounts, Floors, fits, local_floor, refuse_too_few

ENOUGH = CaseCounts((5000, 5000), (100, 100))
TRAINING = {"name": "t", "model": {"kind": "svm"}, "preprocess": [], "federation": {}}


@given(sites=st.integers(3, 200), cases=st.integers(1, 10**6))
def test_the_honest_sites_of_every_sum_reach_the_floor_alone(sites: int, cases: int) -> None:
    least_sum, colluders = 2 * sites // 3 + 1, (sites - 1) // 3
    assert 3 * colluders < sites
    assert floors.honest(sites) == least_sum - colluders >= 2
    assert (
        local_floor(cases, sites) * floors.honest(sites)
        >= cases
        > (local_floor(cases, sites) - 1) * floors.honest(sites)
    )


def test_what_a_site_meets_follows_from_its_cases_and_from_the_number_of_sites() -> None:
    def kinds(n: int, sites: int = 5) -> set[str]:
        return set(fits(sites, CaseCounts((n,), (20,))))

    assert kinds(19) == {"validation"}
    assert kinds(20) == {"statistics", "validation"}  # 60 over the three that are honest for certain
    assert kinds(87) - kinds(86) == {"likeness"}
    for q, n in ((4, 255), (8, 3575), (12, 17642), (16, 55255)):
        assert kinds(n) - kinds(n - 1) == {f"gram/{q}"}
    assert "gram/4" in kinds(100, sites=20)
    assert "gram/4" not in kinds(100, sites=5)
    assert "validation" not in fits(5, CaseCounts((500,), (4, 6)))
    assert "validation" not in fits(5, CaseCounts((500,), (9, 0)))
    assert "statistics" not in fits(5, ENOUGH, Floors(statistics=10**6))


def test_one_small_site_blocks_whatever_the_others_claim() -> None:
    """A colluder's claim of more than it has changes nothing: the honest sites' own cases are what counts."""
    small, large = fits(5, CaseCounts((255,), (20,))), fits(5, ENOUGH)
    kinds = floors.kinds_of_all([large, large, large, large, small])
    assert floors.most_frequencies(kinds) == 4
    assert floors.most_frequencies(floors.kinds_of_all([large] * 5)) == 8
    assert floors.most_frequencies(floors.kinds_of_all([large, ()])) == 0
    assert floors.kinds_of_all([]) == frozenset()
    by_size = [floors.frequencies_for([n] * 5) for n in (254, 255, 3575, 17642, 55255)]
    assert by_size == [0, 4, 8, 12, 16]
    assert all(a < b for a, b in pairwise(by_size))


@pytest.mark.parametrize("training", [(), (0, 0), (1, 0), (19, 0), (15, 4), (100, 1)])
def test_a_site_whose_sum_covers_nobody_does_not_take_part(training: tuple[int, ...]) -> None:
    with pytest.raises(PolicyError, match="expected 20 at least") as refused:
        refuse_too_few("osaka", CaseCounts(training, ()))
    assert refused.value.cause == "too-few-cases"
    assert "osaka" in str(refused.value)


@pytest.mark.parametrize("training", [(20, 0), (15, 5), (0, 0, 20)])
def test_a_site_with_one_class_alone_takes_part(training: tuple[int, ...]) -> None:
    refuse_too_few("osaka", CaseCounts(training, ()))
    refuse_too_few("osaka", CaseCounts((3,), ()), Floors(training=3, of_each_class=1))


def test_newton_is_for_simulations() -> None:
    for solver in ("lbfgs", "gram-lbfgs"):
        floors.refuse_newton(Training.model_validate(TRAINING | {"model": {"kind": "svm", "solver": solver}}))
    with pytest.raises(PolicyError, match="newton is for simulations") as refused:
        floors.refuse_newton(Training.model_validate(TRAINING | {"model": {"kind": "svm", "solver": "newton"}}))
    assert refused.value.cause == "newton-tells-too-much"

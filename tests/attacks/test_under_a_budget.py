"""The attacks that read patients out of a head's exact sums: with the noise of ε 3 in the sums they fail.

One right build in 10,000 fails here: noise is fresh in each run. `benchmarks/privacy_attacks.py` is the same of real
images, with more of them.
"""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from benchmarks import privacy_attacks
from benchmarks.privacy_attacks import Seen, schedule_of_rows, seen_of
from common.types import Cases

MEMBERS = 60  # fewer than a row has numbers, as second moments need it to tell all of who is in them


@pytest.fixture(scope="module")
def others() -> Cases:
    return digits(slice(MEMBERS, 400))


@pytest.fixture(scope="module")
def exact() -> Seen:
    return seen_of(digits(slice(MEMBERS)), None)


@pytest.fixture(scope="module")
def noised() -> Seen:
    members = digits(slice(MEMBERS))
    return seen_of(members, schedule_of_rows(members, 3.0))


def digits(where: slice) -> Cases:
    data = load_digits()
    images = (data.images[where] / 16).astype(np.float32)[..., None]
    return Cases(images, data.target[where].astype(np.int64) % 2)


def test_what_the_attacker_works_out_is_what_was_summed(exact: Seen) -> None:
    z = exact.z(exact.members)
    assert np.allclose(exact.residuals(exact.members).T @ z, exact.gradients, atol=1e-9)
    assert np.allclose(z.T @ z, exact.gram, atol=1e-9)


def test_single_images_are_read_at_crafted_points_and_not_with_noise(exact: Seen, noised: Seen) -> None:
    bare, hidden = (privacy_attacks.reads(seen, np.random.default_rng(1)) for seen in (exact, noised))
    assert bare["cosine"] > 0.999
    assert bare["named"] == 1.0
    assert hidden["cosine"] < 0.3
    assert hidden["named"] < 0.5


def test_cases_that_cross_between_two_points_of_a_line_are_read_and_not_with_noise(exact: Seen, noised: Seen) -> None:
    bare, hidden = (privacy_attacks.line(seen) for seen in (exact, noised))
    assert bare["cosine"] > 0.999
    assert hidden["cosine"] < 0.3


@pytest.mark.parametrize("attack", ["leverage", "pool"])
def test_who_took_part_is_told_for_certain_and_not_with_noise(
    attack: str, exact: Seen, noised: Seen, others: Cases
) -> None:
    as_many = Cases(others.images[:MEMBERS], others.labels[:MEMBERS])
    tell = getattr(privacy_attacks, attack)
    assert tell(exact, as_many) > 0.99
    assert tell(noised, as_many) < 0.85


def test_the_likelihood_ratio_of_all_sums_tells_members_and_hardly_with_noise(exact: Seen, others: Cases) -> None:
    least = seen_of(exact.members, schedule_of_rows(exact.members, 1.0))
    assert privacy_attacks.likelihood(exact, others) > 0.78
    assert privacy_attacks.likelihood(least, others) < 0.78  # at ε 3 sixty members say too little of what is so


def test_an_image_is_completed_from_second_moments_and_no_better_than_others_with_noise(
    others: Cases,
) -> None:
    members = digits(slice(20))  # fewer than the pixels that are known
    bare, hidden = (
        privacy_attacks.completes(seen_of(members, schedule), others)
        for schedule in (None, schedule_of_rows(members, 3.0))
    )
    assert bare["members"] > 0.99 > bare["others"]
    assert hidden["members"] < hidden["others"] + 0.35

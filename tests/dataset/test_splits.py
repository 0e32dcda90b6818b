"""No person on both sides, every case somewhere, the same bits from the same seed."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.dataset.splits import divide
from client.sources.case_table import SPLITS, Facts, Table
from common.config import Sites
from common.errors import ConfigError, DataError


@dataclass(frozen=True)
class Numbered:
    """Images that are nothing but their digest."""

    digests: tuple[int, ...]

    def __len__(self):
        return len(self.digests)

    def name(self, index):
        return f"image {index}"

    def content(self, index):
        return str(self.digests[index])

    def facts(self, index):
        return Facts((1, 1, 1), 0, 0, self.digests[index].to_bytes(8, "big"))

    def thumbnail(self, index):
        return b""

    def pictures(self, indices):
        raise NotImplementedError


def table(labels, *, patient=None, site=None, split=None, digests=None):
    labels = np.asarray(labels)
    classes = tuple(str(i) for i in range(labels.max() + 1))
    images = Numbered(tuple(digests or range(len(labels))))
    return Table(classes, labels, images, site=site, patient=patient, split=split)


@st.composite
def tables(draw):
    cases = draw(st.integers(60, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = rng.integers(0, draw(st.integers(2, 4)), cases)
    known = draw(st.booleans())
    people = rng.integers(0, cases // 2, cases)
    if draw(st.booleans()):  # the data's own split, by person
        of_person = rng.choice(3, cases, p=[0.6, 0.2, 0.2])
        of_person[people[:3]] = [0, 1, 2] if len(set(people[:3])) == 3 else 0
        split = tuple(SPLITS[i] for i in of_person[people])
    else:
        split = None
    site = tuple(f"h{i}" for i in rng.integers(0, 3, cases)) if draw(st.booleans()) else None
    patient = tuple(str(p) for p in people) if known else None
    return table(labels, patient=patient, site=site, split=split, digests=None if known else people.tolist())


plans = st.builds(
    Sites,
    split=st.sampled_from(["iid", "dirichlet", "size", "scanner"]),
    count=st.integers(1, 4),
    alpha=st.floats(0.5, 10),
    validation=st.sampled_from([0.0, 0.15, 0.4]),
    test=st.sampled_from([0.0, 0.15, 0.4]),
)


def divided(data, sites, seed):
    """The division, or None where there are honestly too few cases."""
    try:
        return divide(data, sites, seed)
    except DataError as error:
        return None if "draws left" in str(error) else pytest.fail(str(error))


@settings(deadline=None, max_examples=60)
@given(tables(), plans, st.integers(0, 2**31 - 1))
def test_every_case_is_somewhere_and_nobody_is_on_both_sides(data, sites, seed):
    if not (division := divided(data, sites, seed)):
        return
    assert (division.site >= 0).all()
    people = np.unique(data.people(), return_inverse=True)[1]
    for person in range(people.max() + 1):
        assert len(set(division.site[people == person])) == 1
        if data.split is None:
            assert len(set(division.split[people == person])) == 1
    if data.split is not None:  # what the data says stays; what it lacks is cut from its training cases
        own = np.array([SPLITS.index(s) for s in data.split])
        assert (division.split[own > 0] == own[own > 0]).all()


@settings(deadline=None, max_examples=20)
@given(tables(), plans, st.integers(0, 2**31 - 2))
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(data, sites, seed):
    first, again = divided(data, sites, seed), divided(data, sites, seed)
    if first and again:
        assert first.site.tobytes() == again.site.tobytes()
        assert first.split.tobytes() == again.split.tobytes()


def test_the_split_is_this_one():
    """A golden value: hospitals of different releases must cut alike."""
    division = divide(table(np.arange(40) % 2), Sites(split="dirichlet", count=2, alpha=1.0), 7)
    assert "".join(map(str, division.site)) == GOLDEN_SITES
    assert "".join(map(str, division.split)) == GOLDEN_SPLITS


GOLDEN_SITES = "0000010011010100110001010101001011000101"
GOLDEN_SPLITS = "1000010200000100121122000000000020002000"


def test_a_natural_site_s_split_does_not_depend_on_the_other_sites():
    labels = np.arange(60) % 2
    sites = tuple("ab"[i % 3 == 0] for i in range(60))
    both = divide(table(labels, site=sites), Sites(split="natural"), 3)
    here = np.array([s == "a" for s in sites])
    alone = divide(table(labels[here], site=("a",) * here.sum(), digests=np.flatnonzero(here).tolist()),
                   Sites(split="natural"), 3)  # fmt: skip
    assert (both.split[here] == alone.split).all()


def test_shares_are_kept_in_every_class():
    division = divide(table([0] * 900 + [1] * 100), Sites(split="iid", count=1, validation=0.1, test=0.2), 1)
    for start, stop in ((0, 900), (900, 1000)):
        share = np.bincount(division.split[start:stop]) / (stop - start)
        np.testing.assert_allclose(share, [0.7, 0.1, 0.2])


def test_a_class_of_three_people_is_in_every_split():
    division = divide(table([0] * 50 + [1] * 3), Sites(split="iid", count=1), 1)
    assert sorted(division.split[50:]) == [0, 1, 2]


def test_iid_sites_are_even_and_dirichlet_sites_are_not():
    labels = np.arange(1000) % 2
    even = divide(table(labels), Sites(split="iid"), 1)
    assert np.ptp(np.bincount(even.site)) <= 2
    skewed = divide(table(labels), Sites(split="dirichlet", alpha=0.1), 1)
    share = [labels[skewed.site == i].mean() for i in range(5)]
    assert np.ptp(share) > 0.5
    sized = divide(table(labels), Sites(split="size", alpha=0.5), 1)
    assert np.ptp(np.bincount(sized.site)) > 100
    np.testing.assert_allclose([labels[sized.site == i].mean() for i in range(5)], 0.5, atol=0.1)


def test_the_text_says_simulated_or_natural():
    data = table(np.arange(40) % 2, site=("a", "b") * 20)
    simulated = divide(data, Sites(split="dirichlet", count=2), 1)
    assert (simulated.kind, simulated.text) == ("simulated", "2 simulated sites (Dirichlet 0.5 over labels)")
    natural = divide(data, Sites(split="natural"), 1)
    assert (natural.kind, natural.names) == ("natural", ("a", "b"))


def test_too_many_sites_for_the_cases_is_an_error_with_the_numbers():
    with pytest.raises(DataError, match=r"30 sites with too few cases.*Lower sites.count"):
        divide(table(np.arange(40) % 2), Sites(split="dirichlet", count=30, alpha=0.05), 1)


def test_natural_sites_without_a_site_column_is_an_error_that_says_what_to_give():
    with pytest.raises(ConfigError, match=r"sites.split is natural, but the data names no site"):
        divide(table([0, 1]), Sites(split="natural"), 1)


def test_a_patient_on_both_sides_of_the_data_s_own_split_stops_or_leaves_the_training_side():
    data = table([0, 1] * 10, patient=tuple(map(str, [0, 0, *range(2, 20)])), split=("train", "test") * 10)
    sites = Sites(split="iid", count=1)
    with pytest.raises(DataError, match="image 0: patient '0' is in train and in test"):
        divide(data, sites, 1)
    division = divide(data, sites, 1, "report")
    assert division.site[0] == -1
    assert division.site[1] == 0
    assert len(division.problems) == 1


def test_a_test_set_that_the_data_brings_is_not_added_to():
    data = table(
        [0, 1] * 30, site=("a",) * 30 + ("b",) * 30, split=(("train",) * 20 + ("test",) * 10) + ("train",) * 30
    )
    division = divide(data, Sites(split="natural"), 1)
    assert (division.split == 2).sum() == 10
    assert set(division.split[30:]) == {0, 1}


def test_the_same_number_at_two_sites_is_two_people():
    data = table([0, 1] * 20, patient=tuple(str(i // 2) for i in range(40)), site=("a", "b") * 20)
    assert len(set(data.people())) == 40

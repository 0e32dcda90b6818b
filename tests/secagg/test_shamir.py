"""Sharing against a check of its own: exact rational interpolation, and counting that t - 1 shares tell nothing."""

import os
from contextlib import suppress
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ShareError
from common.secagg import shamir


def split(secret: bytes, threshold: int, holders: int) -> dict[int, bytes]:
    drawn = shamir.polynomial(secret, threshold, os.urandom(48 * (threshold - 1)))
    return {i: shamir.share(drawn, i) for i in range(1, holders + 1)}


@settings(max_examples=60)
@given(st.binary(min_size=31, max_size=31), st.data())
def test_any_threshold_of_shares_rebuilds_the_secret(secret: bytes, data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 40))
    threshold = data.draw(st.integers(1, n))
    shares = split(secret, threshold, n)
    chosen = data.draw(st.permutations(sorted(shares)))[:threshold]
    assert shamir.combine([shares[i] for i in chosen], shamir.at_zero(chosen)) == secret


def test_every_set_of_threshold_size_rebuilds_and_no_smaller_one_does() -> None:
    secret = bytes(range(31))
    shares = split(secret, 4, 6)
    for chosen in combinations(shares, 4):
        assert shamir.combine([shares[i] for i in chosen], shamir.at_zero(chosen)) == secret
    for chosen in combinations(shares, 3):
        with suppress(ShareError):
            assert shamir.combine([shares[i] for i in chosen], shamir.at_zero(chosen)) != secret


def test_lagrange_coefficients_are_the_rational_ones() -> None:
    holders = [1, 4, 5, 9, 100]
    for i, coefficient in zip(holders, shamir.at_zero(holders), strict=True):
        exact = Fraction(1)
        for j in holders:
            exact *= Fraction(j, j - i) if j != i else 1
        assert coefficient * exact.denominator % shamir.P == exact.numerator % shamir.P


def test_shares_are_values_of_the_written_polynomial() -> None:
    coefficients = [5, 7, 11, 2**255 - 20]
    for x in (1, 2, 200):
        value = sum(c * x**power for power, c in enumerate(coefficients)) % (2**255 - 19)
        assert shamir.share(coefficients, x) == value.to_bytes(32, "little")


def test_one_share_too_few_fits_every_secret() -> None:
    threshold, shares = 3, split(b"s" * 31, 3, 5)
    for other in (bytes(31), b"\xff" * 31):
        # Through any two shares and any secret goes exactly one parabola, so two shares tell nothing.
        points = {0: int.from_bytes(other, "little"), **{i: int.from_bytes(shares[i], "little") for i in (1, 2)}}
        fifth = value_at(points, 5)
        again = {1: shares[1], 2: shares[2], 5: fifth.to_bytes(32, "little")}
        assert shamir.combine(list(again.values()), shamir.at_zero(list(again))) == other
        assert len(again) == threshold


def value_at(points: dict[int, int], x: int) -> int:
    total = 0
    for i, y in points.items():
        for j in points:
            if j != i:
                y = y * (x - j) * pow(i - j, -1, shamir.P) % shamir.P
        total += y
    return total % shamir.P


@settings(max_examples=40)
@given(st.binary(min_size=31, max_size=31), st.integers(1, 12), st.integers(0, 8), st.data())
def test_wrong_shares_are_corrected_up_to_half_of_what_is_to_spare(
    secret: bytes, threshold: int, spare: int, data: st.DataObject
) -> None:
    shares = split(secret, threshold, threshold + spare)
    liars = set(data.draw(st.permutations(sorted(shares)))[: spare // 2])
    for liar in liars:
        shares[liar] = ((int.from_bytes(shares[liar], "little") + 1 + liar) % shamir.P).to_bytes(32, "little")
    assert shamir.corrected(shares, threshold) == (secret, liars)


def test_too_many_wrong_shares_are_not_taken_for_right_ones() -> None:
    shares = split(b"s" * 31, 4, 8)
    for liar in (1, 2, 3):
        shares[liar] = bytes(32)
    with pytest.raises(ShareError, match="too many of 8"):
        shamir.corrected(shares, 4)
    with pytest.raises(ShareError, match="expected 4"):
        shamir.corrected({1: bytes(32)}, 4)


def test_a_value_that_is_no_secret_is_refused() -> None:
    with pytest.raises(ShareError, match="at least one is wrong"):
        shamir.combine([(shamir.P - 1).to_bytes(32, "little")], [1])


def test_a_secret_of_another_length_is_a_defect_of_the_caller() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        shamir.polynomial(bytes(32), 2, bytes(48))

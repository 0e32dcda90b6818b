"""Numbers become words whose sums are the numbers' sums; what cannot be told truly is refused before it is sent."""

import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.errors import PolicyError, WeightsError
from common.secagg.fixedpoint import Layout, Segment
from common.trust.codec import ByteReader, ByteWriter

LAYOUT = Layout(
    (
        Segment("delta/kernel", (3, 2), 0.5, 12, weighted=True),
        Segment("weight", (1,), 1000.0, 0),
        Segment("loss_sum", (), 1e4, 8),
        Segment("histogram", (2, 5), 1e6, 0),
    ),
    64,
    1000.0,
)


def good() -> dict[str, np.ndarray]:
    return {
        "delta/kernel": np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2),
        "weight": np.array([250.0]),
        "loss_sum": np.array(123.4567),
        "histogram": np.arange(10).reshape(2, 5),
    }


def key() -> bytes:
    return os.urandom(32)


def test_a_site_s_arrays_come_back_clipped_weighted_and_rounded() -> None:
    sums = LAYOUT.decode(LAYOUT.encode(good(), 250.0, key()))
    assert {name: value.shape for name, value in sums.items()} == {n: v.shape for n, v in good().items()}
    clipped = 250.0 * np.clip(good()["delta/kernel"], -0.5, 0.5)
    assert np.abs(sums["delta/kernel"] - clipped).max() <= 2.0**-12
    assert sums["weight"] == [250.0]
    assert abs(sums["loss_sum"] - 123.4567) <= 2.0**-8
    np.testing.assert_array_equal(sums["histogram"], good()["histogram"])


@given(
    hnp.arrays(np.float64, 7, elements=st.floats(-0.5, 0.5, width=32)),
    hnp.arrays(np.float64, 7, elements=st.floats(-0.5, 0.5, width=32)),
    st.integers(0, 1000), st.integers(0, 1000), st.sampled_from([32, 64]),
)  # fmt: skip
def test_the_sum_of_the_words_is_the_sum_of_the_numbers(
    a: np.ndarray, b: np.ndarray, weight_a: int, weight_b: int, bits: int
) -> None:
    layout = Layout((Segment("x", (7,), 0.5, 16, weighted=True),), 32 if bits == 32 else 64, 1000.0)
    layout.check(2)
    words = layout.encode({"x": a}, weight_a, key()) + layout.encode({"x": b}, weight_b, key())
    assert np.abs(layout.decode(words)["x"] - (weight_a * a + weight_b * b)).max() <= 2 * 2.0**-16


def test_rounding_is_right_on_average_and_whole_numbers_stay() -> None:
    layout = Layout((Segment("x", (200_000,), 10.0, 0),))
    for value in (0.0, 0.25, 0.9, -0.25, -3.5, 7.0, -7.0):
        rounded = layout.decode(layout.encode({"x": np.full(200_000, value)}, 1.0, key()))["x"]
        assert set(np.unique(rounded)) <= {np.floor(value), np.ceil(value)}
        assert abs(rounded.mean() - value) < 0.006  # five standard errors
    wide = Layout((Segment("x", (3,), 2.0**60, 0),), 64)
    big = np.array([2.0**53, -(2.0**59), 2.0**52 + 1])
    np.testing.assert_array_equal(wide.decode(wide.encode({"x": big}, 1.0, key()))["x"], big)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint16, np.int64])
def test_every_kind_of_number_is_taken(dtype: type) -> None:
    layout = Layout((Segment("x", (3,), 10.0, 4),))
    value = np.array([0, 3, 10], dtype)
    np.testing.assert_array_equal(layout.decode(layout.encode({"x": value}, 1.0, key()))["x"], [0, 3, 10])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("delta/kernel", np.full((3, 2), np.nan), "'delta/kernel' has infinite or undefined"),
        ("delta/kernel", np.array([[0, 0], [0, np.inf], [0, 0]]), "'delta/kernel' has infinite or undefined"),
        ("delta/kernel", np.array([[0, 0], [0, -np.inf], [0, 0]]), "'delta/kernel' has infinite or undefined"),
        ("delta/kernel", np.zeros((2, 3)), r"'delta/kernel' is float64\[2, 3\], expected numbers of shape \[3, 2\]"),
        ("delta/kernel", np.zeros((3, 2), complex), "'delta/kernel' is complex128"),
        ("delta/kernel", np.zeros((3, 2), bool), "'delta/kernel' is bool"),
        ("delta/kernel", np.zeros((3, 2), object), "'delta/kernel' is object"),
        ("delta/kernel", np.zeros((3, 2), "datetime64[s]"), "'delta/kernel' is datetime64"),
        ("delta/kernel", np.full((3, 2), "0"), "'delta/kernel' is <U1"),
        ("loss_sum", 3.0, "'loss_sum' is float"),
        ("histogram", np.full((2, 5), 1_000_001), "'histogram' has values from 0 to 1e\\+06, beyond"),
        ("histogram", np.full((2, 5), -1_000_001), "'histogram' has values"),
        ("unknown", np.zeros(1), "tensors unknown"),
    ],
)
def test_what_cannot_be_told_truly_is_refused_by_name(name: str, value: object, message: str) -> None:
    tensors: dict[str, object] = {**good(), name: value}
    with pytest.raises(WeightsError, match=message):
        LAYOUT.encode(tensors, 250.0, key())  # type: ignore[arg-type]


def test_a_missing_tensor_is_named() -> None:
    tensors = good()
    del tensors["loss_sum"]
    with pytest.raises(WeightsError, match="tensors loss_sum: missing"):
        LAYOUT.encode(tensors, 250.0, key())


@pytest.mark.parametrize("weight", [-1.0, 1000.1, float("nan"), float("inf")])
def test_a_weight_out_of_bounds_is_refused(weight: float) -> None:
    with pytest.raises(WeightsError, match="weight is"):
        LAYOUT.encode(good(), weight, key())


def test_a_sum_of_another_length_is_not_decoded() -> None:
    with pytest.raises(WeightsError, match="for a layout of"):
        LAYOUT.decode(np.zeros(3, "<u8"))


@given(
    st.integers(3, 100), st.floats(1e-6, 1e9), st.floats(1, 1e6), st.integers(0, 52), st.sampled_from([32, 64]),
)  # fmt: skip
def test_a_layout_is_refused_just_where_its_sum_could_wrap(
    sites: int, bound: float, weight: float, fraction_bits: int, bits: int
) -> None:
    layout = Layout((Segment("x", (2,), bound, fraction_bits, weighted=True),), 32 if bits == 32 else 64, weight)
    largest = sites * (bound * weight * 2.0**fraction_bits + 1)
    if largest >= 2.0 ** (bits - 1):
        with pytest.raises(PolicyError, match="Take fewer fraction bits"):
            layout.check(sites)
        return
    layout.check(sites)
    if bits == 32 and sites <= 10:
        ends = np.array([-bound, bound])
        words = sum(layout.encode({"x": ends}, weight, key()).astype(object) for _ in range(sites))
        wrapped = np.array([int(w) % 2**bits for w in words], layout.dtype)
        sums = layout.decode(wrapped)["x"]
        assert sums[0] < 0 < sums[1] or largest < 2 * sites


@pytest.mark.parametrize(
    "layout",
    [
        Layout(()),
        Layout((Segment("x", (1,), 1.0, 0), Segment("x", (1,), 1.0, 0))),
        Layout((Segment("x", (1,), 1.0, 53),), 64),
        Layout((Segment("x", (1,), 0.0, 3),)),
        Layout((Segment("x", (1,), float("nan"), 3),)),
        Layout((Segment("x", (1,), float("inf"), 3),)),
        Layout((Segment("x", (1,), 1.0, 3),), 32, float("nan")),
        Layout((Segment("x", (2**31,), 1.0, 3),)),
    ],
)
def test_a_layout_that_is_none_is_refused(layout: Layout) -> None:
    with pytest.raises(PolicyError):
        layout.check(3)


def test_a_layout_survives_the_way_over_bytes() -> None:
    writer = ByteWriter()
    LAYOUT.write(writer)
    reader = ByteReader(writer.bytes(), "layout")
    assert Layout.read(reader) == LAYOUT
    reader.end()


def test_segments_longer_than_a_step_of_the_encoder_are_rounded_with_fresh_bits() -> None:
    layout = Layout((Segment("x", (100_000,), 1.0, 0),))
    rounded = layout.decode(layout.encode({"x": np.full(100_000, 0.5)}, 1.0, key()))["x"]
    parts = [rounded[i : i + 2**15] for i in range(0, 3 * 2**15, 2**15)]
    assert all((a != b[: len(a)]).any() for a, b in pairwise(parts))

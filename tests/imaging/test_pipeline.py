"""The pipeline: one function for all sites, whatever the sizes, batches and order of the pictures."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from common.errors import ConfigError, DataError
from common.imaging import Picture, Pipeline, pipeline
from common.imaging.step_order import Steps
from common.imaging.steps import Window

STEPS = {
    "window": {"step": "window", "source": "percentile", "low": 2, "high": 98},
    "resize": {"step": "resize", "size": [9, 11]},
    "fit": {"step": "resize", "size": 10, "keep_aspect": True},
    "crop": {"step": "crop", "size": [0.5, 0.75], "unit": "share"},
    "box": {"step": "crop", "box": [1, 2, 5, 4]},
    "grey": {"step": "grey"},
    "mean": {"step": "mean", "radius": 2},
    "gaussian": {"step": "gaussian", "sigma": 0.8},
    "edges": {"step": "edges", "close": 1, "min_pixels": 3},
    "overlay": {"step": "edges", "output": "overlay", "threshold": 0.1},
    "clusters": {"step": "clusters", "k": 3, "output": "mask"},
    "clahe": {"step": "clahe", "tiles": 2},
    "normalise": {"step": "normalise", "by": "image"},
    "fixed": {"step": "normalise", "by": "fixed", "mean": 0.5, "std": 0.25},
    "federated": {"step": "normalise", "per": "pixel"},
}
VARIANTS = [
    [],
    [{"step": "window", "center": 40, "width": 400}],
    [{"step": "window", "center": 40, "width": 401}],
    [{"step": "gaussian", "sigma": 1.0}],
    [{"step": "gaussian", "sigma": 1.1}],
    [{"step": "mean", "radius": 1}, {"step": "grey"}],
    [{"step": "grey"}, {"step": "mean", "radius": 1}],
    [{"step": "edges"}],
    [{"step": "edges", "output": "mask"}],
    [{"step": "clusters", "bins": 65536}],
    [{"step": "normalise"}],
    [{"step": "normalise", "by": "fixed", "mean": 0.5, "std": 0.5}],
]


def made(*steps):
    return Pipeline(TypeAdapter(Steps).validate_python([STEPS.get(s, s) if isinstance(s, str) else s for s in steps]))


def pictures(count, *shape, seed=0):
    values = np.random.default_rng(seed).random((count, *shape), dtype=np.float32) * 255
    return [Picture(v, 0.0, 255.0) for v in values]


def test_without_steps_the_file_s_own_range_becomes_0_to_1_clipped():
    pixels = np.array([[[-1024.0], [40.0], [240.0], [3000.0]]], np.float32)
    assert made().apply([Picture(pixels, -160, 240)])[0, 0, :, 0].tolist() == [0.0, 0.5, 1.0, 1.0]


def test_a_fixed_window_is_in_the_picture_s_natural_units():
    pixels = np.array([[[-161.0], [-160.0], [40.0], [240.0]]], np.float32)
    window = made({"step": "window", "center": 40, "width": 400})
    assert window.apply([Picture(pixels, 0, 1)])[0, 0, :, 0].tolist() == [0.0, 0.0, 0.5, 1.0]


def test_bounds_at_the_ends_of_what_a_float_holds_stay_finite():
    most = np.finfo(np.float32).max
    pixels = np.array([[[-most], [0.0], [most]]], np.float32)
    assert made().apply([Picture(pixels, float(-most), float(most))])[0, 0, :, 0].tolist() == [0.0, 0.5, 1.0]


def test_a_window_without_width_or_upside_down_shows_black():
    assert not made().apply([Picture(np.arange(9, dtype=np.float32).reshape(3, 3, 1), 4, 4)]).any()
    assert not made().apply([Picture(np.arange(9, dtype=np.float32).reshape(3, 3, 1), 4, 2)]).any()


def test_percentiles_are_each_image_s_own():
    images = pictures(3, 20, 20, 1)
    result = made("window").apply(images)
    for picture, image in zip(images, result, strict=True):
        low, high = np.percentile(picture.pixels, (2, 98))
        assert image == pytest.approx(np.clip((picture.pixels - low) / (high - low), 0, 1), abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("steps", [(), ("window",), ("normalise",), ("edges", "clahe"), ("clusters", "normalise")])
def test_an_image_of_one_value_passes_every_step(value, steps):
    result = made(*steps).apply([Picture(np.full((12, 12, 1), value, np.float32), value, value)])
    assert np.isfinite(result).all()


def test_the_result_does_not_depend_on_how_the_pictures_fall_into_batches(monkeypatch):
    images = [p for size in (20, 13, 20, 31) for p in pictures(3, size, 2 * size, 1, seed=size)]
    one = made("resize", "gaussian").apply(images)
    monkeypatch.setattr(pipeline, "BATCH_PIXELS", 700)
    assert np.array_equal(made("resize", "gaussian").apply(iter(images)), one)


@given(st.permutations(list(range(6))))
def test_pictures_come_out_in_the_order_they_went_in(order):
    images = pictures(3, 8, 8, 1) + pictures(3, 6, 9, 1)
    straight = made("resize").apply(images)
    assert np.array_equal(made("resize").apply([images[i] for i in order]), straight[order])


def test_sizes_that_remain_different_are_listed_with_an_example_and_the_remedy():
    with pytest.raises(DataError, match=r"8×8×1 \(such as image 0\), 6×9×1 \(such as image 2\).*resize"):
        made().apply(pictures(2, 8, 8, 1) + pictures(1, 6, 9, 1))
    with pytest.raises(DataError, match="step: grey"):
        made().apply(pictures(1, 8, 8, 1) + pictures(1, 8, 8, 3))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_picture_that_is_not_finite_is_named(value):
    images = pictures(3, 4, 4, 1)
    images[1].pixels[2, 2, 0] = value
    with pytest.raises(DataError, match=r"^image 1: holds NaN or infinite"):
        made().apply(images)
    with pytest.raises(DataError, match=r"^ward/x.png: holds NaN"):
        made().apply([Picture(images[1].pixels, 0, 1, "ward/x.png")])
    with pytest.raises(DataError, match="infinite bounds"):
        made().apply([Picture(images[0].pixels, 0, value)])


def test_no_picture_at_all_is_an_error():
    with pytest.raises(DataError, match="no image"):
        made().apply([])


def test_a_picture_of_the_wrong_type_is_refused_at_once():
    with pytest.raises(ValueError, match="float32"):
        Picture(np.zeros((4, 4)), 0, 1)


def test_every_variation_has_its_own_fingerprint():
    prints = [made(*steps).fingerprint() for steps in VARIANTS] + [made(name).fingerprint() for name in STEPS]
    assert len(set(prints)) == len(prints)


def test_a_fingerprint_is_the_same_for_the_same_steps_however_written():
    assert made().fingerprint() == Pipeline([Window(step="window")]).fingerprint()
    assert made({"step": "resize", "size": 8}).fingerprint() == made({"step": "resize", "size": [8, 8]}).fingerprint()
    assert made({"step": "gaussian"}).fingerprint() == made({"step": "gaussian", "sigma": 1}).fingerprint()


def test_the_fingerprint_of_a_known_recipe_is_known():
    # A change here means that sites of this release and the last one refuse to train together: say so in the changelog.
    known = "8edd73ee9553bf878f64342dd97030a9e89f08f78cac252e96d76d9f5604a6ee"
    assert made({"step": "gaussian"}).fingerprint() == known


def test_the_fingerprint_follows_the_implementation_and_the_statistics(monkeypatch):
    recipe = made("federated")
    mean, variance = np.zeros((3, 3, 1)), np.ones((3, 3, 1))
    prints = [recipe.fingerprint(), recipe.with_statistics(mean, variance).fingerprint()]
    prints += [
        recipe.with_statistics(mean + 1e-3, variance).fingerprint(),
        recipe.with_statistics(mean, variance * 2).fingerprint(),
    ]
    monkeypatch.setattr(pipeline, "IMPLEMENTATION", "another")
    prints.append(recipe.fingerprint())
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("per", ["pixel", "channel"])
def test_federated_statistics_from_sums_give_zero_mean_and_unit_deviation(per):
    recipe = made("gaussian", {"step": "normalise", "per": per}, {"step": "mean", "radius": 1})
    stack = recipe.before(pictures(50, 6, 7, 3))
    exact = stack.astype(np.float64)
    ready = recipe.with_statistics(exact.mean(axis=0), (exact**2).mean(axis=0) - exact.mean(axis=0) ** 2)
    assert recipe.needs_statistics
    assert not ready.needs_statistics
    over = 0 if per == "pixel" else (0, 1, 2)
    expected = (exact - exact.mean(axis=over)) / exact.std(axis=over)
    assert ready.after(stack) == pytest.approx(
        made({"step": "mean"}).steps[1].apply(expected.astype(np.float32)), abs=1e-4
    )


def test_a_pixel_that_never_varies_is_not_blown_up():
    recipe = made("federated").with_statistics(np.full((1, 1, 1), 0.5), np.zeros((1, 1, 1)))
    assert recipe.after(np.full((1, 1, 1, 1), 0.5 + 1 / 255, np.float32)) == pytest.approx(1.0, abs=1e-4)


def test_statistics_that_cannot_be_are_refused():
    recipe = made("federated")
    for mean, variance in [
        (np.full((2, 2, 1), np.nan), np.ones((2, 2, 1))),
        (np.zeros((2, 2, 1)), np.ones((2, 3, 1))),
        (np.zeros((2, 2, 1)), np.full((2, 2, 1), -1.0)),
    ]:
        with pytest.raises(DataError, match="federated statistics"):
            recipe.with_statistics(mean, variance)
    ready = recipe.with_statistics(np.zeros((2, 2, 1)), np.ones((2, 2, 1)))
    with pytest.raises(DataError, match="images of 3×3×1, but the federated statistics are of 2×2×1"):
        ready.after(np.zeros((1, 3, 3, 1), np.float32))


def test_without_a_federated_step_there_is_nothing_after():
    recipe = made("gaussian")
    stack = recipe.before(pictures(2, 5, 5, 1))
    assert not recipe.needs_statistics
    assert recipe.after(stack) is stack


def test_the_trace_ends_with_what_the_pipeline_gives():
    (picture,) = pictures(1, 20, 24, 3)
    recipe = made("window", "crop", "fit", "grey", "clahe", "edges", "clusters", "normalise")
    seen = recipe.trace(picture)
    assert np.array_equal(seen[0][1], picture.pixels)
    assert np.array_equal(seen[-1][1], recipe.apply([picture])[0])
    assert [label.partition(":")[0] for label, _ in seen] == [
        *("as read", "window", "crop", "resize", "grey", "clahe", "edges", "clusters", "normalise")
    ]


def test_the_trace_says_when_an_image_s_own_statistics_stand_in():
    (picture,) = pictures(1, 6, 6, 1)
    label, image = made("federated").trace(picture)[-1]
    assert "this image's own" in label
    assert image.mean() == pytest.approx(0, abs=1e-6)
    label, image = made("federated").with_statistics(np.zeros((6, 6, 1)), np.ones((6, 6, 1))).trace(picture)[-1]
    assert "own" not in label
    assert image == pytest.approx(picture.pixels / 255, abs=1e-6)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"step": "blur"}], "blur"),
        ([{"step": "gaussian", "sigma": 0}], "greater than 0"),
        ([{"step": "gaussian", "sigma": float("nan")}], "less than or equal"),
        ([{"step": "gaussian", "radius": 2}], "Extra inputs"),
        ([{"step": "mean"}, {"step": "window"}], "window comes first"),
        ([{"step": "window", "center": 40}], "go together"),
        ([{"step": "window", "center": 40, "width": 400, "source": "percentile"}], "either"),
        ([{"step": "window", "source": "percentile", "low": 60, "high": 40}], "below high"),
        ([{"step": "crop"}], "either size"),
        ([{"step": "crop", "size": [0.5, 0.5]}], "whole numbers"),
        ([{"step": "crop", "size": [0.5, 1.5], "unit": "share"}], "0..1"),
        ([{"step": "normalise"}, {"step": "normalise"}], "once"),
        ([{"step": "normalise", "by": "fixed", "mean": 1}], "both"),
        ([{"step": "normalise", "by": "image", "per": "pixel"}], "federated"),
        ([{"step": "normalise", "by": "image"}, {"step": "clusters"}], "put normalise after"),
        ([{"step": "edges"}, {"step": "grey"}], "before them"),
        ([{"step": "edges"}, {"step": "clusters"}, {"step": "clahe"}], "taken for RGB"),
    ],
)
def test_steps_that_mean_nothing_are_refused_with_the_reason(steps, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Steps).validate_python(steps)


def test_a_pipeline_refuses_steps_out_of_order_by_itself():
    with pytest.raises(ConfigError, match="preprocess: window comes first"):
        Pipeline([*made("mean").steps, Window(step="window")])


def test_memory_stays_near_the_result_and_one_batch():
    many = 200
    source = (
        Picture(np.full((256, 256, 1), i, np.float32), 0, many) for i in itertools.islice(itertools.count(), many)
    )
    recipe = made("gaussian", {"step": "resize", "size": 32})
    tracemalloc.start()
    result = recipe.apply(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.shape == (many, 32, 32, 1)
    assert peak < 12 * 4 * pipeline.BATCH_PIXELS + 2 * result.nbytes  # all pictures together are 52 MB


@pytest.mark.parametrize("step", [{"step": "resize", "size": 8}, {"step": "crop", "size": 8}, {"step": "grey"}])
def test_what_changes_the_size_of_images_comes_before_the_federated_mean(step):
    adapter = TypeAdapter(Steps)
    federated = {"step": "normalise", "by": "federated", "per": "pixel"}
    assert len(adapter.validate_python([step, federated])) == 3
    with pytest.raises(ValueError, match="put them before it"):
        adapter.validate_python([federated, step])
    assert len(adapter.validate_python([{"step": "normalise", "by": "image"}, step])) == 3

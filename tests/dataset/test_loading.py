"""From a configuration to sites: one array, nothing lost, nothing shared that must not be."""

import numpy as np
import pytest
from PIL import Image

from client.dataset import loading
from common import config as configuration
from common.errors import DataError

RNG = np.random.default_rng(11)


def config(tmp_path, data, sites="{split: natural}", preprocess="[]", **more):
    extra = "\n".join(f"{key}: {value}" for key, value in more.items())
    path = tmp_path / "c.yaml"
    path.write_text(
        f"name: t\ndata: {data}\nsites: {sites}\npreprocess: {preprocess}\nmodel: {{kind: svm}}\n{extra}\n", "utf-8"
    )
    return configuration.load(path)


PHANTOMS = "{kind: synthetic, sites: 3, cases: 20, size: 16}"


@pytest.fixture
def npz(tmp_path):
    labels = np.arange(120) % 2
    images = RNG.integers(0, 256, (120, 5, 5), np.uint8)
    split = np.array(["train"] * 80 + ["val"] * 20 + ["test"] * 20)
    np.savez(tmp_path / "d.npz", images=images, labels=labels, split=split)
    return "{kind: npz, path: d.npz}", "{kind: npz, path: d.npz, split: split}", images


@pytest.mark.parametrize("split", ["natural", "iid", "dirichlet", "size", "scanner"])
def test_every_case_is_at_one_site_once_and_all_images_are_one_array(tmp_path, split):
    loaded = loading.load(config(tmp_path, PHANTOMS, f"{{split: {split}, count: 3}}"), 1)
    parts = [part for site in loaded.sites for part in (site.train, site.validation, site.test)]
    cases = sum(map(len, parts))
    assert cases == pytest.approx(60, abs=2)
    digests = [image.tobytes() for part in parts for image in part.images]
    assert len(set(digests)) == cases
    assert all(part.images.base is not None and not part.images.flags.writeable for part in parts)
    assert len(loaded.test) == sum(len(site.test) for site in loaded.sites)
    assert loaded.kind == "synthetic"


def test_seeds_draw_other_splits_of_the_same_cases_and_one_seed_the_same_bits(tmp_path):
    c = config(tmp_path, PHANTOMS, "{split: dirichlet, count: 2}")
    first, again, other = loading.load(c, 1), loading.load(c, 1), loading.load(c, 2)
    assert first.sites[0].train.images.tobytes() == again.sites[0].train.images.tobytes()
    assert first.sites[0].train.images.tobytes() != other.sites[0].train.images.tobytes()


def test_the_data_s_own_test_set_is_the_common_one(tmp_path, npz):
    loaded = loading.load(config(tmp_path, npz[1], "{split: iid, count: 2, test_on: common}"), 1)
    expected = sorted(image.tobytes() for image in npz[2][100:])
    shown = np.round(loaded.test.images[:, :, :, 0] * 255).astype(np.uint8)
    assert sorted(image.tobytes() for image in shown) == expected
    assert all(site.test is loaded.test for site in loaded.sites)
    own = loading.load(config(tmp_path, npz[1], "{split: iid, count: 2}"), 1)
    assert sum(len(site.test) for site in own.sites) == 20


def test_the_origin_says_natural_simulated_or_synthetic(tmp_path, npz):
    simulated = loading.load(config(tmp_path, npz[0], "{split: dirichlet, count: 2}"), 1)
    assert simulated.kind == "simulated"
    assert simulated.origin == "2 simulated sites (Dirichlet 0.5 over labels), npz data d.npz"
    assert "phantoms" in loading.load(config(tmp_path, PHANTOMS), 1).origin


def test_images_of_different_sizes_are_an_error_that_says_add_a_resize(tmp_path):
    folder(tmp_path, {"ill": [(4, 4), (5, 4), (4, 4)], "well": [(4, 4)] * 3})
    with pytest.raises(DataError, match=r"differ in size: .*png.*resize"):
        loading.load(config(tmp_path, "{kind: folder, path: d, cache: cache}", "{split: iid, count: 1}"), 1)
    resized = config(
        tmp_path, "{kind: folder, path: d, cache: cache}", "{split: iid, count: 1}", "[{step: resize, size: 4}]"
    )
    assert loading.load(resized, 1).sites[0].train.images.shape[1:] == (4, 4, 1)


def folder(tmp_path, classes):
    for label, shapes in classes.items():
        (tmp_path / "d" / label).mkdir(parents=True)
        for i, shape in enumerate(shapes):
            Image.fromarray(RNG.integers(0, 256, shape, np.uint8)).save(tmp_path / "d" / label / f"{i}.png")


def manifest(tmp_path, sites):
    folder(tmp_path, {"x": [(4, 4)] * len(sites)})
    rows = [f"d/x/{i}.png,{label},{site},{split}" for i, (site, label, split) in enumerate(sites)]
    (tmp_path / "l.csv").write_text("\n".join(["path,label,site,split", *rows]), encoding="utf-8")


def test_a_site_without_cases_of_a_class_is_a_warning_that_names_both(tmp_path):
    manifest(tmp_path, [("A", "ab"[i % 2], "train") for i in range(20)] + [("B", "a", "train")] * 8)
    loaded = loading.load(config(tmp_path, "{kind: manifest, path: l.csv, cache: cache}"), 1)
    assert any("site 'B' has few cases" in w.what and "0 of 'b'" in w.what for w in loaded.warnings)


def test_a_site_with_nothing_to_train_on_stops_the_run_or_is_left_out(tmp_path):
    manifest(tmp_path, [("A", "ab"[i % 2], "train") for i in range(20)] + [("B", "a", "test")] * 8)
    with pytest.raises(DataError, match="Site 'B' has no case to train on"):
        loading.load(config(tmp_path, "{kind: manifest, path: l.csv, cache: cache}"), 1)
    loaded = loading.load(config(tmp_path, "{kind: manifest, path: l.csv, cache: cache, on_error: report}"), 1)
    assert [site.name for site in loaded.sites] == ["A"]
    assert [str(p) for p in loaded.problems] == ["site B: left out: no case to train on"]

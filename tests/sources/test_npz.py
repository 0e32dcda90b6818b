"""An .npz is read as it says, or refused before it does harm."""

import zipfile

import numpy as np
import pytest

from client.sources import npz
from common.config import Npz
from common.errors import ConfigError, DataError

RNG = np.random.default_rng(3)


def images(n, size=6):
    return RNG.integers(0, 256, (n, size, size), np.uint8)


def saved(tmp_path, **content):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, **content)
    return path


def source(path, **settings):
    return Npz(kind="npz", path=path, **settings)


def medmnist(tmp_path, shape=(6, 6)):
    content = {}
    for key, n in (("train", 8), ("val", 4), ("test", 4)):
        content[f"{key}_images"] = RNG.integers(0, 256, (n, *shape), np.uint8)
        content[f"{key}_labels"] = np.arange(n, dtype=np.uint8)[:, None] % 2
    return saved(tmp_path, **content), content


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 3)])
def test_medmnist_s_layout_is_known_by_itself(tmp_path, shape):
    path, content = medmnist(tmp_path, shape)
    table = npz.read(source(path, labels=("normal", "pneumonia")))
    assert table.classes == ("normal", "pneumonia")
    assert table.split == ("train",) * 8 + ("validation",) * 4 + ("test",) * 4
    pictures = list(table.images.pictures(range(16)))
    expected = np.concatenate([content[f"{k}_images"] for k in ("train", "val", "test")]).reshape(16, 6, 6, -1)
    np.testing.assert_array_equal([p.pixels for p in pictures], expected)
    assert {(p.low, p.high) for p in pictures} == {(0, 255)}


def test_classes_are_merged_by_name_in_the_order_of_the_groups(tmp_path):
    names = np.array(["benign", "malignant", "normal"])
    path = saved(tmp_path, images=images(6), labels=np.array([0, 1, 2, 0, 1, 2]), class_names=names)
    groups = {"normal": "not malignant", "benign": "not malignant", "malignant": "malignant"}
    table = npz.read(source(path, groups=groups))
    assert table.classes == ("not malignant", "malignant")
    assert table.labels.tolist() == [0, 1, 0, 0, 1, 0]
    with pytest.raises(DataError, match=r"data.groups says nothing of the class 'normal'"):
        npz.read(source(path, groups={"benign": "a", "malignant": "b"}))


def test_named_arrays_bring_sites_patients_and_splits(tmp_path):
    path = saved(
        tmp_path, x=images(4), y=np.array(["a", "b", "a", "b"]), hospital=np.array([1, 1, 2, 2]),
        who=np.array([7, 7, 8, 9]), part=np.array(["train", "train", "val", "test"]),
    )  # fmt: skip
    table = npz.read(source(path, images="x", targets="y", site="hospital", patient="who", split="part"))
    assert table.site == ("1", "1", "2", "2")
    assert table.patient == ("7", "7", "8", "9")
    assert table.split == ("train", "train", "validation", "test")
    with pytest.raises(ConfigError, match="no array 'ward'; there are hospital, part, who, x, y"):
        npz.read(source(path, images="x", targets="y", site="ward"))


def test_floats_are_shown_from_0_to_1_or_over_their_own_range(tmp_path):
    labels = np.array([0, 1])
    unit = np.array([[[0.2, 0.5]], [[0.1, 0.9]]])
    assert next(npz.read(source(saved(tmp_path, images=unit, labels=labels))).images.pictures([0])).high == 1
    picture = next(npz.read(source(saved(tmp_path, images=unit * 100, labels=labels))).images.pictures([0]))
    assert (picture.low, picture.high) == pytest.approx((10, 90))


def test_images_with_nan_stop_the_run_or_are_left_out_and_listed(tmp_path):
    bad = RNG.random((4, 3, 3))
    bad[2, 1, 1] = np.nan
    path = saved(tmp_path, images=bad, labels=np.array([0, 1, 0, 1]))
    with pytest.raises(DataError, match="row 2: images has pixels that are not finite"):
        npz.read(source(path))
    table = npz.read(source(path, on_error="report"))
    assert (len(table), table.labels.tolist(), table.problems[0].row) == (3, [0, 1, 1], 2)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"images": np.zeros((3, 4, 4)), "labels": np.zeros(2, int)}, "3 images and 'labels' 2 labels"),
        ({"images": np.zeros((0, 4, 4)), "labels": np.zeros(0, int)}, "at least one"),
        ({"images": np.zeros((2, 4, 4, 2)), "labels": np.arange(2)}, "expected numbers of shape"),
        ({"images": np.zeros((2, 4, 4)), "labels": np.zeros((2, 14), int)}, "expected one whole number or"),
        ({"images": np.zeros((2, 4, 4)), "labels": np.array([0, -1])}, "label -1 of case 1"),
        ({"images": np.zeros((2, 4, 4)), "labels": np.zeros(2, int)}, "at least two classes"),
        ({"images": np.zeros((2, 4, 4)), "labels": np.array([0, 5]), "class_names": np.array(["a", "b"])},
         "label 5 of case 1"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_an_error_that_names_them(tmp_path, content, what):
    with pytest.raises(DataError, match=what):
        npz.read(source(saved(tmp_path, **content)))


def test_pickled_objects_are_refused_unopened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = tmp_path / "trap.npz"
    np.savez(path, images=np.array([Trap()], dtype=object), labels=np.zeros(1, int))
    with pytest.raises(DataError, match="array 'images' holds pickled Python objects"):
        npz.read(source(path))


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    path = saved(tmp_path, images=np.zeros((2, 8192, 8192), np.uint8), labels=np.arange(2))
    with pytest.raises(DataError, match=r"refused: .* bytes would unpack to 134,"):
        npz.read(source(path))


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match="claims shape"):
        npz.read(source(tmp_path / "a.npz"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"nothing of the kind"])
def test_what_is_no_archive_is_an_error(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a.npz: not a readable .npz"):
        npz.read(source(tmp_path / "a.npz"))


def test_a_damaged_archive_is_an_error(tmp_path):
    path, _ = medmnist(tmp_path)
    content = bytearray(path.read_bytes())
    content[200:260] = b"\0" * 60
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data.npz"):
        npz.read(source(path))


def test_a_target_does_not_take_the_class_names_of_another(tmp_path):
    path = saved(
        tmp_path, images=images(4), labels=np.array([0, 1, 2, 0]), sex=np.array([0, 1, 0, 1]),
        class_names=np.array(["normal", "benign", "malignant"]),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="whose names are in the array 'class_names', those of 'sex'"):
        npz.read(source(path, targets="sex"))
    assert npz.read(source(path, targets="sex", labels=("female", "male"))).classes == ("female", "male")
    assert npz.read(source(path)).classes == ("normal", "benign", "malignant")
    path = saved(
        tmp_path, images=images(4), labels=np.array([0, 1, 2, 0]), sex=np.array([0, 1, 0, 1]),
        class_names=np.array(["normal", "benign", "malignant"]), sex_names=np.array(["f", "m"]),
    )  # fmt: skip
    assert npz.read(source(path, targets="sex")).classes == ("f", "m")


def test_names_of_sites_are_used(tmp_path):
    content = {"images": images(4), "labels": np.array([0, 1, 0, 1]), "site": np.array([0, 0, 1, 1])}
    path = saved(tmp_path, **content, site_names=np.array(["Lisbon", "Porto"]))
    assert npz.read(source(path, site="site")).site == ("Lisbon", "Lisbon", "Porto", "Porto")
    path = saved(tmp_path, **content, site_names=np.array(["Lisbon"]))
    with pytest.raises(DataError, match="array 'site' says 1, and 'site_names' has 1 names"):
        npz.read(source(path, site="site"))


@pytest.mark.parametrize("labels", [[1, 2, 1, 2], [0, 1, 255, 1], [0, 2, 0, 2]])
def test_labels_with_a_gap_have_to_be_named(tmp_path, labels):
    path = saved(tmp_path, images=images(4), labels=np.array(labels, np.uint8))
    with pytest.raises(DataError, match=r"the labels in 'labels' are .*, and no case has [012]"):
        npz.read(source(path))


def test_names_that_are_there_twice_are_refused(tmp_path):
    path = saved(tmp_path, images=images(3), labels=np.array([0, 1, 2]), class_names=np.array(["a", "b", "a"]))
    with pytest.raises(DataError, match="array 'class_names' has the name 'a' twice"):
        npz.read(source(path))


def test_site_of_one_class_is_taken_where_its_labels_are_named(tmp_path):
    path = saved(tmp_path, images=images(3), labels=np.array([0, 0, 0]))
    assert npz.read(source(path, labels=("well", "ill"))).classes == ("well", "ill")


@pytest.mark.parametrize("word", ["val", "valid", "validation"])
def test_a_part_is_known_by_any_word_of_its_split(tmp_path, word):
    parts = {f"{part}_images": images(4) for part in ("train", word)}
    labels = {f"{part}_labels": np.array([0, 1, 0, 1]) for part in ("train", word)}
    assert npz.read(source(saved(tmp_path, **parts, **labels))).split == ("train",) * 4 + ("validation",) * 4


def test_arrays_that_are_not_used_are_counted_and_named(tmp_path):
    labels = np.array([0, 1, 0, 1])
    path = saved(
        tmp_path, images=images(4), labels=labels, age=labels, patient=labels, class_names=np.array(["a", "b"])
    )
    assert npz.read(source(path)).unused == ("found and not used: 2 arrays of the .npz: age, patient",)
    assert npz.read(source(path, patient="patient")).unused == ("found and not used: 1 arrays of the .npz: age",)


def test_parts_of_other_types_are_refused(tmp_path):
    bytes_, labels = images(4), np.array([0, 1, 0, 1])
    path = saved(
        tmp_path, train_images=bytes_, train_labels=labels, test_images=(bytes_ / 255).astype("f4"), test_labels=labels
    )
    with pytest.raises(DataError, match="'train_images' is uint8 and 'test_images' float32"):
        npz.read(source(path))


@pytest.mark.parametrize(
    ("names", "what"), [(["ill", "Ill "], "'ill' twice"), (["ill", ""], "''"), (["ill", "NaN"], "'NaN'")]
)
def test_names_of_classes_are_held_to_what_words_are(tmp_path, names, what):
    path = saved(tmp_path, images=images(4), labels=np.array([0, 1, 0, 1]), class_names=np.array(names))
    with pytest.raises(DataError, match=f"class_names.*{what}"):
        npz.read(source(path))


def test_names_in_bytes_are_read(tmp_path):
    names = {"class_names": np.array([b"ill", "gesünd".encode()]), "site_names": np.array([b"Porto", b"Braga"])}
    path = saved(tmp_path, images=images(4), labels=np.array([0, 1, 0, 1]), site=np.array([0, 0, 1, 1]), **names)
    table = npz.read(source(path, site="site"))
    assert (table.classes, set(table.site)) == (("ill", "gesünd"), {"Porto", "Braga"})


def test_values_that_become_infinite_are_bad_cases(tmp_path):
    path = saved(tmp_path, images=images(4) * 1e300, labels=np.array([0, 1, 0, 1]))
    with pytest.raises(DataError, match="4 bad cases"):
        npz.read(source(path))

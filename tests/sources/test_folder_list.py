"""Folders of images: a folder is taken for what it is, and what is passed over is counted and named."""

import os

import pytest

from client.sources import file_list
from client.sources.folder_list import is_like_a_split
from common.config import Folder
from common.errors import DataError
from tests.sources.small_images import write_images


def table(path, **settings):
    return file_list.read(Folder(kind="folder", path=path, cache=path.parent / "cache", **settings))


def classes(folder, around=()):
    """Two images of each of two classes below each of some folders."""
    names = [f"{part}{label}/{i}.png" for part in (around or [""]) for label in ("ill", "well") for i in range(2)]
    return write_images(folder, names)


@pytest.mark.parametrize(
    "extra",
    [
        "holdout",
        "test2",
        "Test images",
        "fold_3",
        "testing_set",
        "external_test",
        "trainval",
        "EVAL",
        "hold-out",
        "cv5",
    ],
)
@pytest.mark.parametrize("parts", [("train", "test"), ("Training", "Validation"), ("train",), ()])
def test_names_of_splits_beside_another_folder_are_neither_classes_nor_splits(tmp_path, parts, extra):
    path = classes(tmp_path / "data", [f"{part}/" for part in (*parts, extra)])
    with pytest.raises(DataError, match=rf"data: .*names of splits, and '{extra}' is not known as one"):
        table(path)
    meant = table(path, splits={extra: "test"})
    assert meant.classes == ("ill", "well")
    assert meant.split[-4:] == ("test",) * 4 or "test" in meant.split
    assert len(meant) == 4 * (len(parts) + 1)
    if parts:
        unused = table(path, splits={extra: "unused"})
        assert len(unused) == 4 * len(parts)
        assert any(extra in text for text in unused.unused)


def test_a_class_beside_folders_of_splits_is_named(tmp_path):
    path = classes(tmp_path / "data", ["train/", "test/", ""])
    with pytest.raises(DataError, match="'ill' is not known as one"):
        table(path)


def test_folds_are_no_classes(tmp_path):
    path = classes(tmp_path / "data", ["fold1/", "fold2/", "fold3/"])
    with pytest.raises(DataError, match="names of splits"):
        table(path)
    meanings = {"fold1": "train", "fold2": "validation", "fold3": "test"}
    assert sorted(set(table(path, splits=meanings).split)) == ["test", "train", "validation"]


def test_classes_that_are_called_like_splits_are_classes_where_they_are_named(tmp_path):
    path = write_images(tmp_path / "data", ["control/1.png", "test/1.png"])
    with pytest.raises(DataError, match="names of splits"):
        table(path)
    assert table(path, labels=("control", "test")).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "name",
    [
        "ill",
        "valvular",
        "training heart",
        "stress_test",
        "tested positive",
        "evaluable",
        "fold change",
        "images",
        "set",
    ],
)
def test_other_names_are_not_like_splits(name):
    assert not is_like_a_split(name)


def test_splits_inside_of_classes_are_splits(tmp_path):
    path = write_images(
        tmp_path / "data", [f"{label}/{part}/1.png" for label in ("ill", "well") for part in ("train", "val", "test")]
    )
    found = table(path)
    assert found.classes == ("ill", "well")
    assert found.split == ("test", "train", "validation") * 2


@pytest.mark.parametrize("extra", ["9.png", "more/9.png"])
def test_what_lies_beside_splits_inside_of_a_class_is_named(tmp_path, extra):
    path = write_images(tmp_path / "data", ["ill/train/1.png", "ill/test/1.png", f"ill/{extra}", "well/train/1.png"])
    with pytest.raises(DataError, match=rf"ill: '{extra.split('/')[0]}' lies beside folders of splits"):
        table(path)


def test_a_site_is_not_called_like_a_split(tmp_path):
    path = classes(tmp_path / "data", ["train/A/", "test/A/"])
    with pytest.raises(DataError, match="'test' is no site"):
        table(path, site_folders=True)


LITTER = [
    "@eaDir",
    "lost+found",
    "$RECYCLE.BIN",
    "System Volume Information",
    ".snapshot",
    "#recycle",
    "@Recycle",
    "__MACOSX",
    ".Trash-1000",
    "RECYCLER",
    "~snapshot",
    "FOUND.000",
    "Network Trash Folder",
    "@Recently-Snapshot",
    "#snapshot",
]


@pytest.mark.parametrize("litter", LITTER)
@pytest.mark.parametrize("level", ["", "train", "train/ill"])
def test_litter_of_systems_is_passed_over_counted_and_named(tmp_path, litter, level):
    path = classes(tmp_path / "data", ["train/", "test/"])
    write_images(path / level / litter, ["1.png", "ill/2.png"])
    found = table(path)
    assert (len(found), found.classes, set(found.split)) == (8, ("ill", "well"), {"train", "test"})
    assert found.unused == (f"found and not used: 1 files or folders of systems: {litter}",)


@pytest.mark.parametrize(
    "name",
    [
        "Thumbs.db",
        ".DS_Store",
        "._1.png",
        "desktop.ini",
        "DICOMDIR",
        "ehthumbs_vista.db",
        "1.png~",
        "~$1.docx",
        "Icon\r",
        "1.png.part",
        ".nfs0001",
        "picasa.ini",
    ],
)
def test_litter_among_images_is_counted_and_named(tmp_path, name):
    path = classes(tmp_path / "data")
    (path / "ill" / name).write_bytes(b"no image")
    (path / "well" / name).write_bytes(b"no image")
    found = table(path)
    assert len(found) == 4
    assert "2 files or folders of systems" in found.unused[0]
    assert name.strip() in found.unused[0]


def test_a_folder_that_is_called_like_a_file_of_litter_is_read(tmp_path):
    path = classes(tmp_path / "data")
    write_images(path, ["ill/DICOMDIR/9.png", "ill/study.tmp/9.png"])
    assert len(table(path)) == 6


def test_files_beside_the_folders_of_classes_are_counted_and_named(tmp_path):
    path = classes(tmp_path / "data")
    write_images(path, ["lost.png", "more.png"])
    assert table(path).unused == ("found and not used: 2 files or folders outside of any class: lost.png, more.png",)


def test_folders_behind_links_are_read_and_links_back_are_named(tmp_path):
    path = classes(tmp_path / "data")
    store = write_images(tmp_path / "store", ["s/1.png", "s/deep/2.png"])
    (path / "ill" / "study").symlink_to(store / "s")
    (path / "ill" / "file.png").symlink_to(store / "s" / "1.png")
    (path / "well" / "back").symlink_to(path)
    (path / "well" / "self").symlink_to(path / "well")
    (path / "other").symlink_to(store)
    found = table(path)
    assert found.classes == ("ill", "other", "well")
    assert found.labels.tolist().count(0) == 5
    assert "outside of any class" in found.unused[0]
    assert "self" in found.unused[0]


def test_links_that_lead_nowhere_or_in_a_circle_are_bad_cases(tmp_path):
    path = classes(tmp_path / "data")
    (path / "ill" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"ill/gone.png: a link to .*nowhere.png, which leads nowhere"):
        table(path)
    (path / "ill" / "gone.png").unlink()
    (path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"data/gone: a link to .*nowhere, which leads nowhere"):
        table(path)
    (path / "gone").unlink()
    (path / "ill" / "a").symlink_to(path / "ill" / "b")
    (path / "ill" / "b").symlink_to(path / "ill" / "a")
    with pytest.raises(DataError, match=r"2 bad cases"):
        table(path)
    assert len(table(path, on_error="report")) == 4


def test_what_is_neither_file_nor_folder_is_a_bad_case_and_stops_nothing_else(tmp_path):
    path = classes(tmp_path / "data")
    os.mkfifo(path / "ill" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe.png: neither a file nor a folder"):
        table(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_a_bad_case(tmp_path):
    path = classes(tmp_path / "data")
    (path / "ill" / "study").mkdir(mode=0)
    try:
        with pytest.raises(DataError, match=r"ill/study: a folder that cannot be read \(Permission denied\)"):
            table(path)
    finally:
        (path / "ill" / "study").chmod(0o700)


def test_names_that_move_the_cursor_are_spelt_out(tmp_path):
    path = classes(tmp_path / "data")
    (path / "ill" / "\x1b[2Jfake\nok.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"\\x1b\[2Jfake\\nok.png: not an image"):
        table(path)


def test_natural_sites_are_asked_for_before_any_image_is_decoded(tmp_path):
    from common.errors import ConfigError

    path = classes(tmp_path / "data")
    for file in path.rglob("*.png"):
        file.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(ConfigError, match="data names no site"):
        file_list.read(Folder(kind="folder", path=path, cache=tmp_path / "cache"), natural=True)


@pytest.mark.parametrize(
    "parts",
    [("treino", "teste"), ("entrenamiento", "prueba"), ("Trainingsdaten", "Testdaten"), ("apprentissage", "test")],
)
def test_names_of_splits_in_other_languages_are_no_classes(tmp_path, parts):
    with pytest.raises(DataError, match=r"names of splits, and .*data\.splits"):
        table(classes(tmp_path / "data", [f"{part}/" for part in parts]))


@pytest.mark.parametrize("outer", [("lisbon", "porto"), ("P1", "P2", "P3"), ("split0", "split1")])
def test_folders_that_all_hold_the_same_folders_are_doubted_as_classes(tmp_path, outer):
    data = classes(tmp_path / "data", [f"{name}/" for name in outer])
    (doubt,) = table(data).unused
    assert "are taken for classes, and each of them holds the same folders, ill, well" in doubt
    assert "data.site_folders" in doubt
    assert not table(data, site_folders=True).unused


def test_studies_inside_of_classes_are_not_doubted(tmp_path):
    names = [f"{label}/{study}/{i}.png" for label in ("ill", "well") for study in "12" for i in "ab"]
    assert not table(write_images(tmp_path / "data", names)).unused


def test_a_class_whose_name_is_no_utf_8_is_named(tmp_path):
    data = classes(tmp_path / "data")
    (data / "ill").rename(data / os.fsdecode(b"kr\xe4nk"))
    for on_error in ("stop", "report"):
        with pytest.raises(DataError, match=r"label 'kr\\udce4nk' is no UTF-8"):
            table(data, on_error=on_error)


@pytest.mark.parametrize("name", ["1.png:Zone.Identifier", "1.png.orig", "#1.png#", "FILE0001.CHK", "sync.ffs_db"])
def test_litter_of_more_systems_is_counted_and_named(tmp_path, name):
    data = classes(tmp_path / "data")
    (data / "ill" / name).write_bytes(b"litter")
    assert table(data).unused == (f"found and not used: 1 files or folders of systems: {name}",)

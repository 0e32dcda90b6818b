"""CSVs and folders of images: what is listed is read, and what is wrong is named by file and row."""

import ast
import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from client import readers
from client.readers.source import ImageFile
from client.sources import file_list, image_cache
from common.config import Folder, Manifest
from common.errors import DataError

RNG = np.random.default_rng(5)


@pytest.fixture
def images(tmp_path):
    """Six grey PNGs, a.png to f.png."""
    for name in "abcdef":
        Image.fromarray(RNG.integers(0, 256, (5, 7), np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def read(folder, text, encoding="utf-8", **settings):
    (folder / "list.csv").write_text(text, encoding=encoding, newline="")
    return file_list.read(Manifest(kind="manifest", path=folder / "list.csv", cache=folder / "cache", **settings))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_dialect_of_spreadsheets_is_read(images, delimiter, encoding, end):
    rows = [["Path", "LABEL", "site", "patient", "split", "age"],
            ["a.png", "ill", "Zürich", "1", "train", "4"],
            ["b.png", '"well, so far"', "Zürich", "2", "test", "5"]]  # fmt: skip
    table = read(images, end.join(delimiter.join(row) for row in rows) + end + end, encoding)
    assert table.classes == ("ill", "well, so far")
    assert (table.site, table.patient, table.split) == (("Zürich", "Zürich"), ("1", "2"), ("train", "test"))
    with Image.open(images / "b.png") as image:
        np.testing.assert_array_equal(next(table.images.pictures([1])).pixels[:, :, 0], np.asarray(image))


GOOD = "a.png,ill\nb.png,well\n"


@pytest.mark.parametrize(
    ("text", "settings", "what"),
    [
        ("path,label\n" + GOOD + "none.png,ill\n", {}, "list.csv, row 4: .*none.png: there is no such file"),
        ("path,label\n" + GOOD + "c.png,il\n", {"labels": ("ill", "well")}, "row 4: label 'il' is none of ill, well"),
        ("path,label\n" + GOOD + "c.png,il\n", {"groups": {"ill": "x", "well": "y"}}, "row 4: label 'il' is none of"),
        ("path,label\n" + GOOD + "c.png,\n", {}, "row 4: the cell 'label' is empty"),
        ("path,label\n" + GOOD + "a.png,ill\n", {}, "row 4: the same image as in row 2: a.png"),
        ("path,label\n" + GOOD + "c.png\n", {}, "row 4: has 1 cells, the header has 2"),
        (
            "path,label,split\na.png,ill,train\nb.png,well,trial\n",
            {},
            "row 3: split 'trial'; expected train, validation",
        ),
        ("path,label,patient\na.png,ill,1\nb.png,well,\n", {}, "row 3: the cell 'patient' is empty"),
        ("path,label,frame\na.png,ill,\nb.png,well,x\n", {}, "row 3: frame 'x'; expected a whole number"),
        ("path,label,frame\na.png,ill,\nb.png,well,1\n", {}, "row 3: .*b.png: has no frame 1; expected 0 to 0"),
        ("path,label\n" + GOOD + "../" + "x" * 300 + ".png,ill\n", {}, "row 4: .*"),
        ("path,label\n" + GOOD + "\0.png,ill\n", {}, "NUL|row 4"),
        ("path,label,patiant\na.png,ill,1\n", {}, "row 1: unknown column 'patiant'; did you mean 'patient'"),
        ("path,diagnosis\n" + GOOD, {}, "row 1: no column 'label' .found path, diagnosis"),
        ("path,label,path\na.png,ill,a.png\n", {}, "the column 'path' is there twice"),
        ("", {}, "no column 'path' .found nothing"),
        ('path,label\n"a.png,ill\n', {}, "not a CSV"),
        ("path,label\na.png,ill\n", {}, "expected at least two classes"),
    ],
)
def test_a_bad_row_stops_the_run_and_is_named(images, text, settings, what):
    with pytest.raises(DataError, match=what):
        read(images, text, **settings)


def test_all_bad_rows_are_listed_up_to_twenty_and_counted(images):
    text = "path,label\n" + GOOD + "".join(f"none{i}.png,ill\n" for i in range(25))
    with pytest.raises(DataError) as caught:
        read(images, text)
    message = str(caught.value)
    assert "25 bad cases" in message
    assert message.count("no such file") == 20
    assert "and 5 more" in message


def test_reporting_leaves_bad_cases_out_and_lists_them(images):
    (images / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    table = read(images, "path,label\n" + GOOD + "c.png,ill\nd.png,\ne.png,ill\n", on_error="report")
    assert len(table) == 3
    assert [problem.row for problem in table.problems] == [5, 4]
    assert "c.png: damaged" in str(table.problems[1])


def test_frames_of_one_file_are_one_person(images):
    import tifffile

    tifffile.imwrite(images / "m.tif", RNG.integers(0, 256, (3, 5, 7), np.uint8), photometric="minisblack")
    table = read(images, "path,label\nm.tif,ill\na.png,well\n", frames="all")
    assert len(table) == 4
    assert len(set(table.people())) == 2
    assert table.images.name(2).endswith("m.tif (frame 2)")


# --- folders --------------------------------------------------------------------------------------------------------


def folder(path, **settings):
    return file_list.read(Folder(kind="folder", path=path, cache=path.parent / "cache", **settings))


def place(path, names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (4, 4), np.uint8)).save(path / name)
    return path


def test_a_folder_a_class(tmp_path):
    path = place(tmp_path / "d", ["ill/1.png", "ill/sub/2.png", "well/1.png"])
    (path / "ill" / ".DS_Store").write_bytes(b"litter")
    table = folder(path)
    assert table.classes == ("ill", "well")
    assert table.labels.tolist() == [0, 0, 1]
    assert table.site is None


def test_folders_of_splits_and_of_sites_are_understood(tmp_path):
    table = folder(place(tmp_path / "k", ["train/ill/1.png", "train/well/1.png", "test/ill/2.png", "val/well/2.png"]))
    assert sorted(table.split) == ["test", "train", "train", "validation"]
    table = folder(place(tmp_path / "s", ["A/ill/1.png", "A/well/1.png", "B/well/2.png"]), site_folders=True)
    assert table.site == ("A", "A", "B")


def test_what_is_no_image_or_no_class_is_named(tmp_path):
    path = place(tmp_path / "d", ["ill/1.png", "well/1.png"])
    (path / "well" / "README.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(DataError, match=r"README.txt: not an image of a known format"):
        folder(path)
    assert len(folder(path, on_error="report").problems) == 1
    with pytest.raises(DataError, match="label 'well' is none of ill, healthy"):
        folder(path, labels=("ill", "healthy"))
    (path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: an empty folder"):
        folder(path)
    with pytest.raises(DataError, match="expected a folder with one folder a class"):
        folder(path / "ill" / "1.png")


# --- the cache ------------------------------------------------------------------------------------------------------


def entries(folder_):
    return sorted((folder_ / "cache").rglob("*.npz"))


def test_a_decoded_file_is_not_decoded_again_until_it_changes(images, monkeypatch):
    read(images, "path,label\n" + GOOD)
    decoded = []
    monkeypatch.setattr(
        readers, "read", lambda path, frames, read=readers.read: decoded.append(path) or read(path, frames)
    )
    table = read(images, "path,label\n" + GOOD)
    assert not decoded
    time.sleep(0.01)
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(images / "a.png")
    again = read(images, "path,label\n" + GOOD)
    assert decoded == [ImageFile(images / "a.png")]
    assert again.images.facts(0).brightest == 0 < table.images.facts(0).brightest


def of_an_older_release(_):
    with BytesIO() as file:
        np.savez(file, frame0=np.zeros((5, 7, 1), np.uint8), told=np.frombuffer(b"{}", np.uint8))
        return file.getvalue()


@pytest.mark.parametrize(
    "damage", [lambda c: b"", lambda c: c[: len(c) // 2], lambda c: b"\0" * len(c), of_an_older_release]
)
def test_a_damaged_entry_is_made_again(images, damage):
    expected = [p.pixels for p in read(images, "path,label\n" + GOOD).images.pictures([0, 1])]
    for entry in entries(images):
        entry.write_bytes(damage(entry.read_bytes()))
    table = read(images, "path,label\n" + GOOD)
    np.testing.assert_array_equal([p.pixels for p in table.images.pictures([0, 1])], expected)
    for entry in entries(images):  # and once more after it was looked up
        entry.write_bytes(damage(entry.read_bytes()))
    np.testing.assert_array_equal([p.pixels for p in table.images.pictures([0, 1])], expected)


def test_changed_pixels_in_an_entry_are_noticed(images):
    table = read(images, "path,label\n" + GOOD)
    expected = next(table.images.pictures([0])).pixels
    for entry in entries(images):
        content = bytearray(entry.read_bytes())
        content[-5] ^= 255  # a pixel, of the last frame
        entry.write_bytes(content)
    np.testing.assert_array_equal(next(table.images.pictures([0])).pixels, expected)


def test_threads_read_entries_without_pythons_parser(images, monkeypatch):
    """In Python 3.11.7 two threads that are in it at once can end in a SystemError."""
    table = read(images, "path,label\n" + GOOD)
    expected = [p.pixels for p in table.images.pictures([0, 1])]
    monkeypatch.setattr(ast, "parse", None)
    monkeypatch.setattr(readers, "read", None)
    np.testing.assert_array_equal([p.pixels for p in table.images.pictures([0, 1])], expected)


def test_an_interrupted_write_leaves_nothing(images, monkeypatch):
    def interrupted(file, *_):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(image_cache.cache_entry, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(images, "path,label\n" + GOOD)
    assert [p for p in (images / "cache").rglob("*") if p.is_file()] == []


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(images):
    (images / "cache").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(DataError, match="cache: decoded images cannot be kept here"):
        read(images, "path,label\n" + GOOD)


def test_processes_decode_the_same_as_one(images, monkeypatch):
    wanted = [(ImageFile(images / f"{name}.png"), "middle") for name in [*"abcdef", "none"]]
    alone = image_cache.gather(images / "one", wanted)
    monkeypatch.setattr(image_cache, "ALONE_S", -1.0)
    together = image_cache.gather(images / "many", wanted)
    assert [k.facts for k in alone[:-1]] == [k.facts for k in together[:-1]]
    assert str(alone[-1]) == str(together[-1])


@pytest.mark.parametrize("values", [[0, 255], [0, 65535], [-5, 300], [0.5, 1], [-1e6, 1e6]])
def test_the_smallest_type_holds_the_same_values(values):
    pixels = np.array(values, np.float32)
    np.testing.assert_array_equal(image_cache.smallest(pixels).astype(np.float32), pixels)

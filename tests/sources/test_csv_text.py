"""CSVs as spreadsheets, scripts and people write them: read with the right values, or refused by file and row."""

import os
import unicodedata

import pytest

from client.sources import file_list
from common.config import Manifest
from common.errors import DataError
from tests.sources.small_images import write_images


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path, [f"img/{i}.png" for i in range(6)])


def table(folder, content, **settings):
    content = content if isinstance(content, bytes) else content.encode()
    (folder / "list.csv").write_bytes(content)
    return file_list.read(Manifest(kind="manifest", path=folder / "list.csv", cache=folder / "cache", **settings))


def labels(found):
    return [found.classes[label] for label in found.labels]


PLAIN = "path,label\nimg/0.png,ill\nimg/1.png,well\n"


@pytest.mark.parametrize(
    "content",
    [
        "path,label,,\nimg/0.png,ill,,\nimg/1.png,well,,\n",
        "path,label,,\nimg/0.png,ill\nimg/1.png,well\n",
        "path,label\nimg/0.png,ill,,\nimg/1.png,well,\n",
        "path,label\nimg/0.png,ill\nimg/1.png,well\n,\n,\n\n",
        "\n\npath,label\nimg/0.png,ill\n\nimg/1.png,well\n",
        ",path,label\n0,img/0.png,ill\n1,img/1.png,well\n",
        "path,label,comment,comment\nimg/0.png,ill,a,b\nimg/1.png,well,c,d\n",
        "sep=;\npath;label\nimg/0.png;ill\nimg/1.png;well\n",
        '"sep=;"\r\npath;label\r\nimg/0.png;ill\r\nimg/1.png;well\r\n',
        "SEP=\t\npath\tlabel\nimg/0.png\till\nimg/1.png\twell\n",
        "path|label\nimg/0.png|ill\nimg/1.png|well\n",
        "path;label;size, mm\nimg/0.png;ill;1,5\nimg/1.png;well;2,5\n",
        '"path";"label";"a,b,c,d"\n"img/0.png";"ill";""\n"img/1.png";"well";""\n',
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.rstrip("\n"),
        " path , LABEL \nimg/0.png , ill\n img/1.png,well \n",
        "ｐａｔｈ,label\u200b\nimg/0.png,ill\nimg/1.png,well\n",
        "path,label\nimg\\0.png,ill\nimg\\1.png,well\n",
        "path,label\n.\\img\\0.png,ill\n./img/1.png,well\n",
        'path,label,note\nimg/0.png,ill,"two\nlines, and ""quotes"""\nimg/1.png,well,x\n',
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace(",", "\t").encode("utf-16"),
        PLAIN.encode("utf-32"),
    ],
)
def test_the_same_list_however_it_is_written(folder, content):
    found = table(folder, content)
    assert labels(found) == ["ill", "well"]
    assert [found.images.name(i)[-9:] for i in range(2)] == ["img/0.png", "img/1.png"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("path,label\n", "list.csv: an empty list: no row below the header"),
        ("path,label,,\n,,,\n", "no row below the header"),
        ("", "row 1: no column 'path' .found nothing"),
        ("\n\n", "row 1: no column 'path'"),
        (
            "path,label,\nimg/0.png,ill,\nimg/1.png,ill, severe\n",
            "row 3: the cell 'severe' stands in a column without",
        ),
        ("path,label\nimg/0.png,ill\nimg/1.png,well, severe\n", "row 3: has 3 cells, the header has 2"),
        ("path,label,age\nimg/0.png,ill,4\nimg/1.png,well\n", "row 3: has 2 cells, the header has 3"),
        ("path,Label,label \nimg/0.png,ill,x\n", "row 1: the column 'label' is there twice"),
        ("sep=;\npath;label\nimg/0.png;ill\nimg/1.png;\n", "row 4: the cell 'label' is empty"),
        ('path,label\nimg/0.png,"ill\nimg/1.png,well\n', "list.csv, line 3: not a CSV"),
        ('path,label\nimg/0.png,"il"l\n', "list.csv, line 2: not a CSV"),
        ("path,label\nimg/0.png," + "x" * 200_000 + "\n", "line 2: not a CSV .field larger"),
        ("path,label\nimg/0.png,ill\nimg/./0.png,well\n", "row 3: the same image as in row 2: img/./0.png"),
        ("path,label\nimg/0.png,ill\nimg\\0.png,well\n", r"row 3: the same image as in row 2: img\\0.png"),
        ("path,label\nC:\\img\\0.png,ill\nimg/1.png,well\n", r"row 2: .*C:\\img\\0.png: there is no such file"),
        ("path,label,frame\nimg/0.png,ill,9" + "9" * 5000 + "\nimg/1.png,well,\n", "row 2: frame '99"),
        ("path,label,frame\nimg/0.png,ill,-1\nimg/1.png,well,\n", "row 2: frame '-1'"),
        (
            "path,label,split\nimg/0.png,ill,fold1\nimg/1.png,well,train\n",
            "row 2: split 'fold1'; expected train",
        ),
        ("path,\x1b[2Jlabel\nimg/0.png,ill\n", r"row 1: .*\\x1b\[2Jlabel"),
        ("path,label\nimg/0.png,ill\n\x1b]0;x\x07.png,well\n", r"row 3: .*\\x1b\]0;x\\x07.png: there is no such file"),
        (b"PK\x03\x04rest", "list.csv: an Excel or OpenDocument workbook, expected a CSV"),
        (b"\xd0\xcf\x11\xe0rest", "an old Excel workbook"),
        (b"\x1f\x8brest", "packed with gzip"),
        (PLAIN.encode("utf-16-le"), "row 1: holds a zero byte"),
        (
            "path,label\nimg/0.png,grün\nimg/1.png,".encode() + "grün\n".encode("cp1252"),
            "line 3: not UTF-8, and line 2 is",
        ),
        (b"path,label\nimg/0.png," + b"\x81\x8d\nimg/1.png,well\n", "line 2: not UTF-8, nor Windows-1252"),
        (b"\xff\xfep", "line 1: not utf-16"),
    ],
)
def test_what_cannot_be_right_is_refused_by_file_and_row(folder, content, what):
    with pytest.raises(DataError, match=what):
        table(folder, content)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_what_excel_writes_in_western_europe_is_read_and_pointed_out(folder, encoding):
    found = table(folder, "path;label\nimg/0.png;krank\nimg/1.png;üblich\n".encode(encoding))
    assert found.classes == ("krank", "üblich")
    assert (
        "list.csv is not UTF-8, and was read as Windows-1252: is line 3 right, 'img/1.png;üblich'?" in found.unused[0]
    )


def test_an_encoding_can_be_named(folder):
    content = "path,label\nimg/0.png,nemoc\nimg/1.png,běžný\n"
    for encoding in ("cp1250", "utf-16-le", "mac-latin2", "utf-8"):
        found = table(folder, content.encode(encoding), encoding=encoding)
        assert (found.classes, found.unused) == (("běžný", "nemoc"), ())
    with pytest.raises(DataError, match="line 3: not utf-8"):
        table(folder, content.encode("cp1250"), encoding="utf-8")
    for name in ("klingon", "undefined", "hex"):
        with pytest.raises(DataError, match=f"data.encoding '{name}' is not known"):
            table(folder, content, encoding=name)


def test_columns_of_other_names_are_mapped(folder):
    content = "file name,Diagnosis,Pat-ID,label\nimg/0.png,ill,7,x\nimg/1.png,well,8,y\n"
    found = table(folder, content, columns={"path": "File Name", "label": "diagnosis", "patient": "Pat-ID"})
    assert (labels(found), found.patient) == (["ill", "well"], ("7", "8"))
    assert found.unused == ("found and not used: 1 columns of list.csv: label",)
    with pytest.raises(DataError, match=r"no column 'path' .found file name, Diagnosis.*data.columns: {path: …}"):
        table(folder, content)
    with pytest.raises(DataError, match="no column 'MRN'"):
        table(folder, content, columns={"path": "file name", "patient": "MRN"})


def test_columns_that_are_not_used_are_counted_and_named(folder):
    found = table(folder, "path,label,subject,age\nimg/0.png,ill,7,4\nimg/1.png,well,8,5\n")
    assert found.unused == ("found and not used: 2 columns of list.csv: subject, age",)


def test_words_of_splits_are_mapped_and_rows_set_aside_are_counted(folder):
    content = "path,label,split\n" + "".join(
        f"img/{i}.png,{label},{part}\n"
        for i, (label, part) in enumerate([("ill", "fold1"), ("well", "fold1"), ("ill", "fold2"), ("well", "old")])
    )
    found = table(folder, content, splits={"fold1": "train", "fold2": "test", "old": "unused"})
    assert found.split == ("train", "train", "test")
    assert found.unused == ("found and not used: 1 rows of list.csv, as data.splits says",)


def test_frames_as_pandas_writes_them_beside_missing_ones(folder):
    import numpy as np
    import tifffile

    tifffile.imwrite(folder / "m.tif", np.arange(48, dtype=np.uint8).reshape(3, 4, 4), photometric="minisblack")
    found = table(folder, "path,label,frame\nm.tif,ill,2.0\nm.tif,well,0.0\nimg/1.png,well,\nimg/2.png,well,NaN\n")
    assert [next(found.images.pictures([i])).pixels[0, 0, 0] for i in (0, 1)] == [32, 0]


def test_a_name_in_the_other_form_of_its_accents_is_found(folder):
    for written, listed in (("NFC", "NFD"), ("NFD", "NFC")):
        write_images(folder, [unicodedata.normalize(written, f"é{written}.png")])
        name = unicodedata.normalize(listed, f"é{written}.png")
        assert len(table(folder, f"path,label\n{name},ill\nimg/1.png,well\n")) == 2


def test_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(DataError, match=r"pipe.csv: no file"):
        file_list.read(Manifest(kind="manifest", path=folder / "pipe.csv"))

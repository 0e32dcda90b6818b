"""A label that is none, and one word in two spellings: never a class more, never two people without a word."""

import numpy as np
import pytest

from client.sources import file_list, npz
from client.sources.spelling import is_cut_number, likeness, says_nothing
from common.config import Manifest, Npz
from common.errors import DataError
from tests.sources.small_images import write_images

ALIKE = [
    ("007", "'7"),
    ('="007"', "7"),
    ("ill", "Ill"),
    ("ill", " ill "),
    ("ill", "ill\u200b"),
    ("ill", "\ufeffill"),
    ("ill", "i\u00adll"),
    ("a b", "a\u00a0b"),
    ("a b", "a  b"),
    ("a b", "a\tb"),
    ("ill", "ｉｌｌ"),
    ("kranké", "kranke\u0301"),
    ("1", "1.0"),
    ("1", "01"),
    ("1", "1,0"),
    ("1", "１"),
    ("1", "١"),
    ("1000", "1e3"),
    ("0", "0.0"),
    ("0", "-0"),
    ("S1", "s1"),
    ("S1", "S-1"),
    ("S1", "S 1"),
    ("S1", "S_1"),
    ("S1", "S001"),
    ("P-7a", "p-07A"),
    ("covid-19", "COVID 19"),
    ("no finding", "No_Finding"),
    ("Straße", "STRASSE"),
    ("ﬁbrosis", "fibrosis"),
    ("ill\u202e", "ill"),
    ("non–small", "non-small"),
    ("1-2", "1−2"),
    ("\u0430bc", "abc"),
]
APART = [
    ("ill", "well"),
    ("1", "2"),
    ("1", "-1"),
    ("1", "10"),
    ("1.5", "1.05"),
    ("1-12", "11-2"),
    ("1 12", "11 2"),
    ("1_12", "11_2"),
    ("S1", "S10"),
    ("S1", "S11"),
    ("a", "b"),
    ("1.2.3", "1.2.30"),
    ("ill", "ill2"),
    ("e", "é"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_two_spellings_of_one_word_are_alike(one, other):
    assert likeness(one) == likeness(other)


@pytest.mark.parametrize(("one", "other"), APART)
def test_two_words_are_not(one, other):
    assert likeness(one) != likeness(other)


NOTHING = [
    "",
    " ",
    "\u200b",
    "NaN",
    "nan",
    "NA",
    "N/A",
    "n/a",
    "null",
    "NULL",
    "None",
    "#N/A",
    "<NA>",
    "NaT",
    "-",
    "--",
    "—",
    "?",
    ".",
    "#REF!",
    "#DIV/0!",
    "unknown",
    "ＮＡ",
    "1.#IND",
    "#######",
    "n.d.",
    "tbd",
    "nicht bekannt",
    "desconhecido",
    "not recorded",
]


@pytest.mark.parametrize("word", NOTHING)
def test_what_stands_for_nothing_says_nothing(word):
    assert says_nothing(word)


@pytest.mark.parametrize("word", ["0", "-1", "nana", "normal", "no", "N", "none of them", "nodule", "negative", "+"])
def test_what_says_something_is_left_alone(word):
    assert not says_nothing(word)


def test_a_number_that_a_spreadsheet_cut_is_known():
    assert all(map(is_cut_number, ["1.23457E+11", "1,23E+11", "1e+15"]))
    assert not any(map(is_cut_number, ["123457", "1E-3", "E+11", "P1E+11"]))


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path, [f"{i}.png" for i in range(8)])


def table(folder, rows, head="path,label", **settings):
    text = head + "\n" + "".join(",".join((f"{i}.png", *row)) + "\n" for i, row in enumerate(rows))
    (folder / "list.csv").write_text(text, encoding="utf-8", newline="")
    return file_list.read(Manifest(kind="manifest", path=folder / "list.csv", cache=folder / "cache", **settings))


WITHOUT_COMMAS = [pair for pair in ALIKE if "," not in pair[0] + pair[1]]


@pytest.mark.parametrize(("one", "other"), WITHOUT_COMMAS)
def test_labels_in_two_spellings_are_refused_merged_or_kept_as_the_configuration_says(folder, one, other):
    rows = [(one,), ("well",), (other,), (other,), ("well",)]
    if one.strip() == other.strip():
        assert len(table(folder, rows).classes) == 2
        return
    with pytest.raises(DataError, match=r"labels that are spelt in several ways, 1 of them:\n.*row 2.*row 4") as caught:
        table(folder, rows)
    assert "data.spelling: merge" in str(caught.value)
    merged = table(folder, rows, spelling="merge")
    assert set(merged.classes) == {other.strip(), "well"}  # what most rows write
    assert merged.labels.tolist() == [
        merged.classes.index(w) for w in (other.strip(), "well", other.strip(), other.strip(), "well")
    ]
    assert len(table(folder, rows, spelling="keep").classes) == 3


def test_patients_in_two_spellings_are_one_person_where_the_configuration_says_so(folder):
    rows = [("ill", "S01"), ("well", "s1"), ("ill", "S2"), ("well", "S3")]
    with pytest.raises(
        DataError, match=r"patients that are spelt in several ways, 1 of .*:\n  'S01' \(row 2\), 's1' \(row 3\)"
    ):
        table(folder, rows, "path,label,patient")
    assert len(set(table(folder, rows, "path,label,patient", spelling="merge").people())) == 3
    assert len(set(table(folder, rows, "path,label,patient", spelling="keep").people())) == 4


def test_patients_of_two_sites_are_two_people_however_they_are_spelt(folder):
    rows = [("ill", "S01", "A"), ("well", "s1", "B"), ("ill", "1", "A"), ("well", "01", "B")]
    assert len(set(table(folder, rows, "path,label,patient,site").people())) == 4


def test_sites_in_two_spellings_are_refused_or_merged_and_their_patients_with_them(folder):
    rows = [("ill", "1", "Lisboa"), ("well", "01", "lisboa"), ("ill", "2", "Porto")]
    with pytest.raises(DataError, match=r"list.csv: sites that are spelt in several ways"):
        table(folder, rows, "path,label,patient,site")
    merged = table(folder, rows, "path,label,patient,site", spelling="merge")
    assert merged.site == ("Lisboa", "Lisboa", "Porto")
    assert len(set(merged.people())) == 2


@pytest.mark.parametrize("word", [w for w in NOTHING if w.strip() and w != "\u200b"])
def test_a_label_that_says_nothing_is_a_bad_row_unless_it_is_named_as_a_class(folder, word):
    rows = [("ill",), (word,), ("well",)]
    with pytest.raises(DataError, match=r"row 3: label .* says that none is known"):
        table(folder, rows)
    assert table(folder, rows, on_error="report").classes == ("ill", "well")
    assert table(folder, rows, labels=("ill", "well", word)).labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize(("column", "word"), [("site", "nan"), ("split", "null"), ("path", "-")])
def test_other_cells_that_say_nothing_are_bad_rows(folder, column, word):
    head = f"path,label,{column}" if column != "path" else "name,label,path"
    good = {"split": "train"}.get(column, "x")
    rows = [("ill", "1.png" if column == "path" else good), ("well", word)]
    with pytest.raises(DataError, match=f"row 3: the cell '{column}' says '{word}'"):
        table(folder, rows, head)


def test_a_patient_number_that_a_spreadsheet_cut_is_a_bad_row(folder):
    with pytest.raises(DataError, match=r"row 2: patient '1.23457E\+11' is a number that a spreadsheet has cut"):
        table(folder, [("ill", "1.23457E+11"), ("well", "2")], "path,label,patient")


def test_patients_who_are_nobody_are_not_held_against_each_other(folder):
    found = table(folder, [("ill", "NA"), ("well", "na"), ("ill", "unknown"), ("well", "7")], "path,label,patient")
    assert found.patient == (None, None, None, "7")


def test_a_label_that_is_spelt_like_a_configured_one_is_pointed_out_or_taken_for_it(folder):
    rows = [("Ill",), ("well",), ("ill ",)]
    with pytest.raises(DataError, match=r"row 2: label 'Ill' is none of ill, well; it is spelt like 'ill'"):
        table(folder, rows, labels=("ill", "well"))
    assert table(folder, rows, labels=("ill", "well"), spelling="merge").labels.tolist() == [0, 1, 0]
    groups = {"ILL": "yes", "well": "no"}
    assert table(folder, rows, groups=groups, spelling="merge").labels.tolist() == [0, 1, 0]


def test_spellings_that_look_the_same_are_told_apart_in_the_message(folder):
    with pytest.raises(DataError, match=r"kranke\\u0301") as caught:
        table(folder, [("kranké",), ("kranke\u0301",), ("well",)])
    assert r"krank\xe9" in str(caught.value)
    with pytest.raises(DataError, match=r"'ill\\u200b'"):
        table(folder, [("ill",), ("ill\u200b",), ("well",)])


def test_words_in_an_npz_are_held_to_the_same(tmp_path):
    def read(labels, **settings):
        np.savez(
            tmp_path / "a.npz",
            images=np.zeros((4, 3, 3), np.uint8),
            labels=np.array(labels),
            who=np.array(["1", "01", "2", "3"]),
        )
        return npz.read(Npz(kind="npz", path=tmp_path / "a.npz", **settings))

    with pytest.raises(DataError, match=r"labels\[1\]: label 'nan' says that none is known"):
        read(["a", "nan", "b", "b"])
    with pytest.raises(DataError, match=r"'a' \(labels\[0\]\), 'A' \(labels\[1\]\)"):
        read(["a", "A", "b", "b"])
    assert read(["a", "A", "b", "b"], spelling="merge").labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(DataError, match=r"'1' \(who\[0\]\), '01' \(who\[1\]\)"):
        read(["a", "a", "b", "b"], patient="who")
    assert read(["a", "a", "b", "b"], patient="who", spelling="merge").patient == ("1", "1", "2", "3")

"""Worklists as spreadsheets write them, the pace of a pull, and answers in parts."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.pacs.commands import columns_of
from client.pacs.multipart_parts import boundary_of, parts
from client.pacs.pacs_settings import parse_settings, read_all, write_one
from client.pacs.pull_pace import PullPace, parse_hours
from client.pacs.worklist import read_worklist
from common.config import Manifest
from common.errors import ConfigError, DataError, PacsError


def read(folder, text, columns=None, labels=True, **more):
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return read_worklist(Manifest(kind="manifest", path=path, **more), columns or {}, labels)


def items(worklist):
    return [(item.accession, item.label, item.number) for item in worklist.items]


def test_a_list_of_a_spreadsheet_is_read_with_its_own_headings(tmp_path):
    worklist = read(
        tmp_path, "sep=;\nNr;Auftrag;Befund;split\n1;A 1;ill;train\n2;A 2;well;test\n",
        {"accession": "auftrag", "label": "Befund"},
    )  # fmt: skip
    assert items(worklist) == [("A 1", "ill", 3), ("A 2", "well", 4)]
    assert [item.split for item in worklist.items] == ["train", "test"]
    assert items(read(tmp_path, "Accession Number,Label\nA1,ill\n")) == [("A1", "ill", 2)]


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("", "names no accession number"),
        ("NaN", "names no accession number"),
        ("1.23457E+11", "a spreadsheet has cut short"),
        ("A*", "none of * ?"),
        ("A" * 17, "at most 16 letters"),
        ("A1\\A2", "none of * ?"),
    ],
)
def test_a_cell_that_would_find_something_else_is_named(tmp_path, cell, what):
    worklist = read(tmp_path, f"accession,label\n{cell},ill\nB1,well\n")
    assert items(worklist) == [("B1", "well", 3)]
    assert [problem.row for problem in worklist.problems] == [2]
    assert what in worklist.problems[0].what


def test_rows_that_contradict_each_other_or_may_mean_one_study_are_all_named(tmp_path):
    rows = ["A1,ill", "A1,ill", "B1,ill", "B1,well", "C-7,well", "c7,well", "D1,", "E1,well"]
    worklist = read(tmp_path, "accession,label\n" + "\n".join(rows) + "\n")
    assert items(worklist) == [("A1", "ill", 2), ("E1", "well", 9)]
    assert worklist.remarks == ("accession A1 stands in rows 2 and 3, alike",)
    assert sorted(problem.row for problem in worklist.problems) == [4, 5, 6, 7, 8]
    text = " ".join(problem.what for problem in worklist.problems)
    for what in ("stands in rows 4 and 5, as 'ill', 'well'", "'C-7', 'c7' in rows 6 and 7", "has no label"):
        assert what in text


def test_labels_in_two_spellings_are_refused_or_merged_and_findings_are_read(tmp_path):
    text = "accession,label\nA1,Ill\nA2,ill \nA3,ill\n"
    with pytest.raises(DataError, match="spelt in several ways"):
        read(tmp_path, text)
    assert {item.label for item in read(tmp_path, text, spelling="merge").items} == {"ill"}
    worklist = read(
        tmp_path, "accession,nodule,effusion\nA1,1,\nA2,0,1\nA3,,\n", findings=("nodule", "effusion")
    )  # fmt: skip
    assert items(worklist) == [("A1", "nodule=1", 2), ("A2", "nodule=0|effusion=1", 3)]
    assert [problem.row for problem in worklist.problems] == [4]


@pytest.mark.parametrize(
    ("text", "what"),
    [("label\nill\n", "no column 'accession'"), ("accession,label\n", "an empty list"),
     ("acession,label\nA1,ill\n", "did you mean 'acession'"), ("accession,accession number,label\nA,B,C\n", "two c")],
)  # fmt: skip
def test_a_list_without_its_columns_is_refused(tmp_path, text, what):
    with pytest.raises(DataError, match=what):
        read(tmp_path, text)


def test_columns_are_named_on_the_command_line():
    assert columns_of("accession=Auftrag, label=Befund") == {"accession": "Auftrag", "label": "Befund"}
    for text in ("path=File", "label=", "label"):
        with pytest.raises(ConfigError, match="--columns"):
            columns_of(text)


@pytest.mark.parametrize(
    ("now", "hours", "expected_h"),
    [("21:30", "20-06", 0), ("05:59", "20-06", 0), ("06:00", "20-06", 14), ("12:00", "20-06", 8), ("12:00", "8-18", 0),
     ("18:00", "8-18", 14), ("07:00", "8-18", 1), ("23:59", "22-24", 0)],
)  # fmt: skip
def test_in_other_hours_it_waits_for_the_next(now, hours, expected_h):
    at = datetime.strptime(f"2026-11-30 {now}", "%Y-%m-%d %H:%M").astimezone()
    assert PullPace(0.0, parse_hours(hours), lambda: at).pause_s() == pytest.approx(3600 * expected_h)


def test_a_rate_spreads_studies():
    pace = PullPace(per_minute=60)
    assert pace.pause_s() == 0
    assert 0.9 < pace.pause_s() <= 1.0
    assert 1.9 < pace.pause_s() <= 2.0
    for text in ("20", "20-20", "25-3", "a-b"):
        with pytest.raises(ConfigError, match="two hours of the day"):
            parse_hours(text)


@given(st.lists(st.binary(max_size=60).filter(lambda c: b"--xyz" not in c), max_size=5), st.integers(1, 40))
def test_parts_come_out_whole_however_they_are_cut(contents, size):
    body = b"".join(b"--xyz\r\nContent-Type: a/b\r\n\r\n" + content + b"\r\n" for content in contents) + b"--xyz--\r\n"
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    assert list(parts(chunks, b"xyz", 1000)) == contents
    for end in range(len(body) - 4):
        with pytest.raises(PacsError) as half:
            list(parts([body[:end]], b"xyz", 1000))
        assert half.value.cause == "half"


def test_a_part_without_end_is_refused_and_so_is_another_kind_of_answer():
    with pytest.raises(PacsError, match="more than 1,000 bytes"):
        list(parts((b"--xyz\r\n\r\n" + b"x" * 70_000 for _ in range(9)), b"xyz", 1000))
    assert boundary_of('multipart/related; type="application/dicom"; boundary="a b"') == b"a b"
    for kind in ("text/html", "multipart/related", ""):
        with pytest.raises(PacsError, match="expected multipart/related"):
            boundary_of(kind)


@pytest.mark.parametrize(
    ("tree", "what"),
    [
        ({"kind": "dimse", "ae": "TOO-LONG-FOR-A-TITLE", "host": "h", "port": 1, "our_ae": "C"}, "ae"),
        ({"kind": "dimse", "ae": "A", "host": "h", "port": 0, "our_ae": "C"}, "port"),
        ({"kind": "dimse", "ae": "A", "host": "h", "port": 1, "our_ae": "C", "tls_ca": "x"}, "three files"),
        ({"kind": "dicomweb", "url": "ftp://h"}, "expected the address"),
        ({"kind": "dicomweb", "url": "https://me:hunter2@h/d"}, "a password in the address"),
        ({"kind": "dicomweb", "url": "http://pacs/d", "token_file": "t"}, "in the clear"),
        ({"kind": "dicomweb", "url": "https://pacs/d", "token_file": "t", "basic_file": "b"}, "not both"),
    ],
)
def test_settings_that_cannot_be_are_refused_without_their_secret(tree, what):
    with pytest.raises(ConfigError, match=what) as refusal:
        parse_settings(tree)
    assert "hunter2" not in str(refusal.value)


def test_settings_are_kept_and_a_damaged_file_is_named(tmp_path):
    web = parse_settings({"kind": "dicomweb", "url": "https://pacs/dicom-web/", "token_file": "/etc/t"})
    dimse = parse_settings({"kind": "dimse", "ae": "A", "host": "h", "port": 104, "our_ae": "C", "senders": ["B"]})
    write_one(tmp_path, "web", web)
    write_one(tmp_path, "radiology", dimse)
    assert read_all(tmp_path) == {"web": web, "radiology": dimse}
    assert (web.address, dimse.address) == ("https://pacs/dicom-web", "A@h:104")
    (tmp_path / "pacs.yaml").write_text("web: {kind: dicomweb, url: https://pacs, ports: 1}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"pacs\.yaml.*ports"):
        read_all(tmp_path)

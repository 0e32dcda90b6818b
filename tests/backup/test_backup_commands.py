"""The commands as an engineer types them, with what they say and how they end."""

import re

import pytest

from client.__main__ import main
from common.audit.entries import decode
from tests.admitted import home_of
from tests.backup.places import Place


@pytest.fixture
def place(tmp_path, monkeypatch):
    place = Place(tmp_path)
    place.bring(2)
    monkeypatch.chdir(tmp_path)
    return place


def said(capsys, *words, ends=0):
    """What a command prints, both ways."""
    capsys.readouterr()
    assert main(list(words)) == ends
    told = capsys.readouterr()
    return told.out + told.err


def test_a_site_is_backed_up_checked_lost_and_made_anew_by_typing(place, capsys):
    assert "Snapshot 1 in disk/lisbon" in said(capsys, "backup", "disk")
    place.bring(4)
    assert "Snapshot 2 in disk/lisbon" in said(capsys, "backup", "disk")
    assert len(re.findall(r"^\d: .* UTC, .* data sets: chest$", said(capsys, "backup", "list", "disk"), re.M)) == 2
    assert "2 snapshots read, 0 problems" in said(capsys, "backup", "verify", "disk")
    told = said(capsys, "backup", "drill", "disk", "--scratch", ".")
    assert "passed" in told
    assert "4 images" in told
    assert "1 snapshots removed" in said(capsys, "backup", "prune", "disk", "--keep", "1")
    place.home.folder.rename("burnt")
    told = said(capsys, "restore", "disk", "--recovery", "recovery.key")
    assert "data set chest, version" in told
    assert "--new-keys" in told
    assert "chest: 4 cases" in said(capsys, "custody", "list")
    assert "0 damaged" in said(capsys, "custody", "verify", "chest")
    assert "is in its place" in said(capsys, "audit", "verify")
    log = home_of(place.home.folder).log
    entries = [decode(line, number, "") for number, line in enumerate(log.lines())]
    assert [entry.facts["snapshot"] for entry in entries if entry.what == "backup" and entry.facts] == [1]
    assert [entry.facts["snapshot"] for entry in entries if entry.what == "restore" and entry.facts] == [2]
    assert "Snapshot 3 in disk/lisbon" in said(capsys, "backup", "disk")
    assert "is restored to new" in said(capsys, "restore", "disk", "--home", "new", "--from", "site")


def test_what_is_damaged_ends_in_status_1_and_no_site(place, capsys):
    said(capsys, "backup", "disk")
    for path in place.disk.rglob("objects/*/*"):
        path.write_bytes(b"")
    assert "problems" in said(capsys, "backup", "verify", "disk", ends=1)
    assert "FAILED" in said(capsys, "backup", "drill", "disk", "--scratch", ".", ends=1)
    told = said(capsys, "restore", "disk", "--home", "new", "--recovery", "recovery.key", ends=1)
    assert "it is no site yet" in told
    assert "--leave-out-damaged" in told


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("backup", "list", "nowhere"), r"nowhere: holds no backup\. Is the disk mounted\?.*\[BACKUP"),
        (("backup", "site/below"), r"is in the site's folder.*\[CONFIG"),
        (("backup", "prune", "disk"), r"--keep N says how many snapshots stay.*\[CONFIG"),
        (("backup", "drill", "disk", "--snapshot", "7"), r"there is no snapshot 7; there is: 1\..*\[BACKUP"),
        (("restore", "disk", "--recovery", "site/site.yaml", "--home", "new"), r"expected a recovery key.*\[CONFIG"),
        (("restore", "disk", "--recovery", "recovery.key"), r"site: is not empty.*\[CONFIG"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_with_a_code(words, what, place, capsys):
    said(capsys, "backup", "disk")
    assert re.search(what, said(capsys, *words, ends=2), re.S)


def test_words_that_are_no_action_end_in_usage(place, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["backup", "nonsense", "disk"])
    assert ended.value.code == 2
    assert "expected DEST, or one of list, verify, drill, prune and DEST" in capsys.readouterr().err

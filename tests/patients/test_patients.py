"""A patient withdraws: found by the hospital's own number, taken out of everything, and the log proves it."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from benchmarks import withdrawal
from client import __main__ as hospital
from client.custody.dataset_version import dataset_version
from client.custody.encrypted_cases import EncryptedImage
from client.custody.key_ring import Custody
from client.dataset.loading import load
from client.patients import removal
from client.patients.search import People, match, search
from common import config as configuration
from tests.access.staff import Site
from tests.admitted import home_of
from tests.custody import faults
from tests.custody.hospital import dicom, folder_of_dicoms, opened, taken_in, tell, written
from tests.patients import traces

PAGE = Path(__file__).parents[2] / "docs" / "withdrawal.md"
GONE, STAYS = "Sousa-4711-A", "Lima-0815-B"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A hospital with a data set of DICOM files and one of pixels, where one patient is in both; a backup of it."""
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path)
    site.of_each_role()
    site.custody = Custody(site.home)
    site.custody.begin(tmp_path / "recovery.key")
    taken_in(site.custody, export(tmp_path / "export"))
    random = np.random.default_rng(5)
    images = random.integers(0, 256, (6, 8, 8), np.uint8)
    np.savez(tmp_path / "b.npz", images=images, labels=np.arange(6) % 2, patient=np.array([GONE, STAYS] * 3))
    words = ("import", "b.npz", "--name", "breast", "--data", "labels=[zero,one]", "patient=patient")
    site.needles = [images[i].tobytes() for i in (0, 2, 4)]
    site.npz_status = site.type(*words)
    site.needles += pixels(tmp_path / "export", GONE)
    traces.snapshot(site.custody, tmp_path / "disk")
    (tmp_path / "list.txt").write_text(f"{GONE}\n", encoding="utf-8")
    return site


def export(folder, people=(GONE, STAYS, "Reis-1", "Dias-2"), each=3):
    for number, who in enumerate(people):
        for i in range(each):
            place = folder / ("ill", "well")[(number + i) % 2]
            place.mkdir(parents=True, exist_ok=True)
            image = dicom(
                np.random.default_rng([number, i]).integers(0, 256, (8, 8), np.uint8), PatientID=who, InstanceNumber=i
            )
            (place / f"{number}-{i}.dcm").write_bytes(written(image))
    return folder


def pixels(folder, who):
    headers = [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    return [header.PixelData for header in headers if who == header.PatientID]


def cached(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "name: t\ndata: {kind: encrypted, path: site/sets/chest}\nsites: {split: iid, count: 1}\n"
        "preprocess: [{step: resize, size: [8, 8]}]\nmodel: {kind: svm}\n", encoding="utf-8",
    )  # fmt: skip
    return load(configuration.load(tmp_path / "c.yaml"), 0, home=home_of(tmp_path / "site"))


def test_it_is_found_by_the_hospital_s_number_and_the_log_has_no_name(site, tmp_path, capsys):
    cached(tmp_path)
    assert site.npz_status == 0
    assert site.type("patients", "find", "--file", "list.txt") == 0
    said = capsys.readouterr().out
    assert "data set chest, version " in said
    assert "3 images of 1 people" in said
    assert "cases: 2 ill, 1 well" in said
    assert "cases: 3 zero" in said
    assert "3 decoded images" in said
    assert "in the snapshots 1." in said
    assert "No run that began here had any" in said
    (entry,) = [e for e in site.entries() if e.what == "patients find" and e.outcome == "done"]
    assert (entry.facts["people"], entry.facts["images"]) == (1, 6)
    assert GONE.encode() not in b"".join(p.read_bytes() for p in site.home.folder.rglob("*") if p.is_file())


def test_taken_out_nothing_of_them_is_left_anywhere_and_all_else_is_as_it_was(site, tmp_path, capsys):
    cached(tmp_path)
    needles = [*site.needles, GONE.encode(), People("patient", (GONE,)).pseudonyms(opened(site.custody))[0].encode()]
    suspects = traces.suspects_of(search(site.custody, People("patient", (GONE,)), None))

    def look():
        return traces.count(traces.everything(site.custody, tmp_path / "cache", tmp_path / "disk", suspects), needles)

    assert look() == len(site.needles) + 1  # all but the hospital's own number
    before = [content for content in tell(site.custody)[0] if not any(n in content for n in site.needles)]
    assert site.type("patients", "remove", "--file", "list.txt", "--yes") == 0
    said = capsys.readouterr().out
    assert "chest: 3 images are taken out" in said
    assert "python -m client backup" in said
    traces.snapshot(site.custody, tmp_path / "disk")
    assert look() == 0
    assert tell(site.custody)[0] == before
    assert len(opened(site.custody, "breast").index.cases) == 3
    assert not list(opened(site.custody).verify())
    assert cached(tmp_path)
    assert look() == 0
    assert site.type("patients", "find", "--file", "list.txt") == 0
    said = capsys.readouterr().out
    assert "in the snapshots 1. They go with:\n  python -m client backup prune" in said
    assert "--keep 1" in said
    assert site.type("audit", "verify") == 0


def test_an_import_does_not_bring_them_back_until_they_are_readmitted(site, tmp_path, capsys):
    site.type("patients", "remove", "--file", "list.txt", "--yes", "--name", "chest")
    fresh = export(tmp_path / "fresh", (GONE, STAYS), 5)  # with two new images each
    outcome = taken_in(site.custody, fresh)
    assert (outcome.withdrawals, outcome.already, outcome.problems) == (5, 3, [])
    stays = People("patient", (STAYS,))
    assert len(match(opened(site.custody), stays).numbers) == 5
    assert site.type("patients", "readmit", "--file", "list.txt") == 0
    assert taken_in(site.custody, fresh).added == 5


def test_an_older_snapshot_that_brings_them_back_says_so(site, tmp_path, capsys):
    assert site.type("patients", "remove", "--file", "list.txt", "--yes") == 0
    traces.snapshot(site.custody, tmp_path / "disk")
    capsys.readouterr()
    words = ["restore", "disk", "--from", "site", "--home", "new", "--snapshot", "1", "--as", str(site.file("founder"))]
    assert hospital.main(words) == 0
    said = capsys.readouterr().out
    assert "WITHDRAWN  data set breast has 3 images again of patients who withdrew" in said
    assert "WITHDRAWN  data set chest has 3 images again of patients who withdrew" in said
    words[words.index("new")], words[words.index("1")] = "newest", "2"
    assert hospital.main(words) == 0
    assert "WITHDRAWN" not in capsys.readouterr().out


def test_the_log_proves_it_to_a_program_of_ten_lines(site, tmp_path, capsys):
    receipt = tmp_path / "letters.json"
    assert site.type("patients", "remove", "--file", "list.txt", "--yes", "--receipt", receipt) == 0
    assert site.type("audit", "export", tmp_path / "lisbon.audit") == 0
    (tmp_path / "check.py").write_text(PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0])
    key = next(p.key for p in site.content().people if p.name == "founder")
    code = next(p["code"] for p in json.loads(receipt.read_text())["patients"])

    def check(*words):
        return subprocess.run(
            [sys.executable, "check.py", *words], cwd=tmp_path, capture_output=True, text=True, check=False, env={}
        )

    good = ("lisbon.audit", "letters.json", key, GONE, code)
    assert "True" in check(*good).stdout, check(*good).stderr
    assert check("lisbon.audit", "letters.json", key, STAYS, code).returncode
    assert check("lisbon.audit", "letters.json", "00" * 32, GONE, code).returncode
    log = (tmp_path / "lisbon.audit").read_bytes()
    (tmp_path / "lisbon.audit").write_bytes(log.replace(b"chest images", b"chest imagez"))
    assert check(*good).returncode


def test_killed_at_any_moment_they_are_in_or_out_and_the_same_command_ends_it(site, tmp_path, capsys):
    cached(tmp_path)
    start, people = tmp_path / "start", People("patient", (GONE,))
    shutil.copytree(site.home.folder, start)
    shutil.copytree(tmp_path / "cache", tmp_path / "cache-before")

    def act():
        removal.remove(site.custody, [match(opened(site.custody), people)], people, [tmp_path / "cache"])

    before, points = tell(site.custody), faults.count(act)
    act()
    after, seen = tell(site.custody), {0: 0, 1: 0}
    for at in range(1, points + 1):
        for place, copy in ((site.home.folder, start), (tmp_path / "cache", tmp_path / "cache-before")):
            shutil.rmtree(place)
            shutil.copytree(copy, place)
        assert faults.killed(act, at) == -9
        now = tell(site.custody)
        assert now in (before, after)
        seen[now == after] += 1
        act()
        assert tell(site.custody) == after
    needles = pixels(tmp_path / "export", GONE)
    assert traces.count(traces.everything(site.custody, tmp_path / "cache"), needles) == 0
    with capsys.disabled():
        print(f"\na removal killed at {points} points: {seen[0]} in, {seen[1]} out, all ended by the same command")
    assert all(seen.values())


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("remove", "--file", "list.txt"), "nobody is there to be asked"),
        (("find", "--file", "site/list.txt"), "is in the site's folder"),
        (("remove", "--file", "list.txt", "--yes", "--receipt", "site/r.json"), "is in the site's folder"),
        (("remove", "--file", "list.txt", "--yes", "--receipt", "list.txt"), "exists already"),
        (("find", "--file", "empty.txt"), "no number was given"),
        (("find", "--file", "list.txt", "--name", "gone"), "no such data set"),
    ],
)
def test_what_is_typed_wrongly_changes_nothing(site, tmp_path, capsys, monkeypatch, words, what):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    (tmp_path / "site" / "list.txt").write_text(GONE, encoding="utf-8")
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    before = tell(site.custody)
    assert site.type("patients", *words) == 2
    assert what in capsys.readouterr().err
    assert tell(site.custody) == before


def test_who_is_unknown_is_named_by_their_place_in_the_list(site, tmp_path, capsys):
    (tmp_path / "list.txt").write_text(f"{GONE}\nNobody-1\n{STAYS}\nNobody-2\n", encoding="utf-8")
    assert site.type("patients", "find", "--file", "list.txt") == 1
    said = capsys.readouterr().out
    assert "nothing here is of number 2, 4 of the list" in said
    assert "Nobody" not in said


@pytest.mark.parametrize("by", ["path", "patient", "study"])
def test_labels_are_corrected_all_or_none(site, tmp_path, capsys, by):
    path = tmp_path / "export" / "ill" / "0-0.dcm"
    header = pydicom.dcmread(path)
    who = {"path": "export/ill/0-0.dcm", "patient": GONE, "study": header.StudyInstanceUID}[by]
    cases = {"path": 1, "patient": 2, "study": 1}[by]
    version, labels = dataset_version(opened(site.custody)), [c.label for c in opened(site.custody).index.cases]
    table = tmp_path / "wrong.csv"
    table.write_text(f"{by},was,label\n{who},well,ill\nnobody,ill,well\n{who},ill,broken\n", encoding="utf-8")
    if by == "path":
        table.write_text(table.read_text().replace("nobody", "gone.dcm"))
    assert site.type("patients", "relabel", table, "--name", "chest") == 2
    said = capsys.readouterr().err
    assert "row 3" in said
    assert "row 4: label 'broken' is none of ill, well" in said
    assert dataset_version(opened(site.custody)) == version
    table.write_text(f"{by},was,label\n{who},ill,well\n", encoding="utf-8")
    assert site.type("patients", "relabel", table, "--name", "chest") == 0
    assert f"{cases} cases have another label" in capsys.readouterr().out
    now = [c.label for c in opened(site.custody).index.cases]
    assert sum(a != b for a, b in zip(labels, now, strict=True)) == cases
    assert dataset_version(opened(site.custody)) != version
    back = tmp_path / "back.csv"
    back.write_text(f"{by},was,label\n{who},well,ill\n", encoding="utf-8")
    if by != "patient":
        assert site.type("patients", "relabel", back, "--name", "chest") == 0
        assert dataset_version(opened(site.custody)) == version


def test_a_study_can_be_taken_out_by_its_number(site, tmp_path):
    header = pydicom.dcmread(tmp_path / "export" / "ill" / "0-0.dcm")
    (tmp_path / "list.txt").write_text(header.StudyInstanceUID, encoding="utf-8")
    assert site.type("patients", "remove", "--studies", "--file", "list.txt", "--yes") == 0
    assert len(opened(site.custody).index.objects) == 11
    assert EncryptedImage(opened(site.custody), 10).open().read(132)[128:] == b"DICM"


def test_a_version_is_the_same_for_the_same_content_however_it_came_in(site, tmp_path):
    version = dataset_version(opened(site.custody))
    taken_in(site.custody, folder_of_dicoms(tmp_path / "more", 2, seed=9))
    more = dataset_version(opened(site.custody))
    assert more != version
    (tmp_path / "list.txt").write_text("P-0\n", encoding="utf-8")
    assert site.type("patients", "remove", "--file", "list.txt", "--yes") == 0
    assert dataset_version(opened(site.custody)) == version


def test_of_patients_drawn_at_random_nothing_is_left(tmp_path):
    outcome = withdrawal.run(tmp_path, 60, 8)
    assert outcome["looked for"] == outcome["found before"] + 8  # all but the hospital's own numbers
    assert (outcome["left"], outcome["taken out"]) == (0, outcome["expected"])
    assert outcome["older snapshots named"] == [[1]]

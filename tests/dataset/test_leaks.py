"""What may be on both sides of a split is kept on one, or said: by check, and by a run and its report alike."""

import json

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from client.__main__ import main as client
from client.access.policy_change import begin_policy
from client.custody.encrypted_cases import read as read_encrypted
from client.dataset import loading
from client.dataset.case_source import open_table
from client.dataset.splits import divide
from common import config as configuration
from common.config import Encrypted, Folder, Sites
from common.errors import DataError
from server.report import sentences
from simulate import main as simulate
from tests.custody.hospital import dicom, open_hospital, taken_in, written
from tests.dataset.textures import configured, folder_of, jpeg, save, texture

FOLDER = "{kind: folder, path: data, cache: cache}"


def check(capsys, *arguments):
    status = client(["check", *map(str, arguments)])
    return status, capsys.readouterr().out


def warned(said):
    """The warnings of check, each with all its lines, as one line."""
    blocks = said.split("\nwarn ")[1:]
    return [" ".join(block.split("\nok ")[0].split("\n\n")[0].split()) for block in blocks]


# --- whom images show -----------------------------------------------------------------------------------------------


@pytest.fixture
def slices(tmp_path):
    folder_of(tmp_path / "data", lambda i: f"patient{i // 4:03d}_slice{i % 4}.png")
    return configured(tmp_path, FOLDER)


def test_names_that_tell_patients_are_pointed_out_with_the_rule_to_set(slices, capsys):
    status, said = check(capsys, slices)
    assert status == 0
    (known, *_) = warned(said)
    assert "no patient is known for 48 cases" in known
    assert "each of 48 images counts as a person" in known
    assert "shows '000', one of 12 in 48 images" in known
    assert r"set data.patients: 'patient(\d+)'" in known
    _, said = check(capsys, slices, r"data.patients='patient(\d+)'")
    assert "12 patients, none on both sides of a split" in said


def test_a_rule_that_does_not_fit_a_name_names_the_file(slices, capsys):
    save(slices.parent / "data/ill/cover.png", texture(99, 24))
    status, said = check(capsys, slices, r"data.patients='patient(\d+)'")
    assert status == 1
    assert "cover.png: data.patients, 'patient(\\\\d+)', matches nothing in 'ill/cover.png'" in " ".join(said.split())


@pytest.mark.parametrize("source", ["path", "patient"])
def test_a_rule_reads_the_column_of_patients_else_the_paths_of_a_list(tmp_path, source):
    folder_of(tmp_path / "data", lambda i: f"s{i // 4}_{i % 4}.png", 24)
    files = sorted((tmp_path / "data").rglob("*.png"))
    rows = [f"{f.relative_to(tmp_path)},{f.parent.name},{f.stem}" for f in files]
    head = "path,label,patient" if source == "patient" else "path,label,note"
    (tmp_path / "list.csv").write_text("\n".join([head, *rows]), encoding="utf-8")
    config = configuration.load(
        configured(tmp_path, r"{kind: manifest, path: list.csv, cache: cache, patients: 's(\d+)'}")
    )
    assert set(open_table(config.data).patient) == set("012345")


def test_a_rule_reads_an_array_of_names(tmp_path):
    images = np.stack([texture(i, 24) for i in range(24)])
    names = np.array([f"case {i // 4} ({i}).png" for i in range(24)])
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(24) % 2, filename=names)
    config = configuration.load(
        configured(tmp_path, r"{kind: npz, path: a.npz, patient: filename, patients: 'case (\d+)'}")
    )
    assert set(open_table(config.data).patient) == set("012345")
    with pytest.raises(DataError, match=r"matches nothing in 'case 0 \(0\).png' of array 'filename'"):
        open_table(config.data.model_copy(update={"patients": "patient"}))


def put(header, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(written(header))


def headers(folder, many=24, **changes):
    """DICOM files, four of one study, each with what a change makes of its number."""
    for i in range(many):
        header = dicom(np.random.default_rng(i).integers(0, 4000, (16, 16)).astype(np.uint16))
        header.StudyInstanceUID, header.SeriesInstanceUID = f"1.2.{i // 4}", f"1.2.{i // 4}.{i // 2}"
        for key, value in changes.items():
            setattr(header, key, value(i))
        put(header, folder / ("ill" if i % 2 else "well") / f"{i}.dcm")
    return configuration.load(configured(folder.parent, FOLDER))


NOBODY = ["", "ANONYMOUS", "ANON", "0", "unknown", "XXX"]


@pytest.mark.parametrize("word", NOBODY)
def test_slices_of_a_study_stay_together_where_the_patient_is_nobody(tmp_path, capsys, word):
    config = headers(tmp_path / "data", PatientID=lambda i: word)
    assert len(set(open_table(config.data).people())) == 6
    _, said = check(capsys, tmp_path / "c.yaml")
    assert "kept together: 24 by StudyInstanceUID, of which there are 6" in warned(said)[0]


def test_by_series_where_the_study_is_not_known_and_by_patient_where_he_is(tmp_path, capsys):
    config = headers(
        tmp_path / "data",
        PatientID=lambda i: f"P-{i // 8}" if i < 16 else NOBODY[i % 6],
        StudyInstanceUID=lambda i: "" if i >= 20 else f"1.2.{i // 4}",
    )
    assert len(set(open_table(config.data).people())) == 2 + 1 + 2
    _, said = check(capsys, tmp_path / "c.yaml")
    (known, *_) = warned(said)
    assert "no patient is known for 8 cases" in known
    assert "4 by StudyInstanceUID, of which there are 1, 4 by SeriesInstanceUID, of which there are 2" in known


@pytest.mark.parametrize("kind", ["study", "file"])
def test_a_study_or_a_file_on_both_sides_of_the_datas_own_split_is_refused(tmp_path, capsys, kind):
    frames = np.random.default_rng(0).integers(0, 4000, (24, 16, 16)).astype(np.uint16)
    if kind == "file":
        header = dicom(frames.reshape(-1, 16))
        header.NumberOfFrames, header.Rows = 24, 16
        del header.PatientID
        put(header, tmp_path / "0.dcm")
    for i in range(24 if kind == "study" else 0):
        header = dicom(frames[i])
        header.PatientID, header.StudyInstanceUID = "", f"1.2.{i // 8}"
        put(header, tmp_path / f"{i}.dcm")
    rows = [f"{i if kind == 'study' else 0}.dcm,{'ill' if i % 2 else 'well'},{'' if kind == 'study' else i},"
            f"{'train' if i < 12 else 'test'}" for i in range(24)]  # fmt: skip
    (tmp_path / "list.csv").write_text("path,label,frame,split\n" + "\n".join(rows), encoding="utf-8")
    config = configuration.load(configured(tmp_path, "{kind: manifest, path: list.csv, cache: cache}"))
    with pytest.raises(DataError, match=f"{kind} '.*' is in train and in test"):
        divide(open_table(config.data), config.sites, 1)


def test_custody_keeps_together_what_belonged_together(tmp_path):
    """A pseudonym of ANONYMOUS would make one patient of everybody; a study keeps one under its own."""
    custody = open_hospital(tmp_path / "site")
    headers(tmp_path / "data", PatientID=lambda i: NOBODY[i % 2 + 1] if i < 16 else f"P-{i // 4}")
    for i, image in enumerate([texture(1, 24), jpeg(texture(1, 24)), texture(2, 24)]):
        save(tmp_path / f"data/ill/{i}.png", image)
    taken_in(custody, tmp_path / "data")
    home = custody.home.folder
    source = Encrypted(kind="encrypted", path=home / "sets/chest", cache=home / "cache")
    table = read_encrypted(source, custody.home)
    dicoms = [who for who in map(table.person, range(len(table))) if who]
    assert len(set(dicoms)) == 4 + 2
    assert "ANON" not in " ".join(dicoms)
    divisions = [divide(read_encrypted(source, custody.home), Sites(split="iid", count=1), 1) for _ in range(2)]
    assert divisions[0].twins.count == 1
    assert (divisions[0].split == divisions[1].split).all()


def test_import_says_that_it_forgets_names_which_tell_patients(tmp_path, capsys):
    custody = open_hospital(tmp_path / "site")
    begin_policy(custody.home)
    folder_of(tmp_path / "data", lambda i: f"patient{i // 4:03d}_slice{i % 4}.png")
    options = ["import", str(tmp_path / "data"), "--home", str(custody.home.folder), "--processes", "1", "--name"]
    assert client([*options, "one"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "no patient is known of 48 pictures, whose names are not kept: they seem to tell 12 patients" in said
    assert r"--data 'patients=patient(\d+)'" in said
    assert client([*options, "two", "--data", r"patients='patient(\d+)'"]) == 0
    assert "no patient is known" not in capsys.readouterr().out
    source = Encrypted(kind="encrypted", path=custody.home.folder / "sets/two", cache=tmp_path / "cache")
    assert len(set(read_encrypted(source, custody.home).people())) == 12


# --- images that are there again ------------------------------------------------------------------------------------


def test_copies_of_training_images_in_a_test_folder_are_pointed_out(tmp_path, capsys):
    for part, name in (("train", "{}.png"), ("test", "copy-{}.jpg")):
        for i in range(24):
            image = texture(i if part == "train" or i < 5 else i + 100, 24)
            save(tmp_path / "data" / part / ("ill" if i % 2 else "well") / name.format(i), image)
    _, said = check(capsys, configured(tmp_path, FOLDER))
    (across,) = [text for text in warned(said) if "nearly the same images across splits" in text]
    assert across.startswith("5 pairs")
    assert "data/test/well/copy-0.jpg ≈ " in across


def test_nearly_the_same_images_with_other_labels_or_at_other_hospitals_are_pointed_out(tmp_path, capsys):
    for site in "AB":
        for i in range(20):
            path = tmp_path / "data" / site / ("ill" if i % 2 else "well") / f"{i}.png"
            save(path, texture(i if site == "A" else i + 100, 24))
    save(tmp_path / "data/A/ill/again.jpg", texture(2, 24))
    save(tmp_path / "data/B/well/again.jpg", texture(4, 24))
    path = configured(tmp_path, "{kind: folder, path: data, site_folders: true, cache: cache}", "{split: natural}")
    _, said = check(capsys, path)
    texts = warned(said)
    assert [t for t in texts if t.startswith("2 pairs of images are nearly the same (4 of 42 images")]
    assert [t for t in texts if t.startswith("1 pairs of nearly the same images with different labels: ") and "≈" in t]
    assert [t for t in texts if t.startswith("1 pairs of nearly the same images across sites: ")]


def test_one_object_twice_is_one_person(tmp_path):
    """The same SOPInstanceUID, once as it was and once through another program."""
    config = headers(tmp_path / "data", PatientID=lambda i: "", StudyInstanceUID=lambda i: generate_uid())
    again = pydicom.dcmread(tmp_path / "data/ill/1.dcm")
    again.WindowCenter = 7
    again.save_as(tmp_path / "data/ill/copy.dcm")
    table = open_table(config.data)
    people = dict(zip(map(table.images.name, range(len(table))), table.people(), strict=True))
    assert people[str(tmp_path / "data/ill/1.dcm")] == people[str(tmp_path / "data/ill/copy.dcm")]


# --- a run says it --------------------------------------------------------------------------------------------------


def test_all_that_check_warns_of_a_run_says_and_its_report_first(slices, capsys):
    save(slices.parent / "data/ill/patient000_again.jpg", texture(5, 24))
    (slices.parent / "data/patient000.txt").write_text("a note", encoding="utf-8")
    _, said = check(capsys, slices)
    expected = [text.split(" Kept")[0].split(":")[0] for text in warned(said)]
    assert len(expected) >= 3
    out = slices.parent / "run"
    assert simulate([str(slices), "--out", str(out)]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    page = (out / "report.html").read_text(encoding="utf-8")
    for text in expected:
        assert any(warning.startswith(text) for warning in result["warnings"])
        assert f"warning seed 1: {text}" in screen
        assert text.replace("'", "&#x27;") in page or text in page
    limits = sentences.limits(result)
    assert limits[0].startswith("No patient is known for 49 cases")
    assert "2 of 49 images" in limits[1]
    assert limits[len(expected)].startswith("It is research software")
    assert any("patient000_again.jpg" in warning for warning in result["warnings"])
    assert "patient000" not in " ".join(limits)


def test_what_is_only_so_in_some_seeds_says_in_which(slices, capsys):
    out = slices.parent / "run"
    assert (
        simulate([str(slices), "--out", str(out), "seeds=[1,2]", "sites={split: dirichlet, alpha: 0.5, count: 2}"]) == 0
    )
    warnings = json.loads((out / "result.json").read_text(encoding="utf-8"))["warnings"]
    assert [w for w in warnings if w.startswith("no patient")]
    assert any(w.startswith(("seed 1: site", "seed 2: site")) for w in warnings)


def test_the_table_says_how_many_cases_figures_stand_on(slices, capsys):
    assert simulate([str(slices), "--out", str(slices.parent / "run")]) == 0
    screen = capsys.readouterr().out
    result = json.loads((slices.parent / "run/result.json").read_text(encoding="utf-8"))
    rows = [
        line.split() for line in screen.splitlines() if line.strip().startswith(("site ", "site-", "all test cases"))
    ]
    assert rows[0][:3] == ["site", "test", "cases"]
    assert rows[1][1] == str(result["sites"]["site-1"]["cases"]["test"])
    assert rows[3][:3] == ["all", "test", "cases"]
    assert rows[3][3] == str(sum(site["cases"]["test"] for site in result["sites"].values()))


def test_a_hospitals_warnings_stay_with_its_cases(tmp_path):
    folder_of(tmp_path / "data", lambda i: f"{i}.png")
    config = configuration.load(configured(tmp_path, FOLDER))
    assert isinstance(config.data, Folder)
    loaded = loading.load(config, 1)
    assert "no patient is known" in loaded.warnings[0].doubt()
    assert all(not site.warnings for site in loaded.sites)


def test_slices_that_name_nobody_belong_to_the_patient_of_their_study(tmp_path, capsys):
    config = headers(tmp_path / "data", PatientID=lambda i: f"P-{i // 4}" if i % 4 < 2 else NOBODY[i % 6])
    assert len(set(open_table(config.data).people())) == 6
    _, said = check(capsys, tmp_path / "c.yaml")
    assert "no patient is known" not in said


def test_a_study_of_several_patients_is_pointed_out(tmp_path, capsys):
    headers(tmp_path / "data", PatientID=lambda i: f"P-{i // 4}" if i else "P-mistyped")
    _, said = check(capsys, tmp_path / "c.yaml")
    assert "1 studies or series have several patients, who are taken for as many people:" in said
    assert "study 1.2.0: P-0, P-mistyped" in said

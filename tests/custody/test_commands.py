"""From a hospital's folder of images to a federated run, by the commands that a person gives."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from client.__main__ import main
from tests.admitted import home_of
from tests.custody.hospital import dicom, folder_of_dicoms, written
from tests.readers.pydicom_files import FOLDERS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "lisbon"]) == 0
    return tmp_path


def client(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return status, " ".join((told.out + told.err).split())


def test_a_person_goes_from_a_folder_to_an_encrypted_set_and_back(home, capsys):
    source = folder_of_dicoms(home / "source", 40, size=16)
    status, said = client(capsys, "import", source, "--name", "chest")
    assert status == 2
    assert "has no custody keys" in said
    assert client(capsys, "custody", "begin", "/".join([str(home), "away.key"]))[0] == 0
    status, said = client(capsys, "import", source, "--name", "chest", "--processes", 1, "--data", "frames=first")
    assert (status, "40 cases are in, 0 were in before, 0 left out" in said) == (0, True)
    configuration = re.search(r"data: (\{.*\})", said)[1]
    (home / "c.yaml").write_text(
        f"name: t\ndata: {configuration}\nsites: {{split: iid, count: 1}}\nmodel: {{kind: svm}}\n"
        "preprocess: [{step: resize, size: 8}]\n",
        encoding="utf-8",
    )
    assert client(capsys, "check", "c.yaml")[0] == 0
    status, said = client(capsys, "preview", "chest/3", "--config", "c.yaml", "--out", "p.png")
    assert (status, (home / "p.png").exists()) == (0, True)
    status, said = client(capsys, "preview", "chest/99", "--config", "c.yaml")
    assert (status, "expected chest/0 to chest/39" in said) == (2, True)
    assert "chest: 40 cases" in client(capsys, "custody", "list")[1]
    assert client(capsys, "custody", "rotate")[0] == 0
    assert client(capsys, "custody", "verify", "chest")[0] == 0
    assert client(capsys, "custody", "recover", "chest", "away.key")[0] == 0
    assert client(capsys, "custody", "adopt", "chest")[0] == 0
    assert client(capsys, "custody", "destroy", "chest", "--really", "breast")[0] == 2
    assert client(capsys, "custody", "destroy", "chest", "--really", "chest")[0] == 0
    assert client(capsys, "check", "c.yaml")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["gone", "--name", "x"], "gone: there is no such file or folder"),
        (["source", "--name", "a b"], "--name: 'a b'"),
        (["source", "--name", "x", "--retain", "names"], "--retain names: expected some of patient, device, dates"),
        (["source", "--name", "x", "--data", "split=1"], "split: unknown key"),
        (["source", "--name", "x", "--data", "labels"], "expected key=value"),
    ],
)
def test_what_cannot_be_meant_is_one_message(home, capsys, arguments, what):
    (home / "source").mkdir()
    status, said = client(capsys, "import", *arguments)
    assert (status, what in said) == (2, True), said


def test_a_bad_file_is_listed_and_the_status_says_so(home, capsys):
    source = folder_of_dicoms(home / "source", 4)
    (source / "ill" / "bad.dcm").write_bytes(b"no image")
    client(capsys, "custody", "begin", str(home / "away.key"))
    status, said = client(capsys, "import", source, "--name", "chest", "--processes", 1)
    assert status == 1
    assert "left out" in said
    assert "bad.dcm" in said


@pytest.mark.slow
def test_a_federation_trains_on_encrypted_images_those_that_pydicom_brings_among_them(home, capsys):
    random, source = np.random.default_rng(1), home / "source"
    for i in range(300):
        place = source / f"hospital-{i % 3}" / ("ill" if i % 2 else "well")
        place.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 120 + 100 * (i % 2), (12, 12), np.uint8)
        (place / f"{i}.dcm").write_bytes(written(dicom(pixels, PatientID=f"P-{i}")))
    brought = sorted(path for folder in FOLDERS for path in folder.rglob("*.dcm") if path.stat().st_size < 200_000)
    for i, path in enumerate(brought):
        shutil.copy(path, source / f"hospital-{i % 3}" / ("ill" if i // 3 % 2 else "well") / f"pydicom-{i}.dcm")
    client(capsys, "custody", "begin", str(home / "away.key"))
    arguments = ["--name", "chest", "--allow-burned-in", "--processes", 2, "--data", "site_folders=true"]
    status, said = client(capsys, "import", source, *arguments)
    assert status == 1  # pydicom brings files that are no images, and damaged ones
    added = int(re.search(r"(\d+) cases are in", said)[1])
    assert added > 380
    (home / "c.yaml").write_text(
        "name: t\ndata: {kind: encrypted, path: site/sets/chest, on_error: report}\nsites: {split: natural}\n"
        "preprocess: [{step: window, source: file}, {step: grey}, {step: resize, size: 12}]\nmodel: {kind: svm}\n"
        "federation: {rounds: 6}\nbaselines: []\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, ROOT / "simulate.py", "c.yaml", "--out", "run"],
        cwd=home, capture_output=True, encoding="utf-8", timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((home / "run" / "result.json").read_text(encoding="utf-8"))
    assert "chest" in json.dumps(result)
    assert not [path for path in (home / "cache").rglob("*.npz") if b"Sousa" in path.read_bytes()]


def test_what_is_imported_is_entered_in_the_settings_and_its_columns_are_shown_first(home, capsys):
    assert client(capsys, "custody", "begin", "away.key")[0] == 0
    export = folder_of_dicoms(home / "export", 4)
    files = sorted(export.rglob("IM*"))
    rows = [f"{file.relative_to(home)};{file.relative_to(export).parts[0]};Ana-{i}" for i, file in enumerate(files)]
    (home / "list.csv").write_text("\n".join(["Datei;Befund;PatientID", *rows]), encoding="utf-8")
    words = ("import", "list.csv", "--name", "chest")
    status, said = client(capsys, *words)
    assert (status, "column 'PatientID'; did you mean 'patient'" in said) == (2, True)
    columns = ("--columns", "path=Datei,label=Befund,patient=PatientID")
    status, said = client(capsys, *words, *columns)
    assert status == 0, said
    assert "list.csv: path from 'Datei', label from 'Befund', patient from 'PatientID'." in said
    assert "datasets.chest is entered" in said
    assert home_of(home / "site").settings.datasets["chest"].data.kind == "encrypted"
    status, said = client(capsys, *words, *columns)
    assert (status, "is entered" in said) == (0, False)

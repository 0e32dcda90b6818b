"""Predictions as DICOM objects: other programs read them, the checker finds no fault, the policy is asked."""

import shutil
import subprocess

import httpx
import numpy as np
import pydicom
import pytest

from client.__main__ import main
from client.access.policy_store import policy_store
from client.pacs.result_objects import NO_DEVICE, ModelIdentity, ResultSeries, ResultStatement, capture_of, report_of
from client.pacs.send_results import ResultSender
from common.errors import PacsError
from tests.admitted import home_of
from tests.custody.hospital import written
from tests.pacs import orthanc
from tests.pacs.orthanc import Orthanc, free_port
from tests.pacs.peers import hospital, study

pytestmark = [
    pytest.mark.usefixtures("leftover_sockets"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <(ssl.SSLSocket|socket.socket):pytest.PytestUnraisableExceptionWarning"
    ),
]
MODEL = ModelIdentity("chest-model", "5f" * 32, "Consortium of hospitals whose name is quite long, longer than a line")
UNLIKE = "UNLIKE the training images: 3.1 times as far from them. Do not rely on the answer."
STATEMENTS = [
    ResultStatement("ill", "ill", 0.931, 0.4, ("Of 20 cases scored like this one, 18 were ill.", ""), UNLIKE),
    ResultStatement("no nodule of more than eight millimetres, nor any other of that kind at all", "nodule", None, None,
                    ("Nothing was evaluated: 23–53 %, Größe ≥ 8 mm.",), "", 2),
]  # fmt: skip


def checked(file):
    """What the standard's checker calls an error."""
    done = subprocess.run(["dciodvfy", str(file)], capture_output=True, encoding="utf-8", errors="replace", check=False)
    assert done.stderr
    return [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("Error")]


def texts(report):
    """Values of all content items by the meaning of their names."""
    found, left = {}, [report]
    while left:
        item = left.pop()
        left += list(item.get("ContentSequence", []))
        if "ConceptNameCodeSequence" not in item:
            continue
        name = item.ConceptNameCodeSequence[0].CodeMeaning
        if item.ValueType == "TEXT":
            found.setdefault(name, []).append(item.TextValue)
        elif item.ValueType == "NUM":
            found[name] = float(item.MeasuredValueSequence[0].NumericValue)
        elif item.ValueType == "CODE":
            found.setdefault(name, []).append(item.ConceptCodeSequence[0].CodeMeaning)
    return found


SOURCES = {
    "usual": {},
    "umlauts": {"PatientName": "Müller^Jürgen", "SpecificCharacterSet": "ISO_IR 100"},
    "several frames": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2", "Modality": "XA", "NumberOfFrames": 3},
    "paired": {"BodyPartExamined": "HAND", "Laterality": "L"},
    "accession and procedure": {"StudyID": "7", "StudyTime": "101112", "ReferringPhysicianName": "Costa^Rui"},
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_standards_checker_finds_no_error_and_dcmtk_reads_the_report(tmp_path, name):
    if not shutil.which("dciodvfy") or not shutil.which("dsrdump"):
        pytest.skip(orthanc.MISSING)
    source, series = study(1, 1, **SOURCES[name])[0], ResultSeries()
    report = report_of(source, MODEL, STATEMENTS, series)
    capture = capture_of(source, MODEL, np.zeros((40, 50, 3), np.uint8), series)
    for kind, made in (("report", report), ("capture", capture)):
        pydicom.dcmwrite(file := tmp_path / f"{kind}.dcm", made, enforce_file_format=True)
        assert checked(file) == []
        again = pydicom.dcmread(file)
        for key in ("PatientID", "StudyInstanceUID", "AccessionNumber"):
            assert again[key].value == source[key].value
        assert str(again.PatientName) == str(source.PatientName)
    dump = subprocess.run(
        ["dsrdump", "+U8", "+Pl", str(tmp_path / "report.dcm")], capture_output=True, encoding="utf-8", check=True
    )
    for word in ("Probability of ill", '"0.931"', "UNLIKE the training images", NO_DEVICE, "chest-model", "5f5f5f5f"):
        assert word in dump.stdout
    said = texts(pydicom.dcmread(tmp_path / "report.dcm"))
    assert said["Probability of ill"] == 0.931
    assert said["Operating point of ill"] == 0.4
    assert said["Answer of the model"][-1] == "ill"
    assert said["Warning"] == [UNLIKE]
    assert said["Comment"].count(NO_DEVICE) == 2
    assert "Nothing was evaluated: 23–53 %, Größe ≥ 8 mm." in said["Comment"]


def test_what_would_not_be_found_again_is_not_sent(tmp_path):
    from client.pacs.pacs_settings import DicomWebPacs

    sender = ResultSender(DicomWebPacs(url="http://127.0.0.1:1/dicom-web"), MODEL)
    for change, why in (
        ({"PatientIdentityRemoved": "YES"}, "identity was taken out"),
        ({"PatientID": ""}, "PatientID"),
    ):
        with pytest.raises(PacsError, match=why):
            sender.send(study(1, 1, **change)[0], STATEMENTS, [])
    with pytest.raises(PacsError) as refusal:
        sender.send(study(1, 1)[0], STATEMENTS, [])
    assert refusal.value.cause == "unreachable"
    assert sender.objects == 0


@pytest.fixture
def archive(tmp_path):
    if not orthanc.is_installed():
        pytest.skip(orthanc.MISSING)
    running = Orthanc(tmp_path / "orthanc", free_port()).start()
    yield running
    running.stop()


def test_an_answer_goes_into_the_study_by_both_ways_where_the_policy_says_so(
    svm, archive, tmp_path, monkeypatch, capsys
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    hospital(tmp_path)
    (tmp_path / "images").mkdir()
    sources = [study(number, 1, size=32)[0] for number in (1, 2)]
    for i, source in enumerate(sources):
        archive.send(written(source))
        (tmp_path / "images" / f"Sousa{i}.dcm").write_bytes(written(source))
    (tmp_path / "images" / "other.png").write_bytes(b"\x89PNG\r\n\x1a\n no image")
    address = ["--ae", "ARCHIVE", "--host", "127.0.0.1", "--port", str(archive.dicom_port), "--our-ae", "CONSILIUM"]
    assert main(["pacs", "add", "radiology", *address]) == 0
    assert main(["pacs", "add", "web", "--dicomweb", f"{archive.url}/dicom-web"]) == 0
    predict = [
        "predict",
        str(svm.path),
        "images",
        "--publisher",
        svm.shared.fingerprint,
        "--trusted",
        "publishers.json",
    ]
    assert main([*predict, "--to-pacs", "radiology"]) == 2
    assert "results may not be sent to" in capsys.readouterr().err
    allowed = [f"radiology ARCHIVE@127.0.0.1:{archive.dicom_port}", f"web {archive.url}/dicom-web"]
    assert main(["access", "propose", "--results-to", *allowed]) == 0
    assert policy_store(home_of(tmp_path / "site")).in_force().content.archives == tuple(allowed)
    for name in ("radiology", "web"):
        assert main([*predict, "--to-pacs", name]) == 1  # for the PNG, which is no image
        assert f"4 objects sent to {name}." in capsys.readouterr().out
    assert main(["pacs", "add", "web", "--dicomweb", f"{archive.url}/elsewhere"]) == 0
    assert main([*predict, "--to-pacs", "web"]) == 2
    for source in sources:
        ids = archive.get("/instances")
        mine = [pydicom.dcmread(written_file(archive, each, tmp_path)) for each in ids]
        mine = [one for one in mine if one.StudyInstanceUID == source.StudyInstanceUID]
        assert sorted(one.Modality for one in mine) == ["CR", "OT", "OT", "SR", "SR"]
        assert {(one.PatientID, one.AccessionNumber) for one in mine} == {(source.PatientID, source.AccessionNumber)}
        for one in mine:
            if one.Modality == "OT":
                assert one.pixel_array.std() > 1
            if one.Modality == "SR":
                assert any(key.startswith("Probability of") for key in texts(one))
    assert main([*predict, "--no-pictures"]) == 1


def written_file(archive, identity, folder):
    """An object as the archive has it, looked at by the standard's checker if it is a result."""
    content = httpx.get(f"{archive.url}/instances/{identity}/file", timeout=10, trust_env=False).content
    (file := folder / f"{identity}.dcm").write_bytes(content)
    if (modality := pydicom.dcmread(file, stop_before_pixels=True).Modality) in ("SR", "OT"):
        assert checked(file) == []
        reader = {"SR": "dsrdump", "OT": "dcmdump"}[modality]
        assert subprocess.run([reader, str(file)], capture_output=True, check=True).stdout
    return file

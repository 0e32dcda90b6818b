"""A real archive, by both ways: what comes is what was there, and nothing is missing without a word."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from client import readers
from client.custody import importer
from client.custody.encrypted_cases import EncryptedImage
from client.custody.importer import ImportRequest
from client.pacs.archive import SeriesChoice
from client.pacs.open_archive import open_archive
from client.pacs.pacs_settings import DicomWebPacs, DimsePacs
from client.pacs.pull import PacsFeed
from client.pacs.worklist import read_worklist
from common.config import Manifest
from tests.custody.hospital import opened, written
from tests.pacs import orthanc
from tests.pacs.orthanc import Orthanc, free_port
from tests.pacs.peers import hospital, study, worklist
from tests.pacs.test_peers import states

pytestmark = [
    pytest.mark.usefixtures("leftover_sockets"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <(ssl.SSLSocket|socket.socket):pytest.PytestUnraisableExceptionWarning"
    ),
]
ROOT = Path(__file__).parents[2]
STUDIES = {f"A{number:03d}": study(number) for number in range(6)}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    if not orthanc.is_installed():
        pytest.skip(orthanc.MISSING)
    running = Orthanc(tmp_path_factory.mktemp("orthanc"), free_port()).start()
    for objects in STUDIES.values():
        for one in objects:
            running.send(written(one))
    yield running
    running.stop()


def ways(archive):
    """Both ways to it."""
    return {
        "dimse": DimsePacs(ae="ARCHIVE", host="127.0.0.1", port=archive.dicom_port, our_ae="CONSILIUM",
                           our_port=archive.receiver, listen="127.0.0.1", timeout_s=60),
        "web": DicomWebPacs(url=f"{archive.url}/dicom-web", timeout_s=60),
    }  # fmt: skip


def pulled(custody, settings, numbers, name, **more):
    path = worklist(custody.home.folder.parent / "list.csv", numbers)
    with open_archive(settings) as link:
        feed = PacsFeed(link, "radiology", read_worklist(Manifest(kind="manifest", path=path), {}), **more)
        outcome = importer.run(custody, ImportRequest(feed, name))
    return feed.report, outcome


def pixels(custody, name):
    """Pixels of all images in custody, by their bytes."""
    store = opened(custody, name)
    pictures = (readers.read(EncryptedImage(store, i))[0].pixels for i in range(len(store.index.objects)))
    return sorted(picture.astype(np.float32).tobytes() for picture in pictures)


def test_both_ways_bring_every_pixel_as_it_was_and_nothing_twice(archive, tmp_path):
    custody = hospital(tmp_path)
    originals = sorted(
        one.pixel_array.astype(np.float32).tobytes() for objects in STUDIES.values() for one in objects
    )  # fmt: skip
    for name, settings in ways(archive).items():
        report, outcome = pulled(custody, settings, range(7), name)
        assert set(states(report).values()) == {("complete",), ("absent", "not found")}
        assert outcome.added == len(originals)
        assert pixels(custody, name) == originals
        report, outcome = pulled(custody, ways(archive)["web" if name == "dimse" else "dimse"], range(6), name)
        assert (outcome.added, outcome.already) == (0, len(originals))


def test_what_it_has_is_counted_in_the_same_way_by_both(archive):
    answers = []
    for settings in ways(archive).values():
        with open_archive(settings) as link:
            studies = link.studies(archive_query("*horax p*"))
            answers.append(sorted((s.uid, s.accession, s.date, s.modalities, s.images) for s in studies))
            series = link.series(studies[0].uid)
            assert [(one.modality, one.body_part) for one in series] == [("CR", "CHEST")]
    assert answers[0] == answers[1]
    assert len(answers[0]) == len(STUDIES)


def archive_query(description):
    from client.pacs.archive import StudyQuery

    return StudyQuery(description=description, dates="20240101-20241231", modality="CR")


def test_series_that_are_not_wanted_are_not_pulled(archive, tmp_path):
    custody = hospital(tmp_path)
    for settings in ways(archive).values():
        report, _ = pulled(custody, settings, [0], "chest", choice=SeriesChoice("MG"))
        assert states(report) == {"A000": ("absent", "no image")}


@pytest.mark.parametrize("way", ["dimse", "web"])
def test_an_archive_that_is_killed_and_comes_back_gives_all(tmp_path, way):
    if not orthanc.is_installed():
        pytest.skip(orthanc.MISSING)
    running = Orthanc(tmp_path / "orthanc", free_port()).start()
    try:
        for objects in STUDIES.values():
            for one in objects:
                running.send(written(one))
        custody, waits = hospital(tmp_path / "hospital"), []

        class Pace:
            studies = 0

            def pause_s(self):
                self.studies += 1
                if self.studies == 3:
                    running.kill()
                return 0.0

        def wait(pause_s):
            waits.append(pause_s)
            if len(waits) == 1:
                running.start()

        report, outcome = pulled(custody, ways(running)[way], range(6), "chest", pace=Pace(), wait=wait)
        assert waits
        assert set(states(report).values()) == {("complete",)}
        assert outcome.added == sum(map(len, STUDIES.values()))
    finally:
        running.stop()


def test_dcmtk_sends_nothing_to_our_receiver_that_nobody_asked_for(archive, tmp_path):
    from client.pacs.store_receiver import StoreReceiver

    receiver = StoreReceiver(ways(archive)["dimse"])
    try:
        file = tmp_path / "one.dcm"
        file.write_bytes(written(STUDIES["A000"][0]))
        command = [shutil.which("storescu"), "-aec", "CONSILIUM", "127.0.0.1", str(archive.receiver), str(file)]
        for title, rejected in (("ARCHIVE", False), ("STRANGER", True)):
            done = subprocess.run([*command, "-aet", title], capture_output=True, text=True, timeout=120, check=False)
            assert ("Association Rejected" in done.stderr + done.stdout) == rejected
        assert receiver.strange == 1
    finally:
        receiver.close()


@pytest.mark.slow
def test_three_hundred_studies_come_by_both_ways_or_are_named():
    if not orthanc.is_installed():
        pytest.skip(orthanc.MISSING)
    command = [sys.executable, str(ROOT / "benchmarks" / "pacs.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, result["pixel_equal"], result["silent"]) == (0, True, 0)
    assert (result["studies"], result["refused"], result["damaged"], result["killed"]) == (300, 20, 5, 2)

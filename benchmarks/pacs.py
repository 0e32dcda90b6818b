"""300 studies from a real Orthanc into custody, by both ways: pixel for pixel, and nothing missing without a word.

python benchmarks/pacs.py [IMAGES.npz]      images uint8[n, h, w] under `images` or `train_images`; without: drawn ones

Needs Debian's orthanc, orthanc-dicomweb and dcmtk. Of 300 studies of two images each 20 are refused by the archive
(their files are gone from its store) and 5 are damaged (a codestream of JPEG 2000 without its end). Each way pulls all
of them from a fresh start; in the middle the archive is killed and started again. Everything is on one machine and
loopback, and what is compared with, `storescu` and `movescu`, writes files in the clear and looks at no pixel. The last
line is JSON.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client import readers
from client.custody import importer
from client.custody.encrypted_cases import EncryptedImage
from client.custody.importer import ImportRequest
from client.pacs.open_archive import open_archive
from client.pacs.pacs_settings import DicomWebPacs, DimsePacs
from client.pacs.pull import PacsFeed
from client.pacs.pull_pace import PullPace
from client.pacs.worklist import read_worklist
from common.config import Manifest
from tests.custody.hospital import dicom, opened, written
from tests.pacs import orthanc
from tests.pacs.orthanc import Orthanc, free_port
from tests.pacs.peers import hospital, worklist

STUDIES, IMAGES_A_STUDY, SIZE = 300, 2, 256
REFUSED, DAMAGED = range(40, 60), range(200, 205)
PROCESSES = 2


def pictures(path: Path | None) -> np.ndarray:
    """uint16[n, SIZE, SIZE]: radiographs enlarged, with noise, so that no two are alike."""
    random, count = np.random.default_rng(1), STUDIES * IMAGES_A_STUDY
    if path is None:
        small = random.integers(0, 256, (count, 32, 32), np.uint8)
    else:
        with np.load(path, allow_pickle=False) as arrays:
            small = arrays["images" if "images" in arrays else "train_images"][:count]
    times = -(-SIZE // small.shape[1])
    large = np.repeat(np.repeat(small, times, 1), times, 2)[:, :SIZE, :SIZE].astype(np.uint16) << 4
    return large + random.integers(0, 16, large.shape, np.uint16)


def files(images: np.ndarray, damaged: range = DAMAGED) -> dict[int, list[bytes]]:
    """DICOM files by study."""
    made: dict[int, list[bytes]] = {}
    for number in range(STUDIES):
        uid = f"2.25.{70_000 + number}"
        for i in range(IMAGES_A_STUDY):
            header = dicom(
                images[number * IMAGES_A_STUDY + i], AccessionNumber=f"A{number:03d}", StudyInstanceUID=uid,
                SeriesInstanceUID=f"{uid}.1", PatientID=f"P-{number}", BodyPartExamined="CHEST",
            )  # fmt: skip
            header.SOPInstanceUID = f"{uid}.1.{i}"
            if number in damaged:
                half = bytes.fromhex("ff4fff51002f0000") + b"\0" * 4000
                header.PixelData = encapsulate([half])
                header["PixelData"].VR, header["PixelData"].is_undefined_length = "OB", True
                header.file_meta.TransferSyntaxUID = JPEG2000Lossless
            made.setdefault(number, []).append(written(header))
    return made


def refuse(archive: Orthanc) -> int:
    """Take the files of some studies away from the archive, which still lists them; how many studies."""
    wanted = {f"A{number:03d}" for number in REFUSED}
    taken = set()
    for study in archive.get("/studies"):
        accession = archive.get(f"/studies/{study}")["MainDicomTags"]["AccessionNumber"]
        if accession not in wanted:
            continue
        for instance in archive.get(f"/studies/{study}/instances"):
            uuid = archive.get(f"/instances/{instance['ID']}/attachments/dicom/info")["Uuid"]
            (archive.folder / "store" / uuid[:2] / uuid[2:4] / uuid).unlink()
        taken.add(accession)
    return len(taken)


class Killer(PullPace):
    """A pace that never waits, and kills the archive before one study."""

    def __init__(self, archive: Orthanc, before: int) -> None:
        super().__init__()
        self.archive, self.left, self.kills = archive, before, 0

    def pause_s(self) -> float:
        """No pause."""
        self.left -= 1
        if self.left == 0:
            self.archive.kill()
            self.kills += 1
        return 0.0


def pull(folder: Path, archive: Orthanc, settings: DimsePacs | DicomWebPacs, kill: bool) -> dict[str, object]:
    """One way, from a fresh site."""
    custody = hospital(folder)
    path = worklist(folder / "list.csv", range(STUDIES))
    killer = Killer(archive, STUDIES // 2) if kill else PullPace()

    def wait(pause_s: float) -> None:
        if archive.process and archive.process.poll() is not None:
            archive.start()

    begun = time.monotonic()
    with open_archive(settings) as link:
        worklist_read = read_worklist(Manifest(kind="manifest", path=path), {})
        feed = PacsFeed(link, "archive", worklist_read, pace=killer, wait=wait)
        outcome = importer.run(custody, ImportRequest(feed, "chest", processes=PROCESSES))
    took = time.monotonic() - begun
    counts, causes = feed.report.counts(), feed.report.causes()
    silent = [e.item.accession for e in feed.report.entries if e.state != "complete" and not e.misses]
    return {
        "custody": custody, "took_s": round(took, 1), "objects_per_s": round(outcome.added / took, 1),
        "added": outcome.added, "states": dict(counts), "causes": dict(causes), "silent": len(silent),
        "killed": getattr(killer, "kills", 0),
    }  # fmt: skip


def equal(custody: object, images: np.ndarray) -> tuple[int, int]:
    """How many images in custody are one of the originals, and how many are in custody."""
    originals = {image.astype(np.float32).tobytes() for image in images}
    store = opened(custody)
    pixels = [
        readers.read(EncryptedImage(store, i))[0].pixels[..., 0].tobytes() for i in range(len(store.index.objects))
    ]  # fmt: skip
    return sum(one in originals for one in set(pixels)), len(pixels)


def dcmtk(folder: Path, archive: Orthanc, contents: dict[int, list[bytes]]) -> dict[str, float]:
    """Objects per second of `storescu` into the archive, and of `movescu` out of it into files."""
    source, sink = folder / "source", folder / "sink"
    source.mkdir(parents=True)
    sink.mkdir()
    sound = [each for number, those in contents.items() if number not in DAMAGED for each in those]
    for i, content in enumerate(sound):
        (source / f"{i}.dcm").write_bytes(content)
    address = ["-aec", "ARCHIVE", "-aet", "CONSILIUM", "127.0.0.1", str(archive.dicom_port)]
    begun = time.monotonic()
    subprocess.run(["storescu", *address, "+sd", str(source)], check=True, capture_output=True)
    stored = len(sound) / (time.monotonic() - begun)
    studies = "\\".join(f"2.25.{70_000 + number}" for number in range(STUDIES) if number not in DAMAGED)
    begun = time.monotonic()
    subprocess.run(
        ["movescu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={studies}",
         "-aem", "CONSILIUM", "+P",
         str(archive.receiver), "-od", str(sink), *address], check=False, capture_output=True,
    )  # fmt: skip
    moved = len(list(sink.iterdir())) / (time.monotonic() - begun)
    return {"storescu_objects_per_s": round(stored, 1), "movescu_objects_per_s": round(moved, 1)}


def main(arguments: list[str]) -> int:
    """All of it."""
    if not orthanc.is_installed():
        print(orthanc.MISSING)
        return 0
    images = pictures(Path(arguments[0]) if arguments else None)
    sound = np.array([n not in (*REFUSED, *DAMAGED) for n in range(STUDIES) for _ in range(IMAGES_A_STUDY)])
    folder = Path(tempfile.mkdtemp(prefix="pacs-"))
    contents, result = files(images), dict[str, object]()
    archive = Orthanc(folder / "orthanc", free_port(), settings={"MaximumStorageCacheSize": 0}).start()
    try:
        result |= dcmtk(folder / "dcmtk", archive, contents)
        for number in DAMAGED:
            for content in contents[number]:
                archive.send(content)
        ways = {
            "dimse": DimsePacs(ae="ARCHIVE", host="127.0.0.1", port=archive.dicom_port, our_ae="CONSILIUM",
                               our_port=archive.receiver, listen="127.0.0.1", timeout_s=20),
            "dicomweb": DicomWebPacs(url=f"{archive.url}/dicom-web", timeout_s=20),
        }  # fmt: skip
        refused = refuse(archive)
        for name, settings in ways.items():
            came = pull(folder / name, archive, settings, kill=True)
            custody = came.pop("custody")
            right, stored = equal(custody, images[sound])
            came |= {"pixel_equal": right == stored == int(sound.sum()), "stored": stored}
            print(name, json.dumps(came))
            result[name] = came
    finally:
        archive.stop()
        shutil.rmtree(folder)
    both = [result[name] for name in ways]
    result |= {
        "studies": STUDIES, "refused": refused, "damaged": len(DAMAGED),
        "pixel_equal": all(one["pixel_equal"] for one in both), "killed": sum(one["killed"] for one in both),
        "silent": sum(one["silent"] for one in both),
        "objects_per_s": {name: result[name]["objects_per_s"] for name in ways},
    }  # fmt: skip
    print(json.dumps(result))
    return 0 if result["pixel_equal"] and result["silent"] == 0 else 1


if __name__ == "__main__":
    assert pydicom.__version__
    raise SystemExit(main(sys.argv[1:]))

"""300 studies from a real Orthanc into custody, by both ways: pixel for pixel, and nothing missing without a word.

python benchmarks/pacs.py [IMAGES.npz]      images uint8[n, h, w] under `images` or `train_images`; without: drawn ones
python benchmarks/pacs.py --studies 10000   of one image of 28 x 28 each: what a number of studies does

Needs Debian's orthanc, orthanc-dicomweb and dcmtk. Of 300 studies of two images each 20 are refused by the archive
(their files are gone from its store) and 5 are damaged (a codestream of JPEG 2000 without its end). Each way pulls all
of them from a fresh start; in the middle the archive is killed and started again. Everything is on one machine and
loopback, and what is compared with, `storescu` and `movescu`, writes files in the clear and looks at no pixel. Where
studies are counted there is no such comparison, the archive is filled over HTTP, four at once, and the growth of this
process while it imports stands beside. The last line is JSON.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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

REFUSED, DAMAGED = range(40, 60), range(200, 205)
PROCESSES = 2


@dataclass(frozen=True)
class Extent:
    """Of what is in the archive."""

    studies: int = 300
    images: int = 2
    """Of one study."""
    size: int = 256


def pictures(path: Path | None, extent: Extent) -> np.ndarray:
    """uint16[n, size, size]: radiographs enlarged, with noise, so that no two are alike."""
    random, count, size = np.random.default_rng(1), extent.studies * extent.images, extent.size
    if path is None:
        small = random.integers(0, 256, (count, 32, 32), np.uint8)
    else:
        with np.load(path, allow_pickle=False) as arrays:
            small = arrays["images" if "images" in arrays else "train_images"][:count]
    times = -(-size // small.shape[1])
    large = np.repeat(np.repeat(small, times, 1), times, 2)[:, :size, :size].astype(np.uint16) << 4
    return large + random.integers(0, 16, large.shape, np.uint16)


def files(images: np.ndarray, extent: Extent) -> dict[int, list[bytes]]:
    """DICOM files by study."""
    made: dict[int, list[bytes]] = {}
    for number in range(extent.studies):
        uid = f"2.25.{70_000 + number}"
        for i in range(extent.images):
            header = dicom(
                images[number * extent.images + i], AccessionNumber=f"A{number:03d}", StudyInstanceUID=uid,
                SeriesInstanceUID=f"{uid}.1", PatientID=f"P-{number}", BodyPartExamined="CHEST",
            )  # fmt: skip
            header.SOPInstanceUID = f"{uid}.1.{i}"
            if number in DAMAGED:
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
    for study in archive.get("/studies?expand"):
        accession = study["MainDicomTags"]["AccessionNumber"]
        if accession not in wanted:
            continue
        for instance in archive.get(f"/studies/{study['ID']}/instances"):
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


def memory_mb(name: str) -> float:
    """A figure of this process as the kernel keeps it: VmRSS, or VmHWM, the highest since `forget_peak`."""
    match = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(match[1]) / 1024 if match else float("nan")


def forget_peak() -> None:
    """The highest counts from here (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def pull(folder: Path, archive: Orthanc, settings: DimsePacs | DicomWebPacs, studies: int) -> dict[str, object]:
    """One way, from a fresh site; the archive is killed in the middle."""
    custody = hospital(folder)
    path = worklist(folder / "list.csv", range(studies))
    killer = Killer(archive, studies // 2)

    def wait(pause_s: float) -> None:
        if archive.process and archive.process.poll() is not None:
            archive.start()

    forget_peak()
    begun, before_mb = time.monotonic(), memory_mb("VmRSS")
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
        "killed": killer.kills, "grew_mb": round(memory_mb("VmHWM") - before_mb, 1),
    }  # fmt: skip


def equal(custody: object, images: np.ndarray) -> tuple[int, int]:
    """How many images in custody are one of the originals, and how many are in custody."""
    originals = {image.astype(np.float32).tobytes() for image in images}
    store = opened(custody)
    pixels = [
        readers.read(EncryptedImage(store, i))[0].pixels[..., 0].tobytes() for i in range(len(store.index.objects))
    ]  # fmt: skip
    return sum(one in originals for one in set(pixels)), len(pixels)


def sound_files(contents: dict[int, list[bytes]]) -> Iterable[bytes]:
    """All but the damaged ones."""
    return (each for number, those in contents.items() if number not in DAMAGED for each in those)


def fill(archive: Orthanc, contents: dict[int, list[bytes]]) -> dict[str, float]:
    """Objects per second into the archive over HTTP, four at once."""
    files_in, begun = list(sound_files(contents)), time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(archive.send, files_in))
    return {"filled_objects_per_s": round(len(files_in) / (time.monotonic() - begun), 1)}


def dcmtk(folder: Path, archive: Orthanc, contents: dict[int, list[bytes]]) -> dict[str, float]:
    """Objects per second of `storescu` into the archive, and of `movescu` out of it into files."""
    source, sink = folder / "source", folder / "sink"
    source.mkdir(parents=True)
    sink.mkdir()
    for i, content in enumerate(sound_files(contents)):
        (source / f"{i}.dcm").write_bytes(content)
    address = ["-aec", "ARCHIVE", "-aet", "CONSILIUM", "127.0.0.1", str(archive.dicom_port)]
    begun = time.monotonic()
    subprocess.run(["storescu", *address, "+sd", str(source)], check=True, capture_output=True)
    stored = len(list(source.iterdir())) / (time.monotonic() - begun)
    studies = "\\".join(f"2.25.{70_000 + number}" for number in contents if number not in DAMAGED)
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
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--studies", type=int, default=0)
    options = parser.parse_args(arguments)
    extent = Extent(options.studies, images=1, size=28) if options.studies else Extent()
    images = pictures(options.images, extent)
    sound = np.array([n not in (*REFUSED, *DAMAGED) for n in range(extent.studies) for _ in range(extent.images)])
    folder = Path(tempfile.mkdtemp(prefix="pacs-"))
    contents, result = files(images, extent), dict[str, object]()
    archive = Orthanc(folder / "orthanc", free_port(), settings={"MaximumStorageCacheSize": 0}).start()
    try:
        result |= fill(archive, contents) if options.studies else dcmtk(folder / "dcmtk", archive, contents)
        print(json.dumps(result), flush=True)
        for number in DAMAGED:
            for content in contents[number]:
                archive.send(content)
        ways = {
            "dicomweb": DicomWebPacs(url=f"{archive.url}/dicom-web", timeout_s=20),
            "dimse": DimsePacs(ae="ARCHIVE", host="127.0.0.1", port=archive.dicom_port, our_ae="CONSILIUM",
                               our_port=archive.receiver, listen="127.0.0.1", timeout_s=20),
        }  # fmt: skip
        refused = refuse(archive)
        for name, settings in ways.items():
            came = pull(folder / name, archive, settings, extent.studies)
            custody = came.pop("custody")
            right, stored = equal(custody, images[sound])
            came |= {"pixel_equal": right == stored == int(sound.sum()), "stored": stored}
            print(name, json.dumps(came), flush=True)
            result[name] = came
    finally:
        archive.stop()
        shutil.rmtree(folder)
    both = [result[name] for name in ways]
    result |= {
        "studies": extent.studies, "refused": refused, "damaged": len(DAMAGED),
        "pixel_equal": all(one["pixel_equal"] for one in both), "killed": sum(one["killed"] for one in both),
        "silent": sum(one["silent"] for one in both),
        "objects_per_s": {name: result[name]["objects_per_s"] for name in ways},
    }  # fmt: skip
    print(json.dumps(result))
    return 0 if result["pixel_equal"] and result["silent"] == 0 else 1


if __name__ == "__main__":
    assert pydicom.__version__
    raise SystemExit(main(sys.argv[1:]))

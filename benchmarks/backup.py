"""What a backup costs, and a restore drill of it; beside restic, where it is installed; and every byte of one flipped.

    python benchmarks/backup.py [--images 200] [--flips]        --flips takes minutes more

Caveats first. Images of two megabytes each of 12-bit noise, encrypted by `import`. Site, backup and scratch folder are
on one disk, and are read from the page cache: the figures say what the program costs, not what a disk or a network
does. `copy` is what the disk takes at least: the same files copied and flushed. A drill's rate is of restoring;
comparing with the site and decrypting are in its seconds. restic encrypts what is encrypted already.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.backup import drill, verify
from client.custody import importer
from client.custody.importer import ImportRequest
from common.config import Folder
from common.errors import ConsiliumError
from tests.backup.places import Place
from tests.custody.hospital import dicom, written


def timed(work: Callable[[], object]) -> float:
    """Seconds of one turn."""
    os.sync()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def radiographs(folder: Path, first: int, count: int) -> Folder:
    """Images of a megapixel with 12 bits, uncompressed."""
    for i in range(first, first + count):
        place = folder / ("ill" if i % 2 else "well")
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 4096, (1024, 1024), np.uint16)
        (place / f"{i}.dcm").write_bytes(written(dicom(pixels, BitsStored=12, HighBit=11, PatientID=f"P-{i}")))
    return Folder(kind="folder", path=folder, on_error="report")


def copied(source: Path, target: Path) -> None:
    """All files, flushed."""
    for path in [path for path in source.rglob("*") if path.is_file()]:
        (place := target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        with place.open("rb") as file:
            os.fsync(file.fileno())


def restic(folder: Path, source: Path) -> Callable[..., None]:
    """A repository of restic's, as a function that runs it."""
    environment = os.environ | {"RESTIC_PASSWORD": "benchmark", "RESTIC_REPOSITORY": str(folder)}

    def run(*arguments: str) -> None:
        command = ["restic", "--quiet", "--no-cache", *arguments]
        subprocess.run(command, env=environment, cwd=source, check=True, capture_output=True)

    run("init")
    return run


def costs(scratch: Path, images: int) -> dict[str, float]:
    """Rates in GB/s, and what a growth by a twentieth costs."""
    place = Place(scratch / "place")
    bring = ImportRequest(radiographs(scratch / "images", 0, images), "chest", processes=0)
    importer.run(place.custody, bring)
    size = sum(path.stat().st_size for path in place.home.folder.rglob("*") if path.is_file())
    found: dict[str, float] = {"bytes": size}
    copy_s = timed(lambda: copied(place.home.folder, scratch / "copy"))
    found |= {"copy_gb_per_s": size / copy_s / 1e9, "first_gb_per_s": size / timed(place.backup) / 1e9}
    found |= {"unchanged_s": timed(place.backup)}
    before = size
    importer.run(
        place.custody, ImportRequest(radiographs(scratch / "images", images, images // 20), "chest", processes=0)
    )
    size = sum(path.stat().st_size for path in place.home.folder.rglob("*") if path.is_file())
    found |= {"grown_by": size - before, "written_for_it": place.backup().written_bytes}
    vault = place.vault
    found |= {
        "verify_gb_per_s": verify.size_bytes(vault) / timed(lambda: list(verify.verify(vault, place.custody))) / 1e9
    }
    began = time.perf_counter()
    report = drill.run(vault, place.custody, None, scratch)
    print(report.text())
    found |= {"drill_s": time.perf_counter() - began, "drill_gb_per_s": report.rate, "drill_hashes": report.hashes}
    found |= {"drill_images": report.images, "drill_problems": len(report.problems)}
    if shutil.which("restic"):
        run = restic(scratch / "restic", place.home.folder)
        found |= {"restic_first_gb_per_s": size / timed(lambda: run("backup", ".")) / 1e9}
        found |= {"restic_unchanged_reading_all_s": timed(lambda: run("backup", "--force", "."))}
        found |= {"restic_unchanged_by_time_of_change_s": timed(lambda: run("backup", "."))}
        target = str(scratch / "back")
        found |= {
            "restic_restore_gb_per_s": size
            / timed(lambda: run("restore", "latest", "--target", target, "--verify"))
            / 1e9
        }
    return found


def flips(scratch: Path) -> dict[str, float]:
    """Every byte of a small backup: do `verify` and `restore` name its file, and does no site come of it?"""
    place = Place(scratch / "small")
    place.bring(1, size=2)
    place.backup()
    counts = {"flipped": 0, "named_by_verify": 0, "named_by_restore": 0}
    for path in [path for path in sorted(place.disk.rglob("*")) if path.is_file() and path.name != ".lock"]:
        whole = path.read_bytes()
        for at in range(len(whole)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
            counts["flipped"] += 1
            counts["named_by_verify"] += _names(path, place.problems)
            counts["named_by_restore"] += _names(path, lambda: place.restored()[0].problems)
            counts["named_by_restore"] -= (place.folder / "new" / "site.yaml").exists()
            shutil.rmtree(place.folder / "new", ignore_errors=True)
        path.write_bytes(whole)
    return dict(counts)


def _names(path: Path, work: Callable[[], list[str]]) -> bool:
    try:
        return any(str(path) in line for line in work())
    except ConsiliumError as error:
        return str(path) in str(error)


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, metavar="N")
    parser.add_argument("--flips", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = costs(Path(temporary), options.images) | (flips(Path(temporary)) if options.flips else {})
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()

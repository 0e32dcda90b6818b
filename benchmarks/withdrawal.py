"""Patients withdraw: what of them is left anywhere, and what taking them out costs.

    python benchmarks/withdrawal.py [--images 3000] [--patients 50]        some minutes

A hospital takes so many images into custody, of PneumoniaMNIST where it is there, else drawn at random: half as DICOM
files whose header names the patient, half as an array with a column of patients; two or three images each. They are
decoded and prepared into a cache, and backed up. Then patients drawn at random (seed 7) are taken out, and it is backed
up again. What is left is searched for, after decrypting all that any key opens that is there: the site's folder, the
cache, and the newest snapshot. An image is looked for by its pixels as they lie in an object, by their digest as an
index keeps it, and by the hospital's number and its pseudonym. Before the removal the same search finds all of them but
the numbers, which shows that it can find. The last line is JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.custody import importer
from client.custody.encrypted_cases import read
from client.custody.importer import ImportRequest
from client.custody.key_ring import Custody
from client.patients import backup_traces
from client.patients.removal import remove
from client.patients.search import People, search
from client.sources import image_cache
from client.sources.prepared_cache import prepare
from common import config as configuration
from common.config import Folder, Npz
from common.imaging import Picture, Pipeline
from tests.backup.places import Place
from tests.custody.hospital import dicom, written
from tests.patients import traces

MEDMNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "pneumoniamnist.npz"
LABELS = ("normal", "pneumonia")


def pictures(count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images uint8[n, 28, 28], no two of them equal, and their labels."""
    rng = np.random.default_rng(7)
    if not MEDMNIST.exists():
        return rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 2, count)
    with np.load(MEDMNIST) as file:
        images, labels = file["train_images"], file["train_labels"].ravel().astype(np.int64)
    first = np.sort(np.unique(images, axis=0, return_index=True)[1])[:count]
    return images[first], labels[first]


def export(folder: Path, count: int) -> tuple[list[str], npt.NDArray[np.uint8]]:
    """The hospital's files: DICOM for the first half of the patients, an array for the others."""
    images, labels = pictures(count)
    people = [f"HN-{i * 2 // 5:06d}-Q" for i in range(len(images))]
    half = people.index(people[len(people) // 2])  # a patient is in one of both
    for i in range(half):
        place = folder / "dicom" / LABELS[labels[i]]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.dcm").write_bytes(written(dicom(images[i], PatientID=people[i], InstanceNumber=i)))
    columns = {"images": images[half:], "labels": labels[half:], "who": np.array(people[half:])}
    np.savez(folder / "array.npz", **columns)
    return people, images


def configure(folder: Path, name: str) -> Any:
    """A configuration that decodes and prepares a data set into the cache."""
    tree = {
        "name": "t", "data": {"kind": "encrypted", "path": f"site/sets/{name}", "cache": str(folder / "cache"),
                 "labels": [*LABELS]},
        "sites": {"split": "iid", "count": 1}, "preprocess": [{"step": "resize", "size": [24, 24]}],
        "model": {"kind": "svm"},
    }  # fmt: skip
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return configuration.load(folder / f"{name}.yaml")


def needles(custody: Custody, people: People, images: npt.NDArray[np.uint8]) -> list[bytes]:
    """What must not be found afterwards."""
    found = [image.tobytes() for image in images]
    found += [str(image_cache.facts(_picture(image))["digest"]).encode() for image in images]
    found += [number.encode() for number in people.numbers]
    names = [name.encode() for match in search(custody, people, None) for name in match.pseudonyms]
    return list(dict.fromkeys(found + names))


def _picture(image: npt.NDArray[np.uint8]) -> Picture:
    return Picture(image[..., None].astype(np.float32), 0.0, 255.0, "")


def run(folder: Path, count: int, withdraw: int) -> dict[str, Any]:
    """All of it; what was found before and after, and the seconds."""
    custody, disk, cache = Place(folder).custody, folder / "disk", folder / "cache"
    who, images = export(folder, count)
    sources: dict[str, Folder | Npz] = {
        "chest": Folder(kind="folder", path=folder / "dicom"),
        "array": Npz(kind="npz", path=folder / "array.npz", labels=LABELS, patient="who"),
    }
    for name, source in sources.items():
        assert not importer.run(custody, ImportRequest(source, name)).problems
        config = configure(folder, name)
        table = read(config.data, custody.home)  # decodes
        prepare(cache, Pipeline(config.preprocess), table.images, range(len(table)))
    traces.snapshot(custody, disk)
    draw = np.random.default_rng(7).choice(sorted(set(who)), withdraw, replace=False)
    people = People("patient", tuple(map(str, draw)))
    theirs = images[np.isin(who, draw)]
    looked_for = needles(custody, people, theirs)
    suspects = traces.suspects_of(search(custody, people, None))
    before = traces.count(traces.everything(custody, cache, disk, suspects), looked_for)
    started = time.perf_counter()
    matches = search(custody, people, None)
    removals = remove(custody, matches, people, [cache])
    seconds = time.perf_counter() - started
    older = [backup.snapshots for backup in backup_traces.look(custody, search(custody, people, None))]
    traces.snapshot(custody, disk)
    after = traces.count(traces.everything(custody, cache, disk, suspects), looked_for)
    taken_out = sum(removal.images for removal in removals)
    return {
        "images": len(images), "patients": len(set(who)), "withdrawn": withdraw, "taken out": taken_out,
        "expected": len(theirs), "looked for": len(looked_for), "found before": before, "left": after,
        "older snapshots named": [list(numbers) for numbers in older], "removal s": round(seconds, 2),
    }  # fmt: skip


def main() -> int:
    """The command line; exit status 1 if anything is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--patients", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), options.images, options.patients)
    print(json.dumps(outcome))
    return 1 if outcome["left"] or outcome["taken out"] != outcome["expected"] else 0


if __name__ == "__main__":
    raise SystemExit(main())

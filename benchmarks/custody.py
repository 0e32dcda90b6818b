"""What custody costs: reading sealed images, an epoch of training on them, importing them.

    python benchmarks/custody.py [--quick]        some minutes; --quick tries fewer images

Caveats first. Times are the best of several turns taken by turns, in one process unless it says otherwise, from the
page cache: a disk would hide what is measured. `raw` is the library's decryption of the same messages from memory to
bytes, one call after the other, as one would write it by hand; `into` is its fastest, into a buffer that stays (whose
content nobody keeps, so reading cannot reach it). Of images of 2 kB, which are a test and no radiographs, Python's own
calls are a fifth of reading. An epoch is reading the data set, preprocessing, and one pass of training of the plain
CNN. `cold` decodes every image, `warm` finds it decoded in the cache, which is sealed for an encrypted set; both sides
have the cache. Import is against decoding alone, each in one process: it decodes each image once as well, so as to name
what is damaged. What kills cost is benchmarks/custody_kills.py.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.cobblestone import Cobblestone256Decryptor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client import readers
from client.custody import importer, sealing
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.importer import ImportRequest
from client.custody.key_ring import Custody
from client.dataset import loading
from client.sources import file_list
from common import config as configuration
from common.config import Folder, Local, Manifest
from common.models import Work, build
from common.types import Cases
from tests.custody.hospital import dicom, open_hospital, taken_in, written
from tests.readers.pydicom_files import FOLDERS

ROOT = Path(__file__).resolve().parents[1]
MEDMNIST = ROOT.parent / "shared" / "data" / "pneumoniamnist.npz"


def best(works: Sequence[Callable[[], object]], turns: int) -> list[float]:
    """The shortest time of each, taken by turns, after one turn that does not count."""
    times = [float("inf")] * len(works)
    for turn in range(turns + 1):
        for i, work in enumerate(works):
            started = time.perf_counter()
            work()
            if turn:
                times[i] = min(times[i], time.perf_counter() - started)
    return times


# --- the images -----------------------------------------------------------------------------------------------------


def small(folder: Path, most: int) -> Manifest:
    """PneumoniaMNIST as one DICOM file an image, with its own split; drawn at random where the set is not there."""
    lines = ["path,label,patient,split"]
    (folder / "images").mkdir(parents=True)
    parts = dict(np.load(MEDMNIST)) if MEDMNIST.exists() else _drawn()
    share = min(1.0, most / 5856)
    for part in ("train", "val", "test"):
        images, labels = parts[f"{part}_images"], parts[f"{part}_labels"].ravel()
        for i in range(int(share * len(images))):
            name = f"{part}-{i}"
            (folder / "images" / f"{name}.dcm").write_bytes(written(dicom(images[i], PatientID=name)))
            lines.append(f"images/{name}.dcm,{('normal', 'pneumonia')[labels[i]]},{name},{part}")
    (folder / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    return Manifest(kind="manifest", path=folder / "list.csv", labels=("normal", "pneumonia"))


def _drawn() -> dict[str, np.ndarray]:
    """As many images, where MedMNIST is not there."""
    random, parts = np.random.default_rng(1), {}
    for part, count in (("train", 4708), ("val", 524), ("test", 624)):
        parts[f"{part}_images"] = random.integers(0, 256, (count, 28, 28), np.uint8)
        parts[f"{part}_labels"] = random.integers(0, 2, (count, 1), np.uint8)
    return parts


def large(folder: Path, count: int) -> Folder:
    """Radiographs of a megapixel with 12 bits, uncompressed."""
    random, ramp = np.random.default_rng(2), np.linspace(0, 3000, 1024 * 1024, dtype=np.float32).reshape(1024, 1024)
    for i in range(count):
        place = folder / ("ill" if i % 2 else "well")
        place.mkdir(parents=True, exist_ok=True)
        pixels = (ramp + random.integers(0, 1000, ramp.shape)).astype(np.uint16)
        (place / f"{i}.dcm").write_bytes(written(dicom(pixels, BitsStored=12, HighBit=11, PatientID=f"P-{i}")))
    return Folder(kind="folder", path=folder)


@dataclass
class Case:
    """A data set in the clear and in custody."""

    name: str
    source: Manifest | Folder
    custody: Custody
    size: int
    """Pixels a side after preprocessing."""

    @property
    def store(self) -> EncryptedDataset:
        """Opened anew: nothing is held from before."""
        return EncryptedDataset.open(self.custody, self.custody.sets / self.name)

    def config(self, encrypted: bool, cache: Path) -> configuration.Config:
        """The same run on either."""
        path = self.custody.sets / self.name if encrypted else self.source.path
        kind = "encrypted" if encrypted else self.source.kind
        data = {"kind": kind, "path": str(path), "cache": str(cache), "labels": list(self.source.labels)}
        tree: dict[str, Any] = {
            "name": "x",
            "data": data,
            "sites": {"split": "iid", "count": 1},
            "model": {"kind": "cnn"},
        }
        tree["preprocess"] = [{"step": "window", "source": "file"}, {"step": "resize", "size": self.size}]
        return configuration.from_tree(tree, cache)


# --- what is measured -----------------------------------------------------------------------------------------------


def reading(case: Case) -> dict[str, float]:
    """Rates in bytes a second: through the store, and of the library alone."""
    store = case.store
    key = store.secrets.data
    packs = [path.read_bytes() for path in sorted((store.folder / "packs").iterdir())]
    sealed = [
        (packs[o.pack][o.offset : o.offset + o.length], sealing.context(store.wraps.place("object", o.id)))
        for o in store.index.objects
    ]
    size, buffer = sum(len(content) for content, _ in sealed), bytearray(max(len(content) for content, _ in sealed))

    def raw() -> None:
        for content, context in sealed:
            decryptor = Cobblestone256Decryptor(key, context)
            decryptor.update(content) + decryptor.finalize()

    def into() -> None:
        for content, context in sealed:
            decryptor = Cobblestone256Decryptor(key, context)
            decryptor.update_into(content, buffer)
            decryptor.finalize()

    def through() -> None:
        for number in range(len(sealed)):
            store.read(number)

    times = best([raw, into, through], 40)
    return {name: size / taken for name, taken in zip(("raw", "into", "read"), times, strict=True)}


def epochs(case: Case, scratch: Path, turns: int) -> dict[str, float]:
    """Seconds of an epoch: of the data alone, cold and warm, and with training."""
    caches = {kind: scratch / f"cache-{kind}" for kind in (False, True)}

    def load(encrypted: bool) -> Cases:
        return loading.load(case.config(encrypted, caches[encrypted]), 1).sites[0].train

    def cold(encrypted: bool) -> None:
        shutil.rmtree(caches[encrypted], ignore_errors=True)
        load(encrypted)

    cases = load(False)
    model = build(case.config(False, scratch).model, cases.images.shape[1:], 2)
    weights, work = model.init(1), Work(Local(epochs=1), 1e-3, 1)

    def epoch(encrypted: bool) -> None:
        model.fit(weights, load(encrypted), work)

    names = [f"{what} {kind}" for what in ("cold", "warm", "epoch") for kind in ("plain", "sealed")]
    works = [lambda w=work_, k=kind: w(k) for work_ in (cold, load, epoch) for kind in (False, True)]
    return dict(zip(names, best(works, turns), strict=True))


def importing(case: Case, scratch: Path) -> tuple[float, float]:
    """Images a second: imported, and decoded alone."""
    files = [row.origin for row in file_list.rows(case.source).rows]

    def bring() -> None:
        shutil.rmtree(scratch / "again", ignore_errors=True)
        custody = open_hospital(scratch / "again")
        importer.run(custody, ImportRequest(case.source, "x"))

    def decode() -> None:
        for file in files:
            readers.read(file)

    brought, decoded = best([bring, decode], 1)
    return len(files) / brought, len(files) / decoded


def federation(case: Case, scratch: Path, encrypted: bool) -> tuple[float, float]:
    """A whole simulated federation with secure aggregation: seconds, and the AUC on the test cases."""
    kind, path = ("encrypted", case.store.folder) if encrypted else (case.source.kind, case.source.path)
    started = time.perf_counter()
    command = [sys.executable, "simulate.py", "configs/custody.yaml", f"data.kind={kind}", f"data.path={path}"]
    command += [f"data.cache={scratch / 'cache'}", "baselines=[]", "--out", str(scratch / f"run-{kind}")]
    subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    result = json.loads((scratch / f"run-{kind}" / "result.json").read_text(encoding="utf-8"))
    return time.perf_counter() - started, float(result["test"]["federated"]["auc"])


def pydicom_files(scratch: Path) -> str:
    """What becomes of the files that pydicom brings."""
    for i, path in enumerate(sorted(path for folder in FOLDERS for path in folder.rglob("*.dcm"))):
        place = scratch / "brought" / ("ill" if i % 2 else "well")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / f"{i}.dcm")
    custody = open_hospital(scratch / "pydicom")
    outcome = taken_in(custody, scratch / "brought", allow_burned_in=True)
    return f"{outcome.added} cases, {outcome.already} twice, {len(outcome.problems)} left out and named"


# --- the table ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        custody = open_hospital(scratch / "hospital")
        cases = [
            Case("small", small(scratch / "small", 1000 if quick else 3000), custody, 28),
            Case("large", large(scratch / "large", 40 if quick else 100), custody, 64),
        ]
        for case in cases:
            importer.run(custody, ImportRequest(case.source, case.name, processes=0))
        result = {}
        for case in cases:
            result[case.name] = _one(case, scratch / f"scratch-{case.name}", 2 if quick else 3)
        (sealed_s, sealed), (plain_s, plain) = (federation(cases[0], scratch, encrypted) for encrypted in (True, False))
        print(f"\nfederation on the small images: AUC {sealed:.3f} in {sealed_s:.0f} s from the encrypted set,")
        print(f"  {plain:.3f} in {plain_s:.0f} s from plain files")
        print(f"files of pydicom: {pydicom_files(scratch)}")
    print()
    print(json.dumps(_summary(result)))


def _one(case: Case, scratch: Path, turns: int) -> dict[str, float]:
    scratch.mkdir()
    rates, times = reading(case), epochs(case, scratch, turns)
    brought, decoded = importing(case, scratch)
    store = case.store
    print(f"\n{case.name}: {len(store.index.objects)} DICOM files, {sum(store.index.packs) / 1e6:.1f} MB")
    print(f"  reading   {rates['read'] / 1e6:6.0f} MB/s, raw {rates['raw'] / 1e6:.0f}, into {rates['into'] / 1e6:.0f}")
    for what in ("cold", "warm", "epoch"):
        plain, sealed = times[f"{what} plain"], times[f"{what} sealed"]
        print(f"  {what:9} {sealed:6.2f} s sealed, {plain:.2f} s plain: {sealed / plain:.3f}")
    print(f"  importing {brought:6.0f} images/s, decoding alone {decoded:.0f}: {brought / decoded:.2f}")
    return {**rates, **times, "imported": brought, "decoded": decoded}


def _summary(result: dict[str, dict[str, float]]) -> dict[str, float]:
    """The worse of both data sets each time; reading is of radiographs, and of the small images beside it."""
    each = list(result.values())
    return {
        "read_over_raw": round(result["large"]["read"] / result["large"]["raw"], 3),
        "read_over_raw_of_2_kB": round(result["small"]["read"] / result["small"]["raw"], 3),
        "epoch_over_plain": round(max(r["epoch sealed"] / r["epoch plain"] for r in each), 3),
        "cold_over_plain": round(max(r["cold sealed"] / r["cold plain"] for r in each), 3),
        "warm_over_plain": round(max(r["warm sealed"] / r["warm plain"] for r in each), 3),
        "import_over_decoding": round(min(r["imported"] / r["decoded"] for r in each), 3),
    }


if __name__ == "__main__":
    main()

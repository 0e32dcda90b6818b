"""What is left of people whose names were planted wherever an image file can hold one.

    python benchmarks/deidentification.py [--objects 600]        some minutes

Files of tests/custody/planted.py (every attribute of the standard's dictionary, nested and private ones, preambles,
overlays, tables, codestreams, bytes behind everything, unused bits, 14 character sets; DICOM, PNG, JPEG, TIFF, NPZ) go
through the real command into real encrypted data sets: without options, with all that `--retain` knows and with
`--allow-burned-in`, from a CSV, and from arrays. Then every object is decrypted and decoded, and searched together with
indices, logs, caches, file names and all that the commands said, for every part of every name and number in 20
encodings and in any case.

Caveats first. Who wrote the import planted the names as well, though the search knows nothing of it. A message names
its file, so the paths of sources are taken out of what was said before it is searched. Names that only pixels show are
not planted: nothing reads them (docs/custody.md).
"""

import argparse
import csv
import json
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.custody.planted import PART, TAGS, people, pixels
from tests.custody.planted_search import changed, client, left, plant, remains

RETAIN = ["--retain", "patient,device,dates", "--allow-burned-in"]


def arrays(path, persons):
    """An .npz with a column of patients, and names in all else that it can hold."""
    columns = {"who": [person.number for person in persons], persons[0].number: np.arange(3)}
    columns |= {"names": [person.name for person in persons], "raw": np.frombuffer(persons[0].bytes("utf-8"), np.uint8)}
    images = np.stack([pixels() for _ in persons])
    np.savez(path, images=images, labels=np.arange(len(persons)) % 2, **columns)
    path.write_bytes(path.read_bytes() + persons[0].bytes("utf-8"))


def listed(path, planted):
    """A CSV that says of each file whom it shows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "patient"])
        rows.writerows(
            [str(image), image.parent.name, person.name + person.number] for image, person in planted.items()
        )


def imports(folder, planted):
    """Every import: data set, command."""
    listed(folder / "list.csv", planted)
    arrays(folder / "arrays.npz", list(planted.values())[:20])
    yield "plain", [folder / "source"]
    yield "kept", [folder / "source", *RETAIN]
    yield "listed", [folder / "list.csv"]
    yield "arrays", [folder / "arrays.npz", "--data", "labels=[ill,well]", "patient=who"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=600)
    objects = parser.parse_args().objects
    result = {
        "files": 0,
        "objects": 0,
        "planted": 0,
        "left": 0,
        "pixels_changed": 0,
        "refused": 0,
        "refused_without_name": 0,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        planted = plant(folder / "source", objects, len(TAGS) // PART + 1)
        result["files"], result["planted"] = len(planted), len({t for p in people(objects) for t in p.traces()})
        client(folder, "init", "lisbon")
        client(folder, "custody", "begin", folder / "away.key")
        for name, arguments in imports(folder, planted):
            started = time.perf_counter()
            _, said = client(folder, "import", *arguments, "--name", name)
            taken = time.perf_counter() - started
            found = remains(folder, name, said, [*planted, folder / "source", folder / "list.csv"])
            remaining = left(planted.values(), found)
            size_mb = sum(map(len, found.values())) / 1e6
            print(f"\n{name}: {len(found)} places of {size_mb:.1f} MB searched, import {taken:.0f} s")
            print("\n".join(re.sub(r"^left out  .*?: ", "left out  ", line) for line in said.splitlines()[-4:-2]))
            for where, trace in remaining[:20]:
                print(f"  left in {where}: {trace!r}")
            _count(result, name, folder, planted, said, remaining)
    print()
    print(json.dumps(result))


def _count(result, name, folder, planted, said, remaining):
    refused = [line for line in said.splitlines() if line.startswith("left out")]
    result["objects"] += int(re.search(r"(\d+) cases are in", said)[1])
    result["left"] += len(remaining)
    result["refused"] += len(refused)
    result["refused_without_name"] += sum(not any(str(path) in line for path in planted) for line in refused)
    if name in ("plain", "kept"):
        result["pixels_changed"] += len(changed(folder, name, planted, said))


if __name__ == "__main__":
    main()

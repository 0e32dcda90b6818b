"""Everything that an import leaves behind, decrypted, to be searched for people; what comes of planted images."""

import io
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom

from client import readers
from client.custody.key_ring import Custody
from client.readers.source import ImageBytes, ImageFile
from tests.admitted import home_of
from tests.custody.hospital import opened
from tests.custody.planted import DICOM, PICTURES, SPELLED, elements, people

ROOT = Path(__file__).parents[2]


def plant(folder, most, turns):
    """Files of at most so many people, `ill/…` and `well/…`: person by the file's path."""
    makers = [*DICOM.items(), *((f"elements {turn}", elements(turn)) for turn in range(turns)), *PICTURES.items()]
    makers += SPELLED.items()
    planted = {}
    for i, person in enumerate(people(most)):
        kind, make = makers[i % len(makers)]
        name = person.name.split("^")[0].split("=")[0]
        path = folder / ("ill", "well")[i % 2] / f"{name} {i:04} {kind}.{kind if kind in PICTURES else 'dcm'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make(person))
        planted[path] = person
    return planted


def client(folder, *arguments):
    """A command of a site in `folder`: status, all that it says."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "500"}
    done = subprocess.run(
        [sys.executable, "-m", "client", *map(str, arguments)], cwd=folder, env=environment, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip
    return done.returncode, done.stdout


def remains(folder, name, said, sources):
    """What is left of a data set and of its import, by where it is: bytes in which nobody should be found."""
    custody = Custody(home_of(folder / "site"))
    store = opened(custody, name)
    found = {f"{name}, index": store.index.encode(), f"{name}, what was said": _without(said, sources).encode()}
    for number in range(len(store.index.objects)):
        content = bytes(store.read(number))
        found[f"{name}/{number}"] = content
        found |= {f"{name}/{number}, {part}": more for part, more in _decoded(content)}
    for path in (folder / "site").rglob("*"):
        found[f"{path}, name"] = str(path.relative_to(folder)).encode()
        if path.is_file():
            found[str(path)] = path.read_bytes()
    return found


def _without(said, sources):
    """Errors must name their file; what else they say is searched."""
    return re.sub("|".join(sorted((re.escape(str(path)) for path in sources), reverse=True)), "", said)


def _decoded(content):
    if content[128:132] != b"DICM":
        return
    header = pydicom.dcmread(io.BytesIO(content))
    stored = np.ascontiguousarray(header.pixel_array).tobytes()
    yield "pixels", stored
    yield "every second byte", stored[1::2]
    yield "every other byte", stored[::2]


def left(persons, found):
    """Where which trace of whom is left."""
    traces = {trace.lower() for person in persons for trace in person.traces()}
    places = {where: content.lower() for where, content in found.items()}
    everything = b"\n\n".join(places.values())
    hits = [trace for trace in traces if trace in everything]
    return [(where, trace) for trace in hits for where, content in places.items() if trace in content]


def changed(folder, name, planted, said):
    """Files whose pixels are other ones in the store than before."""
    store = opened(Custody(home_of(folder / "site")), name)
    kept = [path for path in sorted(planted) if f"left out  {path}" not in said]
    assert len(kept) == len(store.index.cases)
    different = []
    for path, case in zip(kept, store.index.cases, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before = readers.read(ImageFile(path))
            after = readers.read(ImageBytes(path, bytes(store.read(case.object))))
        same = [
            np.array_equal(a.pixels, b.pixels) and (a.low, a.high) == (b.low, b.high)
            for a, b in zip(before, after, strict=True)
        ]
        different += [path] if not all(same) else []
    return different

"""Lists, folders and arrays as spreadsheets, scripts and network drives leave them, drawn at random.

The cases are drawn first, and written in one of the ways in which people and programs write them. What is read must be
just these cases; where a fault is put in, the error must name the file, its row where there is one, and the fault.
For benchmarks/odd_files.py.
"""

import csv
import io
import itertools
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.odd_checks import NOTHING, SPLITS, Case, Check, Rng, Situation, cases_of, pick, refusal, same
from benchmarks.odd_folders import bad_arrays, bad_folder, good_arrays, good_folder
from client.sources import file_list
from common.config import Manifest

LABELS = [
    ("ill", "well"),
    ("pneumonia", "no finding"),
    ("0", "1"),
    ("krank", "üblich"),
    ("Ü, mit Komma", 'mit "Anführung"'),
]


def situations(folder: Path, rng: Rng) -> Iterator[Situation]:
    """Each family so often."""
    image = folder / "image.png"
    Image.fromarray(rng.integers(0, 256, (4, 4), np.uint8)).save(image)
    families: dict[Callable[[Path, Path, Rng], Check], int] = {
        good_list: 400, bad_list: 400, two_spellings: 250, good_folder: 350, bad_folder: 200, good_arrays: 100,
        bad_arrays: 100,
    }  # fmt: skip
    for family, count in families.items():
        for number in range(count):
            place = folder / f"{family.__name__}-{number}"
            place.mkdir()
            yield Situation(place.name, family(place, image, rng))
            shutil.rmtree(place)


# --- lists ----------------------------------------------------------------------------------------------------------


def draw_cases(place: Path, image: Path, rng: Rng) -> list[Case]:
    """Cases with or without site, patient and split; their files are there."""
    labels, count = LABELS[int(rng.integers(len(LABELS)))], int(rng.integers(4, 12))
    has = rng.integers(0, 2, 3)
    cases = []
    for i in range(count):
        path = f"{pick(rng, ['img', 'a b', 'é'])}/{i}.png"
        (place / path).parent.mkdir(exist_ok=True)
        shutil.copy(image, place / path)
        words = pick(rng, ["Lisboa", "Köln"]), f"P-{rng.integers(10, 99)}", pick(rng, list(SPLITS))
        known = [word if is_known else None for word, is_known in zip(words, has, strict=True)]
        cases.append((path, labels[i % 2], known[0], known[1], known[2]))
    return cases


def write_list(place: Path, cases: list[Case], rng: Rng, names: dict[str, str] | None = None) -> list[list[str]]:
    """Write cases as a CSV, in one of many ways; the rows as written."""
    columns = [name for i, name in enumerate(("path", "label", "site", "patient", "split")) if cases[0][i] is not None]
    rows = [[str(cell) for cell in case if cell is not None] for case in cases]
    if "split" in columns:
        for row in rows:
            row[-1] = pick(rng, list(SPLITS[row[-1]]))
    slashes, form = pick(rng, ["/", "/", "\\"]), pick(rng, ["NFC", "NFC", "NFD"])
    for row in rows:
        row[0] = unicodedata.normalize(form, row[0].replace("/", slashes))
    header = [(names or {}).get(name, name) for name in columns]
    if names is None:
        header = [pick(rng, [name, name.upper(), f" {name} ", f"{name}\u200b"]) for name in header]
    for extra in range(int(rng.integers(0, 3))):  # columns that are none of ours, of one name, or an index
        name = pick(rng, ["", "note", "age"])
        header, rows = ([name, *header], [[str(i + extra), *row] for i, row in enumerate(rows)])
    blank = int(rng.integers(0, 3))
    lines = [header + [""] * blank, *(row + [""] * int(rng.integers(0, blank + 2)) for row in rows)]
    lines += [[""] * len(header)] * int(rng.integers(0, 3))
    delimiter, quoting = pick(rng, [",", ";", "\t", "|"]), (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)[int(rng.integers(2))]
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=pick(rng, ["\n", "\r\n", "\r"])).writerows(
        lines
    )
    text = (f"sep={delimiter}\n" if rng.random() < 0.2 else "") + file.getvalue()
    encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-8"] + (
        ["cp1252"] if form == "NFC" and "\u200b" not in text else []
    )
    (place / "list.csv").write_bytes(text.encode(pick(rng, encodings)))
    return rows


def good_list(place: Path, image: Path, rng: Rng) -> Check:
    """A list in any dialect, under its own names of columns or mapped ones."""
    cases = draw_cases(place, image, rng)
    mapped = {"path": "Dateiname", "label": "Befund, gesamt", "patient": "Pat-Nr."} if rng.random() < 0.3 else {}
    write_list(place, cases, rng, mapped or None)
    has = {"path", "label"} | ({"patient"} if cases[0][3] is not None else set())
    source = Manifest(kind="manifest", path=place / "list.csv", columns={k: v for k, v in mapped.items() if k in has})  # type: ignore[misc]
    return lambda: same(lambda: cases_of(source), cases)


def bad_list(place: Path, image: Path, rng: Rng) -> Check:
    """A list with one fault, which must be named with its row."""
    cases = draw_cases(place, image, rng)
    at = int(rng.integers(1, len(cases)))
    path, label, site, patient, split = cases[at]
    word, line = pick(rng, NOTHING), f"row {at + 2}"
    faults: list[tuple[Case, tuple[str, ...]]] = [
        ((path, word, site, patient, split), (line, "label")),
        ((cases[at - 1][0], label, site, patient, split), (line, f"the same image as in row {at + 1}")),
        (("", label, site, patient, split), (line, "the cell 'path' is empty")),
        (("nowhere\x1b[2J.png", label, site, patient, split), (line, r"nowhere\x1b[2J.png: there is no such file")),
    ]
    if site:
        faults.append(((path, label, word, patient, split), (line, "the cell 'site'")))
    if patient:
        faults.append(((path, label, site, "1.23457E+11", split), (line, "a spreadsheet has cut")))
    case, parts = faults[int(rng.integers(len(faults)))]
    cases[at] = case
    head = [name for i, name in enumerate(("path", "label", "site", "patient", "split")) if cases[0][i] is not None]
    with (place / "list.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *([cell for cell in one if cell is not None] for one in cases)])
    source = Manifest(kind="manifest", path=place / "list.csv", cache=place / "cache")
    return lambda: refusal(lambda: file_list.read(source), "list.csv", *parts)


def two_spellings(place: Path, image: Path, rng: Rng) -> Check:
    """One label or patient is written in two ways: refused, merged or kept."""
    ways: list[Callable[[str], str]] = [
        str.upper, str.title, lambda w: w.replace(" ", "  "), lambda w: w[:2] + "\u200b" + w[2:],
        lambda w: w + "\u00ad",
        lambda w: "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else c for c in w),
        lambda w: unicodedata.normalize("NFD", w), lambda w: w.replace(" ", "\u00a0"), lambda w: w.replace("-", "–"),
        lambda w: w.replace("7", "07"), lambda w: f"{w}.0" if w.isdecimal() else w.upper(),
    ]  # fmt: skip
    word = pick(rng, ["ill fé-7", "p-7 é", "sick-7 ä"])
    other = next(o for way in itertools.chain([ways[int(rng.integers(len(ways)))]], ways) if (o := way(word)) != word)
    is_label = rng.random() < 0.5
    lines = []
    for i in range(6):
        shutil.copy(image, place / f"{i}.png")
        spelt = other if i in (1, 3) else word
        lines.append(
            [f"{i}.png", "well" if i % 2 == 0 else spelt, "x"] if is_label else [f"{i}.png", "ab"[i % 2], spelt]
        )
    if is_label:
        lines[5][1] = word
    with (place / "list.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["path", "label", "patient"], *lines])

    def read(rule: str) -> list[Case]:
        return cases_of(Manifest(kind="manifest", path=place / "list.csv", spelling=rule))  # type: ignore[arg-type]

    def run() -> str | None:
        what = "labels" if is_label else "patients"
        wrong = refusal(
            lambda: read("refuse"), "list.csv", f"{what} that are spelt in several ways", "row 3", "data.spelling"
        )
        kinds = [len({case[1 if is_label else 3] for case in read(rule)}) for rule in ("merge", "keep")]
        return wrong or (None if kinds == ([2, 3] if is_label else [1, 2]) else f"{kinds} kinds: {word!r}, {other!r}")

    return run

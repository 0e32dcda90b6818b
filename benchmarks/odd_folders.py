"""Folders and arrays as scripts and network drives leave them, drawn at random. For benchmarks/odd_tables.py."""

import itertools
import shutil
from pathlib import Path

import numpy as np

from benchmarks.odd_checks import NOTHING, SPLITS, Case, Check, Rng, cases_of, pick, refusal, same
from client.sources import file_list, npz
from common.config import Folder, Npz

LITTER = [
    "@eaDir",
    "lost+found",
    "$RECYCLE.BIN",
    "System Volume Information",
    ".snapshot",
    "#recycle",
    "__MACOSX",
    ".Trash",
]
LITTER_FILES = [".DS_Store", "Thumbs.db", "._0.png", "desktop.ini", "DICOMDIR", "0.png~", "x.tmp"]


# --- folders --------------------------------------------------------------------------------------------------------


def good_folder(place: Path, image: Path, rng: Rng) -> Check:
    """Folders of classes, splits and sites, with litter, links and loose files; what is not used must be counted."""
    data, labels = place / "data", ("ill", "well", "no finding")[: int(rng.integers(2, 4))]
    layout = pick(rng, ["{label}", "{split}/{label}", "{label}/{split}", "{site}/{label}", "{site}/{split}/{label}"])
    splits = {str(name): split for split, names in SPLITS.items() for name in [pick(rng, [n.strip() for n in names])]}
    cases: list[Case] = []
    for label, (word, split), site in itertools.product(labels, splits.items(), ("Lisboa", "Köln")):
        inside = layout.format(label=label, split=word, site=site)
        for i in range(int(rng.integers(1, 3))):
            path = f"{inside}/{pick(rng, ['', 'study 1/', 'a/b/'])}{len(cases)}-{i}.png"
            (data / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, data / path)
            cases.append(
                (path, label, site if "{site}" in layout else None, None, split if "{split}" in layout else None)
            )
    litter = 0
    for _ in range(int(rng.integers(0, 4))):
        case, name = Path(cases[int(rng.integers(len(cases)))][0]), pick(rng, LITTER)
        around = data / pick(rng, [str(parent) for parent in case.parents])
        if not (around / name).exists():
            (around / name).mkdir()
            shutil.copy(image, around / name / "9.png")
            litter += 1
    beside = int(rng.integers(0, 3))
    for i in range(beside):
        (data / f"loose-{i}.csv").write_text("x", encoding="ascii")
    for name in {pick(rng, LITTER_FILES) for _ in range(int(rng.integers(0, 3)))}:
        (data / Path(cases[0][0]).parent / name).write_bytes(b"litter")
        litter += 1
    if rng.random() < 0.4:  # a study behind a link
        (place / "store").mkdir()
        shutil.copy(image, place / "store/linked.png")
        path, label, site, patient, split = cases[0]
        (data / Path(path).parent / "link").symlink_to(place / "store")
        cases.append((f"{Path(path).parent}/link/linked.png", label, site, patient, split))
    source = Folder(kind="folder", path=data, site_folders="{site}" in layout)

    def run() -> str | None:
        if wrong := same(lambda: cases_of(source), cases):
            return wrong
        said = " ".join(file_list.rows(source).unused)
        counts = {f"{litter} files or folders of systems": litter, f"{beside} files or folders outside": beside}
        return next(
            (f"not counted: {text}: {said}" for text, count in counts.items() if count and text not in said), None
        )

    return run


def bad_folder(place: Path, image: Path, rng: Rng) -> Check:
    """Folders in which something is not what its name says, or is not there."""
    data = place / "data"
    kind = pick(rng, ["splits", "folds", "link", "circle", "empty", "nothing", "spelling", "inner"])
    around = ["train/", "test/"] if kind in ("splits", "spelling") else [""]
    third = pick(rng, ["holdout", "test2", "fold_1", "Test images", "val set", "eval3", "cv5", "held-out"])
    around += [f"{third}/"] * (kind == "splits")
    around = [f"fold{i}/" for i in range(3)] if kind == "folds" else around
    for part, label in itertools.product(around, ("ill", "well")):
        (data / part / label).mkdir(parents=True)
        shutil.copy(image, data / part / label / "0.png")
    parts: dict[str, tuple[str, ...]] = {
        "splits": ("data", third, "data.splits"), "folds": ("data", "fold0", "data.splits"),
        "link": ("gone.png", "leads nowhere"), "circle": ("round.png",), "empty": ("unseen", "an empty folder"),
        "nothing": ("NaN", "says that none is known"), "spelling": ("'Ill'", "spelt in several ways"),
        "inner": ("ill", "lies beside folders of splits"),
    }  # fmt: skip
    if kind == "link":
        (data / pick(rng, ["", "ill"]) / "gone.png").symlink_to(place / "nowhere")
    elif kind == "circle":
        (data / "well/round.png").symlink_to(data / "well/round.png")
    elif kind == "empty":
        (data / "unseen").mkdir()
    elif kind == "nothing":
        (data / "NaN").mkdir()
        shutil.copy(image, data / "NaN/0.png")
    elif kind == "spelling":
        (data / "test/ill").rename(data / "test/Ill")
    elif kind == "inner":
        (data / "ill/train").mkdir()
        shutil.copy(image, data / "ill/train/0.png")
    return lambda: refusal(lambda: cases_of(Folder(kind="folder", path=data)), *parts[kind])


# --- arrays ---------------------------------------------------------------------------------------------------------


def good_arrays(place: Path, image: Path, rng: Rng) -> Check:
    """An .npz whose targets and sites are numbers with names, or words."""
    count, names = int(rng.integers(6, 20)), ["normal", "benign", "malignant"][: int(rng.integers(2, 4))]
    target, labels = pick(rng, ["labels", "sex", "y"]), np.arange(count) % len(names)
    sites, are_words = rng.integers(0, 2, count), bool(rng.integers(2))
    content = {"images": rng.integers(0, 256, (count, 3, 3), np.uint8), "site_names": np.array(["Lisboa", "Köln"])}
    content[target] = np.array(names)[labels] if are_words else labels.astype(rng.choice(["u1", "i8"]))
    content["class_names" if target == "labels" else f"{target}_names"] = np.array(names)
    content["site"] = sites if rng.random() < 0.5 else content["site_names"][sites]
    np.savez(place / "a.npz", **content)

    def run() -> str | None:
        table = npz.read(Npz(kind="npz", path=place / "a.npz", targets=target, site="site"))
        found = [table.classes[i] for i in table.labels], list(table.site or ())
        expected = [names[i] for i in labels], [["Lisboa", "Köln"][i] for i in sites]
        return None if found == expected else f"{found} and not {expected}"

    return run


def bad_arrays(place: Path, image: Path, rng: Rng) -> Check:
    """An .npz whose labels are of other names, of none, or missing."""
    count, kind = int(rng.integers(6, 20)), pick(rng, ["names", "gap", "words", "spelling", "site", "twice"])
    labels = np.arange(count) % 2
    content = {"images": rng.integers(0, 256, (count, 3, 3), np.uint8), "labels": labels, "site": labels + 0}
    settings, at = {"targets": "labels"}, int(rng.integers(2, count))
    words = np.array(["ill", "well"], dtype="U12")[labels]
    if kind == "names":
        content |= {"sex": labels, "class_names": np.array(["normal", "benign"])}
        settings["targets"] = "sex"
    elif kind == "gap":
        content["labels"] = np.where(labels == 1, int(rng.integers(2, 255)), 0)
    elif kind in ("words", "spelling"):
        words[at] = pick(rng, NOTHING) if kind == "words" else pick(rng, [words[at].upper(), f"{words[at]}\u200b"])
        content["labels"] = words
    elif kind == "site":
        content |= {"site_names": np.array(["Lisboa"])}
        settings["site"] = "site"
    else:
        content["class_names"] = np.array(["a", "a"])
    np.savez(place / "a.npz", **content)
    part = {"names": "'class_names'", "gap": "no case has 1", "words": f"labels[{at}]", "spelling": "spelt in several",
            "site": "'site_names' has 1", "twice": "twice"}[kind]  # fmt: skip
    source = Npz(kind="npz", path=place / "a.npz", **settings)  # type: ignore[arg-type]
    return lambda: refusal(lambda: npz.read(source), "a.npz", part)

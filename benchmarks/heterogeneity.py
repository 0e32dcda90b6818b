"""Is the personalised model ever worse than training alone, at hospitals that differ as real ones do?

    python benchmarks/heterogeneity.py                                 an encoder's numbers, ten seeds: minutes
    python benchmarks/heterogeneity.py configs/heterogeneity-cnn.yaml  small networks
    python benchmarks/heterogeneity.py --make data/heterogeneity.npz   the images alone, for configs/heterogeneity.yaml

Four hospitals are made of PneumoniaMNIST: each has two devices of its own, and which of them a patient is imaged with
goes with the disease, at each hospital in another way (the ill lie in bed, and get the portable one; or the other way
round). So each can see the disease by its device, and what it sees so is wrong elsewhere. They differ in size, and in
how many cases are clear, the class to be found: 41 % to 0.7 %. One shows its images as negatives. Each seed draws other
patients. All are tested on as many cases of both classes, or the AUC of the one with seven clear cases in a thousand
would be a matter of luck.

The last line is JSON: `cells` (site and seed), `worse` (of them, where the personalised model's AUC on test cases is
more than .01 below that of the site's own), `federated_worse` (the same of the federated model), mean AUC of each way
of training, and `worst`, the least gain over the own model.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from client.sources.scanner_shift import Scanner  # noqa: E402
from common.cli import terminal  # noqa: E402
from common.config import load  # noqa: E402
from simulation.seeds import simulate  # noqa: E402

CHEST = ROOT.parent / "shared" / "data" / "pneumoniamnist.npz"
HOSPITALS: dict[str, tuple[int, int, Scanner, Scanner, tuple[float, float]]] = {
    "clinic": (400, 575, Scanner(1.0, 1.0, 0.02, 0.10), Scanner(0.8, 1.4, 0.04, 0.18), (0.80, 0.25)),
    "ward": (200, 900, Scanner(0.7, 1.6, 0.03, 0.12), Scanner(0.9, 0.8, 0.04, 0.20), (0.20, 0.75)),
    "screening": (11, 1560, Scanner(1.0, 0.7, 0.03, 0.12), Scanner(0.8, 1.3, 0.05, 0.15), (0.25, 0.70)),
    "village": (30, 220, Scanner(0.8, 1.3, 0.05, 0.14), Scanner(0.7, 1.0, 0.05, 0.20), (0.75, 0.30)),
}
"""Clear cases, cases of pneumonia, the fixed device, the portable one, and its share of the ill and of the clear."""
NEGATIVES = {"screening"}
TESTED = (200, 250)
"""Clear cases and cases of pneumonia on which each hospital's models are tested."""
VALIDATION = 0.15
WORSE = 0.01
WAYS = ("local", "federated", "personalised")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, default=ROOT / "configs" / "heterogeneity.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="laid over the configuration")
    parser.add_argument("--make", type=Path, metavar="FILE", help="write the images as .npz, and end")
    options = parser.parse_args()
    if options.make:
        options.make.parent.mkdir(parents=True, exist_ok=True)
        return make(options.make)
    seeds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in load(options.config, [*options.overrides, f"data.path={CHEST}"]).seeds:
            make(file := Path(folder) / f"{seed}.npz", seed)
            config = load(options.config, [*options.overrides, f"data.path={file}", f"seeds=[{seed}]"])
            seeds += simulate(config, Path(folder) / str(seed), terminal.console())["seeds"]
    print(json.dumps(figures(seeds)))


def figures(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """What the seeds come to, each as result.json has it."""
    cells = [(f"{name} {seed['seed']}", ways) for seed in seeds for name, ways in seed["sites"].items()]
    gaps = {way: {cell: ways[way]["auc"] - ways["local"]["auc"] for cell, ways in cells} for way in WAYS}
    worse = {
        way: {cell: round(gap, 3) for cell, gap in by_cell.items() if gap < -WORSE} for way, by_cell in gaps.items()
    }
    means = {f"{way}_auc": round(float(np.mean([ways[way]["auc"] for _, ways in cells])), 4) for way in WAYS}
    own, common = worse["personalised"], worse["federated"]
    return {"cells": len(cells), "worse": len(own), "worse_cells": own, "federated_worse": len(common),
            "worst": round(min(gaps["personalised"].values()), 4), **means}  # fmt: skip


def make(path: Path, seed: int = 1) -> None:
    """The hospitals' images as .npz: images uint8[n, 28, 28], labels (1: clear), class_names, site, split."""
    chest, random = np.load(CHEST), np.random.default_rng(seed)
    parts = ("train", "val", "test")
    pixels = np.concatenate([chest[f"{part}_images"] for part in parts]).astype(np.float32) / 255
    is_clear = np.concatenate([chest[f"{part}_labels"][:, 0] for part in parts]) == 0
    stock = [iter(random.permutation(np.flatnonzero(is_clear == side))) for side in (False, True)]
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    sites: list[str] = []
    splits: list[str] = []
    for name, (clear, ill, fixed, portable, shares) in HOSPITALS.items():
        for label, count, tested in ((1, clear, TESTED[0]), (0, ill, TESTED[1])):
            rows = [next(stock[label]) for _ in range(count + tested)]
            is_portable = random.random(len(rows)) < shares[label]
            scanned = np.where(
                is_portable[:, None, None], portable.scan(pixels[rows], random), fixed.scan(pixels[rows], random)
            )
            shown = 1 - scanned if name in NEGATIVES else scanned
            images.append(np.round(255 * shown).astype(np.uint8))
            validated = max(1, round(VALIDATION * count))
            splits += ["train"] * (count - validated) + ["validation"] * validated + ["test"] * tested
            labels += [label] * len(rows)
            sites += [name] * len(rows)
    arrays = {"images": np.concatenate(images), "labels": np.array(labels), "site": np.array(sites)}
    np.savez_compressed(path, class_names=np.array(["pneumonia", "clear"]), split=np.array(splits), **arrays)


if __name__ == "__main__":
    main()

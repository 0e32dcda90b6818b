"""Which of two models comes first: one that only knows the hospital, or one that tells its patients apart.

    python benchmarks/prevalence.py [--out DIR]

Four hospitals are made of PneumoniaMNIST, of which 10, 35, 65 and 90 % of the cases are pneumonia. Three runs on the
same cases: `hospital` sees nothing of a radiograph but a mark in its corner, which each hospital's device leaves;
`patient` sees the radiograph, noisy, without the mark; `both` sees both. Printed: what 0.1 put first, the AUC over all
test cases together; then what is said now: the screen, `server compare` and the model card. The pages are in DIR. The
last line is JSON: by run the AUC over all test cases and the mean of the hospitals' own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
CHEST = ROOT.parent / "shared" / "data" / "pneumoniamnist.npz"
SHARES = {"north": 0.1, "east": 0.35, "south": 0.65, "west": 0.9}
CASES = 400
NOISE = 6.0
"""Of the radiographs, in standard deviations of their pixels: without it any model tells these patients apart."""
RUN = """
name: {name}
seeds: [1]
data: {{kind: npz, path: [{path}], images: images, targets: labels, site: site, labels: [clear, pneumonia]}}
sites: {{split: natural, test: 0.4, near_duplicates: false}}
preprocess: [{{step: normalise, by: federated}}]
model: {{kind: svm, loss: logistic, C: 0.01}}
federation: {{rounds: 40, select: last}}
baselines: [local]
personalise: {{mix: false}}
cross_site: false
"""


def hospitals() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Radiographs float32[n, 28, 28] with noise, labels, and the number of the hospital of each."""
    chest, random = np.load(CHEST), np.random.default_rng(1)
    pixels, labels = (
        np.concatenate([chest[f"{p}_{w}"] for p in ("train", "val", "test")]) for w in ("images", "labels")
    )
    stock = [iter(random.permutation(np.flatnonzero(labels[:, 0] == label))) for label in (0, 1)]
    rows, sites = list[int](), list[int]()
    for site, share in enumerate(SHARES.values()):
        ill = round(share * CASES)
        rows += [next(stock[1]) for _ in range(ill)] + [next(stock[0]) for _ in range(CASES - ill)]
        sites += [site] * CASES
    images: NDArray[np.float32] = pixels[rows].astype(np.float32) / 255
    images = images + NOISE * images.std() * random.normal(size=images.shape).astype(np.float32)
    return images, labels[rows, 0].astype(np.int64), np.array(sites, np.int64)


def seen(name: str, images: NDArray[np.float32], sites: NDArray[np.int64]) -> NDArray[np.float32]:
    """What a run sees of the radiographs."""
    random = np.random.default_rng(2)  # all alike they would count as one person's
    shown = random.normal(size=images.shape).astype(np.float32) if name == "hospital" else images.copy()
    if name != "patient":
        for site in range(len(SHARES)):
            shown[sites == site, :2, 7 * site : 7 * site + 7] = 4
    return shown


def command(*words: str) -> str:
    """A command of the program, and what it prints."""
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def performance(package: zipfile.ZipFile) -> str:
    """What the model card says of it."""
    return package.read("card.md").decode().partition("## Performance\n")[2].partition("\n## ")[0]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a new folder, for runs and pages")
    out = parser.parse_args().out or Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)
    images, labels, sites = hospitals()
    figures: dict[str, Any] = {}
    for name in ("hospital", "patient", "both"):
        arrays = {"images": seen(name, images, sites), "labels": labels, "site": np.array([*SHARES])[sites]}
        np.savez_compressed(out / f"{name}.npz", **arrays)
        (out / f"{name}.yaml").write_text(RUN.format(name=name, path=out / f"{name}.npz"), encoding="utf-8")
        screen = command("simulate.py", str(out / f"{name}.yaml"), "--out", str(out / name))
        result = json.loads((out / name / "result.json").read_text(encoding="utf-8"))
        together, within = (result[part]["federated"]["auc"] for part in ("test", "sites_mean"))
        figures[name] = {"all test cases": round(together, 3), "mean of sites": round(within, 3)}
        print(f"--- {name}\nAs in 0.1: AUC {together:.3f} on the test cases of all sites.\nNow:\n{screen}")
    runs = [str(out / name) for name in figures]
    print("--- server compare\n" + command("-m", "server", "compare", *runs, "--out", str(out / "compare.html")))
    for name in figures:
        card = out / f"{name}.consilium"
        command("-m", "server", "export", str(out / name), "--key", str(out / "publisher.key"), "--out", str(card))
        print(f"--- card of {name}\n" + performance(zipfile.ZipFile(card)))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""How long a shared model takes: from cold on one DICOM chest radiograph, and images a second on a folder.

    python benchmarks/predict.py [--runs 5] [--images 400]

Two small models are trained on synthetic images first (a CNN and an SVM, on 32×32 pixels), so that the figures are of
reading, preprocessing, the model and the picture, and not of its answers. Cold: a new process, from the command to its
end, on pydicom-data's chest radiograph (1955×1841 pixels, 16 bits), with its picture and without; the operating system
has the files in memory after the first run. A folder: PNG files of 256×256 pixels, without pictures, in a process that
has started and scored one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import data_store
import numpy as np
from PIL import Image
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from client.prediction import inputs  # noqa: E402
from client.prediction.outcome import Outcome, outcomes  # noqa: E402
from common.cli import terminal  # noqa: E402
from common.package import package_file  # noqa: E402

CHEST = Path(data_store.__file__).parent / "data" / "RG1_UNCR.dcm"
SMALL = ("data.sites=3", "data.cases=100", "baselines=[]", "personalise.mix=false", "cross_site=false",
         "federation.rounds=10")  # fmt: skip


def run(*arguments: object) -> float:
    """Seconds of one command."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - begun


def package(kind: str, folder: Path) -> Path:
    """Train a small model and export it."""
    config = {"cnn": "configs/demo.yaml", "svm": "configs/demo-svm.yaml"}[kind]
    run("simulate.py", config, *SMALL, "--out", folder / kind)
    out = folder / f"{kind}.consilium"
    run("-m", "server", "export", folder / kind, "--key", folder / "key", "--out", out)
    return out


def predict(model: Path, *arguments: object) -> float:
    """Seconds of one prediction, its publisher trusted."""
    trusted = model.parent / "publishers.json"
    if not trusted.exists():
        shared = package_file.read_package(model)
        trusted.write_text(json.dumps({shared.fingerprint: shared.content.publisher.name}))
    return run("-m", "client", "predict", model, *arguments, "--trusted", trusted, "--out", model.parent / "pictures")


def folder_s(path: Path, images: Path) -> float:
    """Seconds for a folder, the least of three times."""
    shared = package_file.read_package(path)
    model, named = shared.model(), inputs.images([str(images)], path.parent, "middle")
    list(outcomes(shared, model, named[:1]))
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        assert sum(isinstance(outcome, Outcome) for outcome in outcomes(shared, model, named)) == len(named)
        times.append(time.perf_counter() - begun)
    return min(times)


def main() -> None:
    """Measure, print a table, and JSON as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--images", type=int, default=400)
    options = parser.parse_args()
    random, found = np.random.default_rng(1), dict[str, float]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "images").mkdir()
        for i in range(options.images):
            image = random.integers(0, 256, (256, 256), dtype=np.uint8)
            Image.fromarray(image).save(folder / "images" / f"{i}.png")
        for kind in ("cnn", "svm"):
            model = package(kind, folder)
            found[f"{kind}, cold, seconds"] = median(options.runs, model, CHEST)
            found[f"{kind}, cold, no picture, seconds"] = median(options.runs, model, CHEST, "--no-pictures")
            found[f"{kind}, images a second"] = options.images / folder_s(model, folder / "images")
    table = Table(title=f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, figure in found.items():
        table.add_row(name, f"{figure:.2f}")
    terminal.console().print(table)
    print(json.dumps({name: round(figure, 3) for name, figure in found.items()} | {"load": os.getloadavg()[0]}))


def median(runs: int, *arguments: object) -> float:
    """Of several runs."""
    return statistics.median(predict(*arguments) for _ in range(runs))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

"""What simulating a federation costs: against a plain Keras loop, over Flower's Ray engine, and from 4 to 100 sites.

    python benchmarks/simulation.py [--repeats 3]

Caveats first. Every measurement is a process of its own; the engines take turns, and medians are shown. Timed is a
federated training from the loaded images to the last round's evaluation: building the network, compiling its graphs,
for Flower starting Ray, all rounds. Not timed is importing TensorFlow and reading the images (save by Ray's workers).
`warm` is the time of the rounds after the first, which pays for the start. The plain loop is what one would write by
hand: one Keras model, `fit` at each site in turn, the mean of the weights, the validation cases of each site, the best
weights kept; without XLA and with 16 steps an execution, its fastest on a CPU, and with TensorFlow's own threads. It
writes no checkpoint, ours does after each round. Ours trains as many sites at a time as there are cores; so does Ray.
Memory is the resident set of a process with all its descendants, at its peak (pages that they share count for each).
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
DATA = ROOT.parent / "shared" / "data" / "pneumoniamnist.npz"
SITES, IMAGES, VALIDATION, ROUNDS = 10, 500, 50, 5
GROWTH = (4, 10, 30, 100)
CONFIG = """
name: benchmark
data: {{kind: npz, path: {path}, images: images, targets: targets, site: site, split: split}}
sites: {{split: natural, test: 0}}
model: {{kind: cnn, architecture: plain}}
baselines: []
personalise: {{mix: false}}
federation: {{rounds: {rounds}, local: {{epochs: 1, batch: 32}}}}
"""


# --- what is timed --------------------------------------------------------------------------------------------------


def ours(path: Path, engine: str) -> dict[str, Any]:
    """The federated stage of simulate.py (simulation/together.py)."""
    from rich.console import Console

    import common.models.cnn  # noqa: F401  (imports TensorFlow before the clock starts)
    from client.dataset import loading
    from common import config as configuration
    from common.cli.progress import Watch
    from simulation.experiment import Experiment
    from simulation.together import train_together

    config = configuration.load(path)
    data = loading.load(config, 1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(1.0, Console(quiet=True))
        experiment = Experiment.with_model(config, 1, data, Path(folder), watch, engine)  # type: ignore[arg-type]
        records = train_together(experiment).records
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "warm": sum(r.seconds for r in records[1:]), "loss": records[-1].validation["loss"]}


def plain(path: Path) -> dict[str, Any]:
    """The same steps, as one would write them with Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    from sklearn.metrics import log_loss, roc_auc_score

    from client.dataset import loading
    from common import config as configuration

    config = configuration.load(path)
    sites = loading.load(config, 1).sites
    truth = np.concatenate([s.validation.labels for s in sites])
    started = time.perf_counter()
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential([
        layers.Input(sites[0].train.images.shape[1:]),
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(2, activation="softmax"),
    ])  # fmt: skip
    adam = keras.optimizers.Adam(1e-3)
    model.compile(adam, "sparse_categorical_crossentropy", jit_compile=False, steps_per_execution=16)
    adam.build(model.trainable_variables)
    fresh = [v.numpy() for v in adam.variables]
    weights, best, best_loss, seconds = model.get_weights(), None, np.inf, []
    total = sum(len(s.train) for s in sites)
    for _ in range(config.federation.rounds):
        round_started, sums = time.perf_counter(), [np.zeros_like(w) for w in weights]
        for site in sites:
            model.set_weights(weights)
            for variable, value in zip(adam.variables, fresh, strict=True):
                variable.assign(value)
            model.fit(site.train.images, site.train.labels, batch_size=32, epochs=1, shuffle=True, verbose=0)
            for sum_, w in zip(sums, model.get_weights(), strict=True):
                sum_ += len(site.train) / total * w
        weights = sums
        model.set_weights(weights)
        scores = np.concatenate([model.predict_on_batch(s.validation.images) for s in sites])
        loss, _ = log_loss(truth, scores), roc_auc_score(truth, scores[:, 1])
        if loss < best_loss:
            best, best_loss = [w.copy() for w in weights], loss
        seconds.append(time.perf_counter() - round_started)
    assert best is not None
    return {"seconds": time.perf_counter() - started, "warm": sum(seconds[1:]), "loss": loss}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "plain": plain,
    "ours": lambda path: ours(path, "memory"),
    "flower": lambda path: ours(path, "flower"),
}


# --- images ---------------------------------------------------------------------------------------------------------


def write_images(path: Path, sites: int, images: int, validation: int) -> str:
    """An NPZ with so many sites; returns what it holds. Real images where there are enough of them."""
    each = images + validation
    if DATA.exists() and sites * each <= 5856:
        with np.load(DATA, allow_pickle=False) as file:
            pixels = np.concatenate([file[f"{part}_images"] for part in ("train", "val", "test")])
            labels = np.concatenate([file[f"{part}_labels"].ravel() for part in ("train", "val", "test")])
        chosen = np.random.default_rng(1).permutation(len(labels))[: sites * each]
        pixels, labels, what = pixels[chosen], labels[chosen], "PneumoniaMNIST (all parts: only time is measured)"
    else:
        random = np.random.default_rng(1)
        labels = random.integers(0, 2, sites * each)
        pixels = random.integers(0, 200, (sites * each, 28, 28)) + 40 * labels[:, None, None]
        what = "synthetic noise of PneumoniaMNIST's size"
    site = np.array([f"site-{i:03}" for i in range(sites)]).repeat(each)
    split = np.tile(np.array(["train"] * images + ["validation"] * validation), sites)
    np.savez(path, images=pixels.astype(np.uint8), targets=labels.astype(np.int64), site=site, split=split)
    return what


# --- measuring ------------------------------------------------------------------------------------------------------


def measure(part: str, config: Path) -> dict[str, Any]:
    """One part in a process of its own; also its peak memory in MB."""
    command = [sys.executable, __file__, "--part", part, "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            peak[0] = max(peak[0], resident_bytes(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, errors = process.communicate()
    over.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{part} failed:\n{errors}")
    return json.loads(out.splitlines()[-1]) | {"mb": peak[0] / 1e6}


def resident_bytes(root: int) -> int:
    """Resident set of a process and all its descendants."""
    parents, sizes = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue  # gone meanwhile
            parents[int(folder.name)], sizes[int(folder.name)] = int(fields[1]), int(fields[21])
    family, new = {root}, {root}
    while new := {p for p, parent in parents.items() if parent in new}:
        family |= new
    return os.sysconf("SC_PAGE_SIZE") * sum(sizes.get(p, 0) for p in family)


def median(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Of every figure."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def main() -> None:
    """Print two tables and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="of each engine (default: 3)")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.config)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare_and_grow(Path(folder), options.repeats)


def compare_and_grow(folder: Path, repeats: int) -> None:
    """All measurements."""
    config = folder / "config.yaml"
    what = write_images(folder / "images.npz", SITES, IMAGES, VALIDATION)
    config.write_text(CONFIG.format(path=folder / "images.npz", rounds=ROUNDS), encoding="utf-8")
    parts = ["plain", "ours"] + (["flower"] if importlib.util.find_spec("ray") else [])
    print(f"{SITES} sites × {IMAGES} images × {ROUNDS} rounds, {what}; {os.cpu_count()} cores, {repeats} repeats")
    runs: dict[str, list[dict[str, Any]]] = {part: [] for part in parts}
    for _ in range(repeats):
        for part in parts:
            runs[part].append(measure(part, config))
    figures = {part: median(runs[part]) for part in parts}
    print(f"{'':8} {'seconds':>8} {'warm':>8} {'peak MB':>8} {'validation loss':>16}")
    for part, f in figures.items():
        print(f"{part:8} {f['seconds']:8.2f} {f['warm']:8.2f} {f['mb']:8.0f} {f['loss']:16.4f}", flush=True)
    growth = grow(folder)

    def ratio(one: str, other: str, figure: str) -> float | None:
        return round(figures[one][figure] / figures[other][figure], 3) if one in figures else None

    summary = {f"{one}_over_{other}": ratio(one, other, "seconds") for one, other in PAIRS}
    summary |= {f"{one}_over_{other}_warm": ratio(one, other, "warm") for one, other in PAIRS}
    summary |= {f"{one}_over_{other}_memory": ratio(one, other, "mb") for one, other in PAIRS}
    print(json.dumps({**summary, "seconds": {p: round(f["seconds"], 2) for p, f in figures.items()}, "growth": growth}))


PAIRS = (("ours", "plain"), ("flower", "ours"))


def grow(folder: Path) -> list[dict[str, float]]:
    """Ours with more and more sites of one size: the time of a case should stay the same."""
    print(f"\n{'sites':>6} {'seconds':>8} {'µs a case, warm':>16} {'peak MB':>8}")
    table = []
    for sites in GROWTH:
        write_images(folder / "more.npz", sites, 200, 20)
        config = folder / "more.yaml"
        config.write_text(CONFIG.format(path=folder / "more.npz", rounds=4), encoding="utf-8")
        run = measure("ours", config)
        row = {
            "sites": sites,
            "seconds": run["seconds"],
            "us_per_case": 1e6 * run["warm"] / (3 * sites * 200),
            "mb": run["mb"],
        }
        print(f"{sites:6} {row['seconds']:8.2f} {row['us_per_case']:16.0f} {row['mb']:8.0f}", flush=True)
        table.append({name: round(value, 2) for name, value in row.items()})
    return table


if __name__ == "__main__":
    main()

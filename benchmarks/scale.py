"""Whether memory grows with the data: import, embedding and an epoch of training over encrypted images of 224².

    python benchmarks/scale.py [--images 2000] [--part 384]        --images 50000 for a day on a small machine

The images are synthetic colour PNG files, drawn at random and smoothed so that they compress somewhat as photographs
do. Import is the command `python -m client import`, with all its processes. Then everything is prepared: once through
an encoder (a MobileNetV2 of width .35, made from a Keras model with random weights), and once as it is, for the CNN.
Memory is the largest sum over a stage's processes, looked at ten times a second; it counts pages that processes share
once for each. An epoch of the CNN from the disk is timed beside the same from memory, and embedding beside Keras's own
`predict` on images that are decoded already; both over `--part` of the images, in turns, the best of two.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from client.access import gate  # noqa: E402
from client.dataset import loading  # noqa: E402
from common import config as configuration  # noqa: E402
from common.cli import terminal  # noqa: E402
from common.config import Cnn, Encrypted, Local  # noqa: E402
from common.encoders import Encoder, encoder_library  # noqa: E402
from common.encoders.encoder_file import EncoderAbout  # noqa: E402
from common.encoders.encoder_network import network  # noqa: E402
from common.encoders.keras_file import read_keras  # noqa: E402
from common.encoders.tensorflow_loading import load  # noqa: E402
from common.image_stack import part  # noqa: E402
from common.models import Work, build  # noqa: E402
from common.types import Cases  # noqa: E402

SIDE = 224
ABOUT: dict[str, Any] = {
    "name": "scale", "licence": "CC0-1.0", "source": "benchmarks/scale.py, random weights", "trained_on": "nothing",
    "size": SIDE, "mean": (0.0, 0.0, 0.0), "deviation": (1.0, 1.0, 1.0),
}  # fmt: skip


def draw(folder: Path, number: int) -> None:
    """One synthetic image."""
    noise = np.random.default_rng(number).normal(128, 60, (SIDE // 8, SIDE // 8, 3)).astype(np.float32)
    smooth = cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(~number & 0xFFFFFFFF).normal(0, 4, smooth.shape)
    cv2.imwrite(str(folder / f"{number}.png"), np.clip(smooth + grain, 0, 255).astype(np.uint8))


def measured(command: list[str], folder: Path, log: Path) -> tuple[float, float]:
    """Seconds of a command, and GB of its processes together at their largest."""
    begun, largest = time.perf_counter(), 0
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with log.open("ab") as out:
        process = psutil.Popen(command, cwd=folder, stdout=out, stderr=out, env=environment)
        while process.poll() is None:
            largest = max(largest, _resident(process))
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{log.read_text(encoding='utf-8')[-2000:]}")
    return time.perf_counter() - begun, largest / 1e9


def _resident(process: psutil.Process) -> int:
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def configured(folder: Path, *steps: dict[str, Any]) -> Any:
    """The configuration over the encrypted data set of a folder."""
    data = {"kind": "encrypted", "path": str(folder / "sets" / "scale"), "cache": str(folder / "cache")}
    tree = {"name": "scale", "data": data, "sites": {"split": "iid", "count": 1}, "preprocess": [*steps]}
    return configuration.from_tree(tree | {"model": {"kind": "svm"}}, folder / "scale.yaml")


def prepared(folder: Path, *steps: dict[str, Any]) -> Cases:
    """The training cases."""
    config = configured(folder, *steps)
    assert isinstance(config.data, Encrypted)
    home = gate.let_in_for(config.data, "simulate, encrypted")
    return loading.load(config, 1, home=home).sites[0].train


def keras_model() -> Any:
    """The network in Keras."""
    load("keras")
    import keras

    return keras.applications.MobileNetV2((SIDE, SIDE, 3), 0.35, include_top=False, weights=None, pooling="avg")


def encoder(folder: Path) -> Encoder:
    """The same network as an encoder, kept in the library."""
    model = keras_model()
    model.save(path := folder / "scale.keras")
    last = model.layers[-2]
    about = ABOUT | {"layers": {last.name: last.output.shape[-1]}, "usual": (last.name,)}
    made = read_keras(path, EncoderAbout.model_validate(about))
    encoder_library.add(made)
    return made


EMBED = {"step": "embed", "encoder": "scale", "size": SIDE}


def stage(name: str, folder: Path, few: int) -> None:
    """One stage, in a process of its own; what it measured goes to its file."""
    outcome: dict[str, float] = {}
    if name == "embed":
        prepared(folder, EMBED)
    elif name == "epoch":
        cases = prepared(folder)
        model = build(Cnn(kind="cnn", width=8), cases.images.shape[1:], 2)
        work, weights = Work(Local(epochs=1, batch=32), 0.001, 1), model.init(1)
        model.fit(weights, Cases(part(cases.images, slice(0, few)), cases.labels[:few]), work)  # its graph is made
        begun = time.perf_counter()
        model.fit(weights, cases, work)
        outcome["seconds"] = time.perf_counter() - begun
        outcome["cases"] = len(cases)
    else:
        outcome = beside(folder, few)
    (folder / f"{name}.json").write_text(json.dumps(outcome), encoding="utf-8")


def best(runs: dict[str, Callable[[], object]], turns: int = 2) -> dict[str, float]:
    """Seconds of each, by turns."""
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(turns):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            seconds[name] = min(seconds[name], time.perf_counter() - begun)
    return seconds


def beside(folder: Path, few: int) -> dict[str, float]:
    """An epoch from the disk over one from memory; images a second through the encoder over Keras's `predict`."""
    cases = prepared(folder)
    stored = Cases(part(cases.images, slice(0, few)), cases.labels[:few])
    here = Cases(stored.images[:], stored.labels)
    model = build(Cnn(kind="cnn", width=8), here.images.shape[1:], 2)
    work, weights = Work(Local(epochs=1, batch=32), 0.001, 1), model.init(1)
    runs: dict[str, Callable[[], object]] = {
        "disk": partial(model.fit, weights, stored, work), "memory": partial(model.fit, weights, here, work),
    }  # fmt: skip
    best(runs, 1)
    epoch = best(runs)
    bare, ours = keras_model(), network(encoder_library.find("scale"), encoder_library.find("scale").about.usual)
    runs = {
        "embed": lambda: [ours.embed(stored.images[start : start + 32]) for start in range(0, few, 32)],
        "predict": lambda: bare.predict(here.images, batch_size=32, verbose=0),
    }
    best(runs, 1)
    through = best(runs)
    return {"epoch_over_memory": epoch["disk"] / epoch["memory"],
            "embed_over_predict": through["predict"] / through["embed"], "embed_s": through["embed"] / few}  # fmt: skip


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--part", type=int, default=384, help="images of the comparisons")
    parser.add_argument("--stage", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        stage(options.stage[0], Path(options.stage[1]), options.part)
        return
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as safe:
        folder = Path(place)
        os.environ["CONSILIUM_ENCODERS"] = str(folder / "encoders")
        encoder(folder)
        for label in ("ill", "well"):
            (folder / "images" / label).mkdir(parents=True)
        with ProcessPoolExecutor() as pool:
            for parity, label in enumerate(("ill", "well")):
                numbers = range(parity, options.images, 2)
                list(pool.map(partial(draw, folder / "images" / label), numbers, chunksize=64))
        python, log = [sys.executable], folder / "log.txt"
        home = ["--home", str(folder)]
        for words in (["init", "scale", *home], ["custody", "begin", str(Path(safe, "away.key")), *home]):
            measured([*python, "-m", "client", *words], folder, log)
        table = Table("stage", "images", "seconds", "s an image", "peak GB")
        peak = 0.0
        itself = [*python, str(Path(__file__).resolve()), "--part", str(options.part), "--stage"]
        stages = {
            "import": [*python, "-m", "client", "import", str(folder / "images"), "--name", "scale", *home],
            "embed": [*itself, "embed", place],
            "epoch": [*itself, "epoch", place],
        }
        for name, command in stages.items():
            seconds, size = measured(command, folder, log)
            peak = max(peak, size)
            count = options.images
            table.add_row(name, f"{count:,}", f"{seconds:.1f}", f"{seconds / count:.4f}", f"{size:.2f}")
        measured([*itself, "beside", place], folder, log)
        outcome = {"images": options.images, "peak_gb": peak}
        outcome |= json.loads((folder / "beside.json").read_text(encoding="utf-8"))
        terminal.console().print(table)
        print(json.dumps({name: round(value, 4) for name, value in outcome.items()}))


if __name__ == "__main__":
    main()

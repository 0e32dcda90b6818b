"""What gradients of single patients cost: an epoch of DP-SGD over an epoch of plain training, in time and in memory.

    python benchmarks/privacy_epoch.py                    four networks
    python benchmarks/privacy_epoch.py --images 2000

Each is measured in a process of its own, one after the other: first an epoch that compiles, then as many as named, of
which the quickest counts: by the clock, and in seconds of the processors, which other work on the machine hardly
changes. Memory is the process's largest, and what of it came after the network was loaded. The epoch
of DP-SGD is the program's own (`common.models.private_descent`), with its noise. The last line is JSON.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

NETWORKS = {
    "plain 8, 28×28": ("plain", 8, 28),
    "plain 32, 28×28": ("plain", 32, 28),
    "groupnorm 32, 28×28": ("groupnorm", 32, 28),
    "plain 32, 64×64": ("plain", 32, 64),
}


def measure(way: str, network: str, images: int, epochs: int) -> dict[str, float]:
    """Seconds of the quickest epoch, and megabytes, in this process."""
    from common.config import Cnn, Local
    from common.models import Work
    from common.models.cnn import KerasCnn
    from common.privacy.network_prices import NETWORK_CLIP, RATE
    from common.privacy.price_list import SampledSteps
    from common.types import Cases

    architecture, width, side = NETWORKS[network]
    random = np.random.default_rng(1)
    cases = Cases(random.random((images, side, side, 1), np.float32), random.integers(0, 2, images))
    model = KerasCnn(Cnn(kind="cnn", architecture=architecture, width=width), (side, side, 1), 2)
    weights, before_mb = model.init(1), _peak_mb()
    steps = SampledSteps(round(1 / RATE), RATE, NETWORK_CLIP, 2.7)
    work, seconds, busy = Work(Local(optimizer="sgd", batch=32), 0.01, 1), [], []
    for _ in range(epochs + 1):
        started_s, busy_before_s = time.perf_counter(), time.process_time()
        if way == "plain":
            model.fit(weights, cases, work)
        else:
            model.fit_privately(weights, cases, work, steps, RATE * images)
        seconds.append(time.perf_counter() - started_s)
        busy.append(time.process_time() - busy_before_s)
    peak_mb = _peak_mb()
    quickest = {"seconds": min(seconds[1:]), "busy": min(busy[1:])}
    return {**quickest, "megabytes": peak_mb, "added megabytes": peak_mb - before_mb}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """All networks, a line each; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=940)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "NETWORK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], options.one[1], options.images, options.epochs)))
        return
    figures: dict[str, dict[str, float]] = {}
    for network in NETWORKS:
        plain, private = (_elsewhere(way, network, options) for way in ("plain", "private"))
        ratios = {name: round(private[name] / plain[name], 2) for name in ("seconds", "busy", "megabytes")}
        figures[network] = dict(zip(("time", "processor time", "memory"), ratios.values(), strict=True))
        print(
            f"{network}: {plain['seconds']:.2f} s plain, {private['seconds']:.2f} s private "
            f"({ratios['seconds']:.2f} ×; of the processors' time {ratios['busy']:.2f} ×); "
            f"{plain['megabytes']:.0f} and {private['megabytes']:.0f} MB ({ratios['megabytes']:.2f} ×), of them "
            f"{plain['added megabytes']:.0f} and {private['added megabytes']:.0f} for training",
            flush=True,
        )
    print(json.dumps({"images": options.images, "private over plain": figures}, ensure_ascii=False))


def _elsewhere(way: str, network: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--images", str(options.images), "--epochs", str(options.epochs)]
    done = subprocess.run([*command, "--one", way, network], capture_output=True, encoding="utf-8", check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()

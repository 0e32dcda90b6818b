"""What secure aggregation costs in the result: the same federations, same seeds, with masked and with plain sums.

    python benchmarks/secure_utility.py [--rounds 6] [--seeds 1]

Caveats first. The sums themselves are exact in fixed point; what differs is the rounding to it, before masking. After
one round the models differ by that alone. Over many rounds training amplifies any difference, however small, as it
amplifies the order of a sum; so the last columns say how far two runs have drifted apart, and what that does to the
test AUC. Fewer rounds than the configurations have, to be short. Data: PneumoniaMNIST, as in the configurations.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.dataset import loading
from common import config as configuration
from common.cli import terminal
from common.cli.progress import Watch
from simulation.experiment import Experiment
from simulation.scoring import score_all
from simulation.together import train_together

ROOT = Path(__file__).resolve().parents[1]
RUNS = {"CNN": "configs/pneumonia-plain.yaml", "SVM": "configs/pneumonia-svm.yaml"}


def trained(path: str, seed: int, *overrides: str) -> dict[str, Any]:
    """One federated training: weights and test AUC, seconds and bytes a round."""
    config = configuration.load(ROOT / path, ["baselines=[]", "personalise.mix=false", *overrides])
    data = loading.load(config, seed)
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(1.0, Console(quiet=True))
        experiment = Experiment.with_model(config, seed, data, Path(folder), watch)
        federated = train_together(experiment)
    seconds = [r.seconds for r in federated.records]
    return {
        "weights": federated.weights, "auc": score_all(experiment, federated).auc,
        "seconds": float(np.median(seconds)), "bytes_up": federated.records[-1].bytes_up,
    }  # fmt: skip


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest over all weights."""
    return max(float(np.abs(w - other["weights"][name]).max()) for name, w in one["weights"].items())


def compared(path: str, seed: int, first: int, rounds: int) -> dict[str, float]:
    """Masked against plain: after the first round that moves the model, and after all."""
    figures: dict[str, float] = {}
    for name, n in (("first", first), ("all", rounds)):
        # The last round's model, whichever was best: the best may be another round's in the two runs.
        asked = (f"federation.rounds={n}", "federation.select=last")
        masked, plain = (trained(path, seed, *asked, f"federation.secure={s}") for s in ("true", "false"))
        figures[f"weights_{name}"] = difference(masked, plain)
        figures[f"auc_{name}"] = abs(masked["auc"] - plain["auc"])
    figures |= {
        "auc_masked": masked["auc"],
        "auc_plain": plain["auc"],
        "upload_ratio": masked["bytes_up"] / plain["bytes_up"],
    }
    return figures | {"seconds_masked": masked["seconds"], "seconds_plain": plain["seconds"]}


def main() -> None:
    """Print a table and, as the last line, JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    result = {}
    columns = (
        "",
        "weights differ, first step",
        "all rounds",
        "AUC differs",
        "AUC masked",
        "plain",
        "s a round",
        "plain",
    )
    table = Table(*columns, title="Masked against plain sums: the largest over all seeds", title_justify="left")
    for name, path in RUNS.items():
        # The SVM's first two rounds prepare.
        first, rounds = (1, options.rounds) if name == "CNN" else (3, 3 * options.rounds)
        figures = [compared(path, seed, first, rounds) for seed in range(1, options.seeds + 1)]
        worst = {key: max(f[key] for f in figures) for key in figures[0]}
        table.add_row(
            name, f"{worst['weights_first']:.1e}", f"{worst['weights_all']:.1e} ({rounds})",
            f"{worst['auc_all']:.5f}", f"{worst['auc_masked']:.4f}", f"{worst['auc_plain']:.4f}",
            f"{worst['seconds_masked']:.2f}", f"{worst['seconds_plain']:.2f}",
        )  # fmt: skip
        result[name.lower()] = worst | {"rounds": rounds}
    terminal.console().print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""How often the interval to a difference of AUCs holds the truth: two models on the same simulated cases.

    python -m benchmarks.paired_intervals [--draws 1000] [--cases 30,100,1000]

Scores are normal, so the true AUCs are known. The last line is JSON: coverage by number of cases, and the range over
all settings; beside it that of a plain percentile bootstrap on the same draws.
"""

import argparse
import json
from math import sqrt
from statistics import NormalDist

import numpy as np

from common.metrics import paired

SETTINGS = (
    (0.5, 0.75, 0.85, 0.6),
    (0.5, 0.8, 0.8, 0.6),
    (0.3, 0.9, 0.95, 0.5),
    (0.2, 0.8, 0.66, 0.3),
    (0.3, 0.85, 0.87, 0.95),
)
"""Share of positives, the two AUCs, and how far the scores of one case go together."""


def held(cases: int, setting: tuple[float, float, float, float], draws: int) -> tuple[float, float, float]:
    """Share of the draws whose interval holds the truth, the same of a percentile bootstrap, and the mean width."""
    share, first, second, together = setting
    normal, random = NormalDist(), np.random.default_rng(cases)
    labels = np.zeros(cases, np.int64)
    labels[: round(share * cases)] = 1
    apart = [sqrt(2) * normal.inv_cdf(area) for area in (first, second)]
    hits, plain, width = 0, 0, 0.0
    for draw in range(draws):
        one, other = random.normal(size=(2, cases))
        scores = one + apart[0] * labels, together * one + sqrt(1 - together**2) * other + apart[1] * labels
        before, after = (np.stack([np.zeros(cases), s], axis=1) for s in scores)
        found = paired.difference(before, after, labels, seed=draw)
        assert found is not None
        low, high = found.interval
        hits += low <= second - first <= high
        width += (high - low) / draws
        ends = np.quantile(found.draws, [0.025, 0.975]) if len(found.draws) else (0.0, 0.0)
        plain += ends[0] <= second - first <= ends[1]
    return hits / draws, plain / draws, width


def main() -> None:
    """Print a line a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="simulated sets of cases for each setting")
    parser.add_argument("--cases", default="30,100,1000", help="numbers of cases")
    options = parser.parse_args()
    by_cases: dict[str, dict[str, list[float]]] = {}
    for cases in map(int, options.cases.split(",")):
        for setting in SETTINGS:
            coverage, plain, width = held(cases, setting, options.draws)
            print(f"{cases:5} cases, {setting}: {coverage:.3f}, width {width:.3f}; percentile {plain:.3f}", flush=True)
            row = by_cases.setdefault(str(cases), {"coverage": [], "percentile": []})
            row["coverage"].append(coverage)
            row["percentile"].append(plain)
    summary = {
        n: {k: [min(v), round(sum(v) / len(v), 4), max(v)] for k, v in row.items()} for n, row in by_cases.items()
    }
    print(json.dumps({"draws": options.draws, "lowest, mean, highest": summary}))


if __name__ == "__main__":
    main()

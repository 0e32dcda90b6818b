"""Every figure of result.json again, by scikit-learn or its definition, from the predictions by case that a run wrote.

    python -m benchmarks.figures [--runs 20]

Random small runs (sites, classes, findings, common test, seeds, model); of each the largest difference by figure.
Then the AUC that is read off summed histograms against the exact one, for scores that are hard to bin.
The last line is JSON.
"""

import argparse
import csv
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from sklearn import metrics

from common import config as configuration
from common.metrics import performance
from common.metrics.class_figures import FIXED, RANKED
from common.metrics.score import FIGURES
from simulation.seeds import simulate

ROOT = Path(__file__).parents[1]
Array = np.ndarray[Any, Any]
Figures = dict[str, float | None]
SCORES: Mapping[str, Callable[[np.random.Generator, Array], Array]] = {
    "usual": lambda r, y: 2 * r.normal(size=len(y)) + 3 * y - 2,
    **{f"bunched at {at}": lambda r, y, at=at: at + 0.01 * (r.normal(size=len(y)) + y) for at in (-100, -4, -1, 0, 3)},
    "extreme": lambda r, y: 100 * (r.normal(size=len(y)) + y),
    "saturated": lambda r, y: 100.0 * np.sign(r.normal(size=len(y)) + y - 0.5),
    "nearly saturated": lambda r, y: 100.0 * np.sign(r.normal(size=len(y)) + y - 0.5) + 0.01 * r.normal(size=len(y)),
    "tied": lambda r, y: np.round(r.normal(size=len(y)) + y),
}
CASES = {"1:3": (500, 2000), "1:1000": (20, 20_020)}


def of_two(log_odds: Array, positive: Array, threshold: float) -> Figures:
    """All figures of one class against the rest; None where scikit-learn would refuse."""
    if not len(positive):
        return {}
    p, called = 1 / (1 + np.exp(-np.clip(log_odds, -700, 700))), log_odds > threshold
    tenth = np.minimum((p * 10).astype(int), 9)
    gaps = [abs(p[tenth == t].mean() - positive[tenth == t].mean()) * (tenth == t).mean() for t in np.unique(tenth)]
    figures: Figures = {
        "accuracy": metrics.accuracy_score(positive, called), "brier": float(np.mean((p - positive) ** 2)),
        "log_loss": float(np.logaddexp(0, np.where(positive, -log_odds, log_odds)).mean()), "ece": float(sum(gaps)),
    }  # fmt: skip
    rates = [(called == side)[positive == side].mean() for side in (True, False) if (positive == side).any()]
    figures["balanced_accuracy"] = float(np.mean(rates))
    if positive.any():
        figures["sensitivity"] = metrics.recall_score(positive, called)
    if not positive.all():
        figures["specificity"] = metrics.recall_score(~positive, ~called)
    if positive.any() or called.any():
        figures["f1"] = metrics.f1_score(positive, called)
    if positive.any() and not positive.all():
        false, true, _ = metrics.roc_curve(positive, log_odds, drop_intermediate=False)
        figures |= {
            "auc": metrics.roc_auc_score(positive, log_odds),
            "auprc": metrics.average_precision_score(positive, log_odds),
            "sensitivity_at_specificity": true[1 - false >= FIXED - 1e-9].max(),
            "specificity_at_sensitivity": 1 - false[true >= FIXED - 1e-9].min(),
        }
    return figures


def of_classes(log_odds: Array, truth: Array) -> Figures:
    """Of more classes than two: the largest score decides."""
    k, called = log_odds.shape[1], log_odds.argmax(axis=1)
    p = 1 / (1 + np.exp(-np.clip(log_odds, -700, 700)))
    figures = mean(
        [{n: v for n, v in of_two(log_odds[:, c], truth == c, 0.0).items() if n in RANKED} for c in range(k)]
    )
    each = [of_two(np.where(called == c, 1.0, -1.0), truth == c, 0.0) for c in range(k)]
    figures |= mean([{n: v for n, v in one.items() if n in ("f1", "sensitivity", "specificity")} for one in each])
    return figures | {
        "brier": float(((p - np.eye(k)[truth]) ** 2).sum(axis=1).mean()),
        "log_loss": float(-np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-300)).mean()),
        "accuracy": metrics.accuracy_score(truth, called),
        "balanced_accuracy": figures["sensitivity"],
    }


def mean(figures: Sequence[Figures]) -> Figures:
    """Of each figure over those that have it."""
    there = {name: [v for one in figures if (v := one.get(name)) is not None] for one in figures for name in one}
    return {name: float(np.mean(values)) for name, values in there.items() if values}


def again(rows: Sequence[Mapping[str, str]], name: str, labels: Sequence[str], point: Any) -> Figures:
    """The figures of one model on some rows of predictions.csv."""
    findings = [dict(part.split("=") for part in row["label"].split("|")) for row in rows if "=" in row["label"]]
    if findings:
        each = []
        for j, finding in enumerate(labels):
            known = [i for i, of in enumerate(findings) if of[finding] != "-1"]
            scores = np.array([float(rows[i][f"{name}:{finding}"]) for i in known])
            each.append(of_two(scores, np.array([findings[i][finding] == "1" for i in known], bool), point[j]))
        return mean([one for one in each if one])
    truth = np.array([labels.index(row["label"]) for row in rows], int)
    if len(labels) == 2:
        return of_two(np.array([float(row[name]) for row in rows]), truth == 1, point)
    return of_classes(np.array([[float(row[f"{name}:{c}"]) for c in labels] for row in rows]), truth)


def differences(run: Path) -> dict[str, float]:
    """By figure the largest difference between result.json and what a run's files give, of all that it has."""
    result, largest = json.loads((run / "result.json").read_text(encoding="utf-8")), defaultdict[str, float](float)
    sites, common = list(result["sites"]), result["config"]["sites"]["test_on"] == "common"
    over: dict[tuple[str, str], list[Figures]] = defaultdict(list)
    for seed in result["seeds"]:
        path = run / f"seed-{seed['seed']}" / "predictions.csv"
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for way in result["test"]:
            names = {s: way if way in seed["thresholds"] else f"{way}/{s}" for s in sites}
            each = {}
            for s in sites:
                own = rows if common else [row for row in rows if row["site"] == s]
                each[s] = again(own, names[s], result["labels"], seed["thresholds"][names[s]])
                compare(largest, each[s], seed["sites"][s][way])
                over[s, way].append(each[s])
            over["mean", way].append(mean([*each.values()]))
            models = [again(rows, n, result["labels"], seed["thresholds"][n]) for n in dict.fromkeys(names.values())]
            over["all", way].append(mean(models))
    for (of, way), figures in over.items():
        section = {"mean": result["sites_mean"], "all": result["test"]}.get(of) or result["sites"][of]
        compare(largest, mean(figures), section[way])
    return dict(largest)


def compare(largest: dict[str, float], expected: Figures, told: Mapping[str, Any]) -> None:
    """Keep the largest differences; a figure that one side has and the other has not is one of 1."""
    for name in FIGURES:
        one, other = expected.get(name), told[name]
        gap = float((one is None) != (other is None)) if one is None or other is None else abs(one - other)
        largest[name] = max(largest.get(name, 0.0), float(gap))


def settings(random: np.random.Generator) -> tuple[str, list[str]]:
    """A random small run."""
    more = ["data.size=16", "preprocess=[]", "federation.rounds=6", "cross_site=false",
            f"data.sites={random.integers(3, 6)}", f"data.cases={random.integers(40, 90)}",
            f"data.seed={random.integers(1000)}", f"seeds={random.choice(100, random.integers(1, 3), False).tolist()}",
            f"sites.test_on={random.choice(['own', 'common'])}"]  # fmt: skip
    if random.random() < 0.25:
        return "multilabel.yaml", [*more, "data.findings=[effusion, nodule, pacemaker]", "sites.unlabelled={}"]
    if random.random() < 0.2:
        return "demo.yaml", [*more, "federation.rounds=2", "model.width=4", "federation.local={steps: 3, batch: 32}"]
    return "demo-svm.yaml", [*more, f"data.classes={random.integers(2, 5)}"]


def summed(random: np.random.Generator, draws: int) -> dict[str, float]:
    """The largest difference between an AUC that is read off a sum and scikit-learn's, by kind of scores."""
    largest: dict[str, float] = {}
    for name, draw in SCORES.items():
        for share, (positives, n) in CASES.items():
            for _ in range(draws):
                labels = random.permutation(np.arange(n) < positives).astype(np.int64)
                margin = draw(random, labels)
                found = performance.auc_of_counts(performance.count(np.stack([np.zeros(n), margin], axis=1), labels))
                gap = abs((found or 0.0) - float(metrics.roc_auc_score(labels, margin)))
                largest[f"{name}, {share}"] = max(largest.get(f"{name}, {share}", 0.0), gap)
    return largest


def main() -> None:
    """Print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="random runs")
    parser.add_argument("--draws", type=int, default=20, help="of each kind of scores")
    options = parser.parse_args()
    random, largest = np.random.default_rng(1), dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        for run in range(options.runs):
            base, more = settings(random)
            into = Path(folder) / str(run)
            simulate(configuration.load(ROOT / "configs" / base, more), into, Console(quiet=True))
            found = differences(into)
            print(f"{run}: {base} {' '.join(more)}: {max(found.values()):.2g}", flush=True)
            largest = {name: max(largest.get(name, 0.0), gap) for name, gap in found.items()}
    print(
        json.dumps({"runs": options.runs, "largest difference": largest, "summed AUC": summed(random, options.draws)})
    )


if __name__ == "__main__":
    main()

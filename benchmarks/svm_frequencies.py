"""Second moments at low frequencies: how many rounds they save the SVM, and whether they tell who was in the sum.

    python benchmarks/svm_frequencies.py        (PneumoniaMNIST from ../shared/data)

Rounds until the solver stops, by the number of frequencies a side; 28 are all of these images', as release 0.2 asked.
Sites are simulated. Then membership: half of the images are in the sum, the attacker has the sum and other images of
the same hospital, and ranks candidates by zᵀ (G + ridge)⁻¹ z, the best ridge of nine; AUC .5 is a guess. And again with
all that an honest run sums, by the likelihood ratio of what an image would add to it (best of nine ridges as well).
Last, how few cases of one site and side were inside the margin at a gradient: below five, a real site refuses.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.svm_images import SITES, Watched, configuration, real_cases
from common.metrics import performance
from common.models.svm import LinearSvm
from common.types import Cases, under

Floats = NDArray[np.float64]

ALL = 28
RUNS = ((1000, 0.01), (3500, 0.1))
RIDGES = 10.0 ** np.arange(-6, 3)
ACTIVE = ((300, 0.01), (300, 0.1), (300, 1.0), (1000, 0.01), (1000, 1.0), (3500, 0.01), (3500, 1.0))


def model_of(C: float, frequencies: int) -> LinearSvm:
    return LinearSvm(configuration(C).model_for(1), (28, 28, 1), 2, frequencies)


def auc(members: Floats, others: Floats) -> float:
    labels = np.repeat([True, False], [len(members), len(others)])
    return float(performance.exact_auc(np.concatenate([members, others]), labels) or 0.5)


def from_moments(cases: Cases, n: int, frequencies: int) -> float:
    """AUC of telling the first n images, which are in the sum, from as many others."""
    moments = model_of(0.01, frequencies).moments
    assert moments is not None
    flat = cases.images[:].reshape(len(cases), -1).astype(np.float64)
    low = moments.low(np.concatenate([flat, np.ones((len(flat), 1))], axis=1))
    inside, outside, reference = low[:n], low[n : 2 * n], low[2 * n :]
    total, usual = inside.T @ inside / n, reference.T @ reference / len(reference)
    best = 0.5
    for ridge in RIDGES:
        eye = ridge * np.trace(usual) / len(usual) * np.eye(len(usual))
        ways = np.linalg.inv(total + eye) - np.linalg.inv(usual + eye)
        scores = [-np.einsum("ni,ij,nj->n", part, ways, part) for part in (inside, outside)]
        best = max(best, auc(*scores))
    return best


def from_a_run(cases: Cases, n: int, C: float, frequencies: int) -> float:
    """AUC of telling the first n images, which trained, from others, by all sums of the run."""
    watched = Watched.run(Cases(cases.images[:n], cases.labels[:n]), configuration(C), frequencies)
    model, told = model_of(C, frequencies), []
    questions = [(r, sums) for r, sums in watched.asked if r.kind in ("gram", "loss", "gradient")]
    for _, sums in questions:
        told += [np.ravel(sums[name]) for name in sorted(sums) if name != "n"]
    picked = np.r_[0:200, n : n + 200, len(cases) - 600 : len(cases)]
    rows = []
    for i in picked:
        one, row = Cases(cases.images[i : i + 1], cases.labels[i : i + 1]), []
        for request, sums in questions:
            weights = under("weights", request.tensors)
            own = model.gram(one.images) if request.kind == "gram" else getattr(model, request.kind)(weights, one)
            row += [np.ravel(own[name]) for name in sorted(sums) if name != "n"]
        rows.append(np.concatenate(row))
    added = np.stack(rows)
    scale = added[400:].std(axis=0) + 1e-9
    mean = added[400:].mean(axis=0)
    whole, centred = (np.concatenate(told) - n * mean) / scale, (added - mean) / scale
    known = centred[400:]
    inner, best = known @ known.T, 0.5
    for ridge in RIDGES * np.trace(inner) / len(known):
        # (Σ + ridge)⁻¹ by Woodbury: there are more sums than images.
        solved = whole - known.T @ np.linalg.solve(inner + ridge * np.eye(len(known)), known @ whole)
        own = centred[:400] @ solved
        best = max(best, auc(own[:200], own[200:]))
    return best


def fewest_active(n: int, C: float) -> tuple[int, int, int]:
    """Of all gradients of a run: the fewest cases of a site and side inside the margin but none; how many gradients a
    site would refuse; how many there were."""
    watched = Watched.run(cases := real_cases(n), configuration(C), 8)
    model, fewest, refused, gradients = model_of(C, 8), n, 0, 0
    for request, _ in watched.asked:
        if request.kind == "gradient":
            own = [
                model.active(under("weights", request.tensors), Cases(cases.images[k::SITES], cases.labels[k::SITES]))
                for k in range(SITES)
            ]
            least = min((int(count) for counts in own for count in counts.ravel() if count), default=n)
            fewest, refused, gradients = min(fewest, least), refused + (least < 5), gradients + 1
    return fewest, refused, gradients


def main() -> None:
    """Print three tables and, as the last line, JSON."""
    rounds, members, active = [], [], []
    print(f"{'cases':>6}{'C':>7}{'frequencies':>13}{'rounds':>8}{'to 1e-3':>9}{'to 1e-6':>9}")
    for n, C in RUNS:
        runs = {q: Watched.run(real_cases(n), configuration(C), q) for q in (ALL, 16, 12, 8, 4, 0)}
        least = min(run.objective for run in runs.values())
        for q, run in runs.items():
            gaps = np.array(run.rounds) / least - 1
            first = [int(np.argmax(gaps < gap)) + 1 if (gaps < gap).any() else None for gap in (1e-3, 1e-6)]
            rounds.append({"cases": n, "C": C, "q": q, "rounds": len(gaps), "to_1e-3": first[0], "to_1e-6": first[1]})
            print(f"{n:>6}{C:>7g}{q:>13}{len(gaps):>8}{first[0]!s:>9}{first[1]!s:>9}", flush=True)
    print(f"\n{'cases':>6}{'frequencies':>13}{'numbers a case':>16}{'AUC moments':>13}{'AUC all sums':>14}")
    everything = real_cases(4708)
    for n, q in ((170, 4), (765, 4), (650, 8), (1450, 12), (180, 8), (765, ALL), (1450, ALL)):
        r = q * q + 1
        row = {"cases": n, "q": q, "numbers_a_case": r * (r + 1) / 2 / n, "moments": from_moments(everything, n, q)}
        row["all_sums"] = from_a_run(everything, n, 0.01, q)
        members.append(row)
        print("{cases:>6}{q:>13}{numbers_a_case:>16.2f}{moments:>13.3f}{all_sums:>14.3f}".format(**row), flush=True)
    print(f"\n{'cases':>6}{'C':>7}{'fewest active':>15}{'refused':>9}{'gradients':>11}")
    for n, C in ACTIVE:
        fewest, refused, gradients = fewest_active(n, C)
        active.append({"cases": n, "C": C, "fewest": fewest, "refused": refused, "gradients": gradients})
        print(f"{n:>6}{C:>7g}{fewest:>15}{refused:>9}{gradients:>11}", flush=True)
    print(json.dumps({"benchmark": "svm_frequencies", "rounds": rounds, "membership": members, "active": active}))


if __name__ == "__main__":
    main()

"""Who was in the training? Told from all that a coordinator sees of an honest run of the SVM's solver.

    python benchmarks/membership.py [ENCODER]     (PneumoniaMNIST from ../shared/data; an encoder of this machine)

Real images as an encoder's d numbers, N of them at five simulated sites, a logistic regression; every sum is rounded as
it is under masks. The attacker has one candidate, all sums, and images of the same hospital that were in no run:

    leverage     low zᵀ(G + ridge)⁻¹ z, for the Gram sum of all z zᵀ, as releases 0.1 and 0.2 asked for it
    all sums     the likelihood ratio of what the candidate would add to everything that was summed: mean and variance,
                 losses, gradients
    gradients    the same of the gradients alone

The best ridge of nine each, which no attacker knows. And a pool that holds every member and as many others: whether
exact gradients tell who of the pool was in them, whatever the preconditioner.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.svm_frequencies import RIDGES, auc
from benchmarks.svm_images import DATA, SEED, Watched, configuration
from client.dataset import loading
from common.config import Config, config_file
from common.image_stack import join
from common.models.svm import LinearSvm
from common.types import Cases, under

Floats = NDArray[np.float64]

SHARES = (0.7, 2.3, 6.0)
"""N / d."""
HEADS = {"one C": {"C": 0.03}, "several C": {"C": (0.01, 0.03, 0.1)}, "Gram": {"C": 0.03}}
CANDIDATES, REFERENCE, GRADIENTS = 300, 600, 10
"""Members and others that are tried; images that the attacker has; gradients that the pool is told from."""


def embedded(name: str) -> Cases:
    """All images of the data set as an encoder's numbers, shuffled, in the shape of images of one column."""
    config = config_file.from_tree({
        "name": "membership", "data": {"kind": "npz", "path": str(DATA), "labels": ["normal", "pneumonia"]},
        "sites": {"split": "iid", "count": 1, "validation": 0.1, "test_on": "common"},
        "preprocess": [{"step": "embed", "encoder": name, "size": 112}],
        "model": {"kind": "svm"},
    }, Path("membership.yaml"))  # fmt: skip
    data = loading.load(config, SEED)
    cases = join([part for site in data.sites for part in (site.train, site.validation)] + [data.test])
    order = np.random.default_rng(SEED).permutation(len(cases))
    images = cases.images[order].reshape(len(cases), -1, 1, 1)
    return Cases(images, cases.labels[order])


def watched_run(cases: Cases, n: int, head: str) -> tuple[Watched, Cases]:
    """An honest run over the first n, normalised by their own mean and deviation; and all cases in that scale."""
    mean, deviation = cases.images[:n].mean(axis=0), cases.images[:n].std(axis=0) + 1e-6
    scaled = Cases(((cases.images - mean) / deviation).astype(np.float32), cases.labels)
    told = configuration(0.1).model_dump()
    told["model"] |= {"loss": "logistic", "tolerance": 0.01, **HEADS[head]}
    told["federation"] |= {"select": "loss", "evaluate_every": 150}
    told["likeness"] = False  # an encoder's numbers do not look like anything
    members = Cases(scaled.images[:n], scaled.labels[:n])
    frequencies = scaled.images.shape[1] if head == "Gram" else 0
    return Watched.run(members, Config.model_validate(told), frequencies), scaled


class Attacker:
    """What single cases would add to the sums of a run, in units of how much images differ in it."""

    def __init__(self, watched: Watched, cases: Cases, picked: NDArray[np.int64], kinds: tuple[str, ...]) -> None:
        self.n = len(watched.cases)
        model = LinearSvm(watched.config.model_for(SEED), cases.images.shape[1:], 2)
        asked = [(request, sums) for request, sums in watched.asked if request.kind in kinds]
        told, added = [], []
        some = Cases(cases.images[picked], cases.labels[picked])
        flat = some.images[:].reshape(len(picked), -1).astype(np.float64)
        z = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        for request, sums in asked:
            weights = under("weights", request.tensors)
            if request.kind == "gradient":
                point = np.concatenate([weights["alpha"], weights["intercept"][:, None]], axis=1)
                added.append(model.loss_of.slopes(z @ point.T, some.labels) * z)
                told.append(sums["gradient"].ravel())
            else:
                points = np.concatenate([weights["alpha"], weights["intercept"][..., None]], axis=-1)
                f = (z @ points.reshape(-1, z.shape[1]).T)[..., None]
                added.append(model.loss_of.values(f, some.labels)[..., 0])
                told.append(sums["loss"].ravel())
        if len(kinds) > 1:  # mean and variance were summed before
            members = watched.cases.images[:].reshape(self.n, -1).astype(np.float64)
            added += [flat, np.square(flat)]
            told += [members.sum(axis=0), np.square(members).sum(axis=0)]
        self.gradients = sum(request.kind == "gradient" for request, _ in asked)
        self.added, self.told = np.concatenate(added, axis=1), np.concatenate(told)

    def likelihood_ratio(self) -> float:
        """AUC of members against others; the last `REFERENCE` of the picked are what the attacker has."""
        known, tried = self.added[-REFERENCE:], self.added[: 2 * CANDIDATES]
        mean, scale = known.mean(axis=0), known.std(axis=0) + 1e-9
        whole, known, tried = (self.told - self.n * mean) / scale, (known - mean) / scale, (tried - mean) / scale
        inner, best = known @ known.T, 0.5
        for ridge in RIDGES * np.trace(inner) / len(known):
            # (Σ + ridge)⁻¹ by Woodbury: there are more sums than images.
            solved = whole - known.T @ np.linalg.solve(inner + ridge * np.eye(len(known)), known @ whole)
            own = tried @ solved
            best = max(best, auc(own[:CANDIDATES], own[CANDIDATES:]))
        return best

    def pool(self, members: int) -> float:
        """AUC of members in a pool of all of them and as many others, by least squares: who adds up to the sums."""
        inner = self.added @ self.added.T
        ridge = 1e-12 * np.trace(inner) / len(inner) * np.eye(len(inner))
        shares = np.linalg.solve(inner + ridge, self.added @ self.told)
        return auc(shares[:members], shares[members:])


def leverage(cases: Cases, n: int) -> float:
    """AUC of members by their leverage in the Gram sum."""
    flat = cases.images[:].reshape(len(cases), -1).astype(np.float64)
    z = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
    total, best = z[:n].T @ z[:n], 0.5
    tried = z[np.r_[0:CANDIDATES, n : n + CANDIDATES]]
    for ridge in RIDGES * np.trace(total) / len(total):
        own = -np.einsum("nd,nd->n", tried @ np.linalg.inv(total + ridge * np.eye(len(total))), tried)
        best = max(best, auc(own[:CANDIDATES], own[CANDIDATES:]))
    return best


def main() -> None:
    """Print two tables and, as the last line, JSON."""
    cases = embedded(sys.argv[1] if len(sys.argv) > 1 else "efficientnet-lite0")
    d, rows, pools = cases.images[0].size + 1, [], []
    print(f"{len(cases)} images of {d - 1} numbers")
    print(f"{'N/d':>5}{'N':>6}  {'solver':<10}{'rounds':>7}{'gradients':>10}{'gradients tell':>16}{'all sums':>10}"
          f"{'leverage':>10}")  # fmt: skip
    for share in SHARES:
        n = round(share * d)
        picked = np.r_[0:CANDIDATES, n : n + CANDIDATES, len(cases) - REFERENCE : len(cases)]
        for head in HEADS:
            watched, scaled = watched_run(cases, n, head)
            attacker = Attacker(watched, scaled, picked, ("gradient",))
            row = {"N/d": share, "N": n, "solver": head, "rounds": len(watched.rounds)}
            row |= {"gradients": attacker.gradients, "gradients_tell": attacker.likelihood_ratio()}
            row["all_sums"] = Attacker(watched, scaled, picked, ("loss", "gradient")).likelihood_ratio()
            row["leverage"] = leverage(scaled, n) if head == "Gram" else None
            rows.append(row)
            shown = "–" if row["leverage"] is None else f"{row['leverage']:.3f}"
            print("{N/d:>5}{N:>6}  {solver:<10}{rounds:>7}{gradients:>10}{gradients_tell:>16.3f}{all_sums:>10.3f}"
                  .format(**row) + f"{shown:>10}", flush=True)  # fmt: skip
    n = round(SHARES[0] * d)
    watched, scaled = watched_run(cases, n, "one C")
    for many in (1, 2, 5, GRADIENTS):
        gradients = [entry for entry in watched.asked if entry[0].kind == "gradient"][:many]
        some = Watched(watched.config, watched.cases, gradients)
        told = Attacker(some, scaled, np.arange(2 * n), ("gradient",)).pool(n)
        pools.append({"gradients": many, "pool": told})
        print(f"a pool of all {n} members and as many others, {many} gradients: AUC {told:.3f}", flush=True)
    print(json.dumps({"benchmark": "membership", "rows": rows, "pool": pools}))


if __name__ == "__main__":
    main()

"""The federated SVM against scikit-learn's LinearSVC on the pooled images: rounds to the same objective, and bytes.

    python benchmarks/svm.py            (4 minutes; PneumoniaMNIST from ../shared/data where it is, else digits alone)

Caveats first. A round counts from the first request on: the round of Gram sums and every repeated round are in. Sites
are simulated (Dirichlet over labels) and run one after the other through the real round loop, in memory. "Pixels" are
0..1 as they are, the easy case; "standardised" is by each pixel's mean and deviation over all sites, the hard one. An
objective counts as reached when it is not above LinearSVC's by more than that; LinearSVC stops at a tolerance of 1e-8.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import LinearSVC

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.training.site import Site
from common.algorithms.course import Course
from common.algorithms.solver import SvmSolver
from common.config import Federation, Local, Svm
from common.imaging import Pipeline
from common.messages.transport import InMemory, Misfortunes
from common.models.svm import LinearSvm
from common.types import Cases, SiteCases
from server.rounds import loop
from server.rounds.aggregation import PlainSum

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "pneumoniamnist.npz"
ROUNDS, SEED = 400, 1


@dataclass(frozen=True)
class Task:
    """One row of the table."""

    data: str
    C: float
    solver: str = "gram-lbfgs"
    alpha: float = 0.5
    drop: float = 0.0


TASKS = (
    *(Task("pixels", C) for C in (0.01, 0.1, 1.0)),
    *(Task("standardised", C) for C in (0.01, 0.1, 1.0)),
    *(Task("pixels", 0.01, alpha=alpha) for alpha in (0.1, 1000.0)),
    *(Task(data, 0.01, drop=0.1) for data in ("pixels", "standardised")),
    *(Task("pixels", C, "newton") for C in (0.01, 1.0)),
    Task("standardised", 1.0, "newton"),
    Task("pixels", 0.01, "lbfgs"),
    Task("digits", 0.01),
    Task("digits", 1.0),
    Task("digits", 0.01, drop=0.1),
)


def data_sets() -> dict[str, Cases]:
    """PneumoniaMNIST's training images both ways, and scikit-learn's digits, ten classes."""
    digits = load_digits()
    found = {"digits": Cases((digits.images / 16).astype(np.float32)[..., None], digits.target.astype(np.int64))}
    if DATA.exists():
        with np.load(DATA, allow_pickle=False) as arrays:
            pixels = arrays["train_images"][..., None].astype(np.float32) / 255
            labels = arrays["train_labels"][:, 0].astype(np.int64)
        standardised = (pixels - pixels.mean(axis=0)) / (pixels.std(axis=0) + 1e-6)
        found |= {"pixels": Cases(pixels, labels), "standardised": Cases(standardised.astype(np.float32), labels)}
    return found


def transport(task: Task, cases: Cases, model: LinearSvm) -> InMemory:
    """Five sites, dealt by shares of each label."""
    rng = np.random.default_rng(SEED)
    shares = rng.dirichlet([task.alpha] * 5, model.classes)
    site = np.array([rng.choice(5, p=shares[label]) for label in cases.labels])
    sites = []
    for k in range(5):
        own = Cases(cases.images[site == k], cases.labels[site == k])
        sites.append(Site(SiteCases(f"site-{k}", own, own, own), Pipeline(), model, Local(), least_active=1))
    return InMemory({s.cases.name: s.answer for s in sites}, misfortunes=Misfortunes(drop=task.drop, seed=SEED))


def pooled(C: float, cases: Cases, model: LinearSvm) -> tuple[np.ndarray, np.ndarray]:
    """LinearSVC's objective of each row, and the class it gives to every case."""
    flat = cases.images[:].reshape(len(cases), -1).astype(np.float64)
    fitted = LinearSVC(C=C, dual=False, tol=1e-8, max_iter=10**6).fit(flat, cases.labels)
    weights = {"alpha": fitted.coef_, "intercept": fitted.intercept_}
    return objective(model, weights, cases), fitted.predict(flat)


def objective(model: LinearSvm, weights: dict[str, np.ndarray], cases: Cases) -> np.ndarray:
    penalty = np.square(weights["alpha"]).sum(axis=1) + np.square(weights["intercept"])
    return np.asarray(penalty / 2 + model.config.C * model.gradient(weights, cases)["loss"])


def run(task: Task, cases: Cases, reference: tuple[np.ndarray, np.ndarray]) -> dict[str, object]:
    """Train, and count rounds until every class's objective is within 1e-3 and 1e-6 of LinearSVC's."""
    model = LinearSvm(
        Svm(kind="svm", C=task.C, solver=task.solver), cases.images.shape[1:], len(np.unique(cases.labels))
    )
    plan = Federation(rounds=ROUNDS, evaluate_every=ROUNDS, select="last")
    wire = transport(task, cases, model)
    algorithm = SvmSolver(model.config, model, wire.sites())
    course = Course(plan, algorithm, wire.sites(), SEED, Pipeline().fingerprint())
    begun, gaps = time.perf_counter(), []
    for standing in loop.run(course, PlainSum(wire)):
        reached = standing.state["objective"]
        gaps.append(float(np.max(reached / reference[0] - 1)) if reached.all() else np.inf)
    weights = algorithm.weights(standing.state)
    return {
        "rounds_to_1e-3": first_below(gaps, 1e-3),
        "rounds_to_1e-6": first_below(gaps, 1e-6),
        "rounds": len(gaps),
        "gap": gaps[-1],
        "megabytes_up_a_site": sum(r.bytes_up for r in standing.records) / 5e6,
        "same_answers": float(np.mean(model.scores(weights, cases.images).argmax(axis=1) == reference[1])),
        "seconds": time.perf_counter() - begun,
    }


def first_below(gaps: list[float], limit: float) -> int | None:
    return next((round + 1 for round, gap in enumerate(gaps) if gap < limit), None)


def rows(data: dict[str, Cases]) -> Iterator[tuple[Task, dict[str, object]]]:
    known: dict[tuple[str, float], tuple[np.ndarray, np.ndarray]] = {}
    for task in TASKS:
        if cases := data.get(task.data):
            key = task.data, task.C
            if key not in known:
                model = LinearSvm(Svm(kind="svm", C=task.C), cases.images.shape[1:], len(np.unique(cases.labels)))
                known[key] = pooled(task.C, cases, model)
            yield task, run(task, cases, known[key])


def main() -> None:
    data = data_sets()
    if len(data) == 1:
        print(f"{DATA} is not there: digits alone")
    print(
        f"{'data':<13}{'C':>6} {'solver':<11}{'Dirichlet':>9}{'drop':>6}{'to 1e-3':>9}{'to 1e-6':>9}{'rounds':>8}",
        end="",
    )
    print(f"{'gap':>10}{'MB up/site':>12}{'same':>8}{'seconds':>9}")
    figures = []
    for task, found in rows(data):
        print(f"{task.data:<13}{task.C:>6g} {task.solver:<11}{task.alpha:>9g}{task.drop:>6g}", end="")
        print("{rounds_to_1e-3!s:>9}{rounds_to_1e-6!s:>9}{rounds:>8}{gap:>10.1e}".format(**found), end="")
        print("{megabytes_up_a_site:>12.2f}{same_answers:>8.2%}{seconds:>9.1f}".format(**found), flush=True)
        figures.append(vars(task) | found)
    print(json.dumps({"benchmark": "svm", "data": sorted(data), "rows": figures}))


if __name__ == "__main__":
    main()

"""Can a patient's image be read from the sums of an honest run of the SVM? Every three gradients are laid on a line.

    python benchmarks/svm_images.py [--quick]        (PneumoniaMNIST from ../shared/data)

Whoever sees the sums, the coordinator or a site that audits, keeps them. Along a line the summed gradient is linear but
for the cases that cross the margin. So the combination of three gradients that has nothing left of the line is, where
one case crossed, that case's image times a number, which its last coordinate (the intercept's) tells.

Sites are simulated; the images are real, and every sum is rounded as it is under masks. For every three gradients of a
run, what is left is compared with the training images that the run had: the smallest difference at the worst pixel,
in units of the whole range of greys. Below 0.02 (five of 256 levels) it is the patient's image; at 0.1 it is none.
The attacker is told by comparing; a reader would have to look.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.training.site import Site
from common.algorithms.course import Course
from common.config import Config
from common.imaging import Pipeline
from common.messages.answer_layout import completed, exchanges, question, rounding_key
from common.messages.transport import InMemory, Reply, Request
from common.models.svm import LinearSvm
from common.types import Cases, SiteCases, Tensors, under
from server.rounds import loop
from server.rounds.aggregation import PlainSum

Floats = NDArray[np.float64]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "pneumoniamnist.npz"
SITES, SEED, FREQUENCIES = 5, 1, 8
RUNS = tuple((n, C) for n in (200, 1000, 3500) for C in (0.01, 0.1, 1.0))
QUICK = ((200, 0.01), (300, 0.1))
NEAREST = 10
"""Images that are nearest by squares, among which the nearest by the worst pixel is looked for."""
FAR = 0.2
"""From here on, nothing is told apart."""


@dataclass
class Watched:
    """An honest run, and all that its coordinator comes to know."""

    config: Config
    cases: Cases
    asked: list[tuple[Request, Tensors]] = field(default_factory=list)
    """Questions and sums, in order."""
    objective: float = np.inf
    rounds: list[float] = field(default_factory=list)
    """The objective after each round."""

    @classmethod
    def run(cls, cases: Cases, told: Config, frequencies: int = 0) -> "Watched":
        """Deal the cases to five sites and train them together, with second moments of so many frequencies a side."""
        watched = cls(told, cases)
        model = LinearSvm(told.model_for(SEED), cases.images.shape[1:], 2, frequencies)
        layouts = exchanges(told, model, cases.images.shape[1:], 2, SITES)
        answers = {}
        for k in range(SITES):
            own = Cases(cases.images[k::SITES], cases.labels[k::SITES])
            site = Site(
                SiteCases(f"site-{k}", own, own, own), Pipeline(()), model, told.federation.local, least_active=1
            )
            answers[site.cases.name] = partial(_rounded, site, layouts)
        way = InMemory(answers)
        course = Course.of(told, model, SEED, way.sites())
        aggregator = _Watching(way, watched.asked)
        for standing in loop.run(course, aggregator):
            watched.objective = float(standing.state["objective"].sum())
            watched.rounds.append(watched.objective)
        return watched

    def gradients(self) -> tuple[Floats, Floats]:
        """All points at which a gradient was asked, and the gradients, float64[k, d] each; the two classes' one row."""
        points, gradients = [], []
        for request, sums in self.asked:
            if "gradient" in sums:
                weights = under("weights", request.tensors)
                alpha = np.concatenate([weights["alpha"], weights["intercept"][..., None]], axis=-1)
                points.append(alpha.reshape(-1, alpha.shape[-1]))
                gradients.append(sums["gradient"].reshape(-1, alpha.shape[-1]))
        return np.concatenate(points), np.concatenate(gradients)


def _rounded(site: Site, layouts: dict, request: Request, state: Tensors) -> tuple[Reply, Tensors]:
    """A site's answer as it is in the sum of masked vectors."""
    contribution, state = site.contribute(request, state)
    layout = layouts[request.kind].layout
    key = rounding_key(question(request), site.cases.name)
    return Reply(
        layout.decode(layout.encode(completed(contribution.weighted(), layout), contribution.weight, key))
    ), state


class _Watching(PlainSum):
    """Keeps every question and its sum."""

    def __init__(self, way: InMemory, asked: list[tuple[Request, Tensors]]) -> None:
        super().__init__(way)
        object.__setattr__(self, "asked", asked)

    def total(self, request: Request, cohort: Sequence[str], timeout_s: float, place: object = None) -> object:
        """As `PlainSum.total`."""
        total = super().total(request, cohort, timeout_s)
        self.asked.append((request, total.sums))  # type: ignore[attr-defined]
        return total


def leftovers(points: Floats, gradients: Floats) -> Floats:
    """What no line explains of every three gradients, as images, float32[m, d - 1]; those that are nearly in 0..1."""
    kept = []
    for left in off_the_line(points, gradients):
        with np.errstate(divide="ignore", invalid="ignore"):
            images = (left[:, :-1] / left[:, -1:]).astype(np.float32)
        kept.append(images[(np.abs(images - 0.5) < 0.5 + FAR).all(axis=1)])  # false for what is no number
    return np.concatenate(kept)


def off_the_line(points: Floats, gradients: Floats) -> Iterator[Floats]:
    """Of every three gradients the combination that has least left of a line, float64[m, d], some at a time."""
    three, corner_products = np.array(list(combinations(range(len(points)), 3))), points @ points.T
    for part in np.array_split(three, max(1, len(three) // 2000)):
        products = corner_products[part[:, :, None], part[:, None, :]]
        centred = np.eye(3) - 1 / 3
        # Weights that add up to zero and leave least of the points: with these, linear functions cancel best.
        inner = centred @ products @ centred
        scale = np.trace(inner, axis1=1, axis2=2)[:, None, None]
        ways = np.linalg.eigh(inner / scale + np.ones((3, 3)))[1][:, :, 0]
        yield np.einsum("tk,tkd->td", ways, gradients[part])


def worst_pixels(candidates: Floats, images: Floats) -> Floats:
    """Of every candidate, how far the nearest of the images is at its worst pixel; `FAR` where it is further."""
    far, squares = np.full(len(candidates), FAR), np.square(images).sum(axis=1)
    for start in range(0, len(candidates), 1000):
        part = candidates[start : start + 1000]
        distances = squares - 2 * part @ images.T + np.square(part).sum(axis=1)[:, None]
        # The worst pixel is no nearer than the root of the mean square.
        for i in np.flatnonzero(distances.min(axis=1) < images.shape[1] * FAR**2):
            near = np.argsort(distances[i])[:NEAREST]
            far[start + i] = min(FAR, np.abs(images[near] - part[i]).max(axis=1).min())
    return far


def lines(points: Floats, sine: float = 1e-6) -> int:
    """The most gradients that lie on one line through two of them."""
    most = min(2, len(points))
    for i, j in combinations(range(len(points)), 2):
        way = points[j] - points[i]
        if not way.any():
            continue
        off = points - points[i]
        along = np.outer(off @ way / (way @ way), way)
        most = max(most, int((np.linalg.norm(off - along, axis=1) <= sine * np.linalg.norm(way)).sum()))
    return most


def configuration(C: float, solver: str = "gram-lbfgs") -> Config:
    """Five sites, an SVM on pixels, rounds enough."""
    return Config.model_validate({
        "name": "images", "data": {"kind": "synthetic", "sites": SITES}, "sites": {"split": "natural"},
        "model": {"kind": "svm", "C": C, "solver": solver},
        "federation": {"rounds": 150, "select": "last"},
    })  # fmt: skip


def real_cases(n: int) -> Cases:
    """The first so many of PneumoniaMNIST's training images after a shuffle, 0..1."""
    with np.load(DATA, allow_pickle=False) as arrays:
        images = arrays["train_images"][..., None].astype(np.float32) / 255
        labels = arrays["train_labels"][:, 0].astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(images))[:n]
    return Cases(images[order], labels[order])


def main() -> None:
    """Print a table and, as the last line, JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small runs instead of nine")
    rows = []
    print(f"{'cases':>6}{'C':>7}{'gradients':>11}{'on a line':>11}{'candidates':>12}{'nearest':>9}", end="")
    print(f"{'within .02':>12}{'within .1':>11}{'objective':>14}")
    for n, C in QUICK if parser.parse_args().quick else RUNS:
        cases = real_cases(n)
        watched = Watched.run(cases, configuration(C), FREQUENCIES)
        points, gradients = watched.gradients()
        far = worst_pixels(found := leftovers(points, gradients), cases.images[:].reshape(n, -1))
        row = {
            "cases": n, "C": C, "gradients": len(points), "on_a_line": lines(points), "candidates": len(found),
            "nearest": float(far.min(initial=np.inf)), "within_0.02": int((far < 0.02).sum()),
            "within_0.1": int((far < 0.1).sum()), "objective": watched.objective,
        }  # fmt: skip
        print("{cases:>6}{C:>7g}{gradients:>11}{on_a_line:>11}{candidates:>12}{nearest:>9.4f}".format(**row), end="")
        print(f"{row['within_0.02']:>12}{row['within_0.1']:>11}{row['objective']:>14.6f}", flush=True)
        rows.append(row)
    print(json.dumps({"benchmark": "svm_images", "rows": rows}))


if __name__ == "__main__":
    main()

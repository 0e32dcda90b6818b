"""The attacks that read a patient out of exact sums, again with a budget's noise in the sums: by how much they fail.

    python benchmarks/privacy_attacks.py            PneumoniaMNIST's pixels from ../shared/data; some minutes
    python benchmarks/privacy_attacks.py --quick    one number of cases, one run of each noise

A linear head asks its questions of real images; once the answers are exact, and then with the noise that the program
adds for ε 8, 3 and 1. The attacker is in league with as many sites as a schedule allows for, takes their noise off, and
as few others as a sum may have are there. It has all answers, and other images of the same hospital.

    reads           asks gradients at crafted points, steep functions of which one case alone is on the other side
                    (every site of a real run refuses such points): of two, the difference is that case, its image
    line            the same along the honest model, twenty points on one line, between two of which one case crosses
    threes          of the honest gradients themselves, what no line explains of every three
    completes       a third of an image is known; the rest by what second moments say goes with it
    leverage        low zᵀ(G + ridge)⁻¹ z: who is in the second moments G
    likelihood      the likelihood ratio of what a candidate would add to all that was summed
    pool            least squares: who of a pool that holds all members, and as many others, adds up to the gradients

Where a ridge is to be chosen, the best of nine is taken, which no attacker knows. By chance: cosine and named 0, AUC .5
and, for the best of nine, some hundredths more. What μ allows a test of one patient at most is said beside. The last
line is JSON.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.privacy_audit import DELTA, noised_sum, plan
from benchmarks.svm_frequencies import RIDGES, auc
from benchmarks.svm_images import DATA, SEED, off_the_line
from common.algorithms import RoundTotal
from common.algorithms.private_head import PrivateHead
from common.config import Svm
from common.models.unit_head import COUNT, LENGTH, CentredRows, UnitHead, triangle_scale
from common.models.unit_rows import CONSTANT, WHOLE
from common.privacy.accounting import mu_of
from common.privacy.price_list import CLIP, GRADIENTS, Schedule
from common.types import Cases

Floats = NDArray[np.float64]

SITES, BUDGETS = 5, (8.0, 3.0, 1.0)
MEMBERS = (550, 1800, 3500)
"""Training images; a row has 785 numbers."""
FEW = 200
"""Training images where an image is completed: fewer than the pixels that are known."""
TRIED, TARGETS = 300, 40
"""Members, and as many others, that are tried; images that are to be read."""
STEEP = 1e9


@dataclass(frozen=True)
class Seen:
    """All answers of one run, as the attacker has them, and the head that asked."""

    model: UnitHead
    members: Cases
    centre: Floats
    points: Floats
    """At which gradients were asked, float64[20, d]."""
    mean: Floats
    gram: Floats
    gradients: Floats
    deviations: dict[str, float]
    """Of the noise, of each kind of question; 0 where answers are exact."""
    answer: Callable[[Floats, int], Floats]
    """More gradients at a point, so many added up; the attacker asks no more than twenty in all."""

    def z(self, cases: Cases) -> Floats:
        """Rows about the run's centre, float64[n, d]."""
        rows = CentredRows(self.model.unit_rows, self.centre)(cases.images[:].reshape(len(cases), -1))
        return np.column_stack([rows, np.full(len(rows), CONSTANT)]) / WHOLE

    def residuals(self, cases: Cases) -> Floats:
        """What each case weighs in each gradient, float64[n, 20]."""
        logits = self.z(cases) @ self.points.T
        slopes = [self.model.loss_of.slopes(column[:, None], cases.labels)[:, 0] for column in logits.T]
        return np.clip(np.column_stack(slopes), -CLIP, CLIP)


def seen_of(members: Cases, schedule: Schedule | None) -> Seen:
    """An honest run over these cases: exact without a schedule, else with its noise."""
    head_schedule = schedule or schedule_of_rows(members, BUDGETS[0])
    model = UnitHead(Svm(kind="svm", features="unit", loss="logistic"), members.images.shape[1:], 2)
    head = PrivateHead(model, head_schedule, noise=schedule is not None)
    shares, names = np.ones(len(members)), tuple(f"site-{i}" for i in range(honest(head_schedule)))

    def noised(kind: str, exact: Floats) -> Floats:
        if schedule is None:
            return exact
        return noised_sum(schedule, schedule.of_kind(kind), exact.ravel()).reshape(exact.shape)

    def gradient(point: Floats, times: int = 1) -> Floats:
        exact = model.gradient_sum(model.weights_at(point[None], centre), members, shares)["gradient"][0]
        return np.sum([noised("gradient", exact) for _ in range(times)], axis=0)

    state = head.start()
    mean = noised("mean", model.mean_sum(members.images, shares)["mean"])
    state = head.tell(state, RoundTotal({"mean": mean}, names, ()))
    centre = state["centre"]
    gram = noised("gram", model.gram_sum({"centre": centre}, members.images, shares)["gram"])
    state, points, gradients = head.tell(state, RoundTotal({"gram": gram}, names, ())), [], []
    while not head.finished(state):
        points.append(state["point"][0])
        gradients.append(gradient(points[-1]))
        state = head.tell(state, RoundTotal({"gradient": gradients[-1][None]}, names, ()))
    deviations = {
        kind: math.sqrt(schedule.variance(schedule.of_kind(kind), honest(schedule))) if schedule else 0.0
        for kind in ("mean", "gram", "gradient")
    }
    matrix = np.zeros((model.length, model.length))
    matrix[np.triu_indices(model.length)] = gram / triangle_scale(model.length)
    matrix += np.triu(matrix, 1).T
    return Seen(model, members, centre, np.array(points), mean, matrix, np.array(gradients), deviations, gradient)


def honest(schedule: Schedule) -> int:
    """Sites whose noise the attacker does not know."""
    return schedule.quorum - schedule.colluders


def schedule_of_rows(cases: Cases, budget: float) -> Schedule:
    """Five sites' questions for rows as long as these images'."""
    return plan(budget, cases.images[0].size + 1)


# --- one image --------------------------------------------------------------------------------------------------------


def reads(seen: Seen, rng: np.random.Generator) -> dict[str, float]:
    """Single members by twenty gradients at two crafted points: cosine with their row, and how often the nearest row of
    all members is theirs."""
    z, found, owners = seen.z(seen.members), [], []
    inverse = np.linalg.inv(z.T @ z + 1e-6 * len(z) * np.eye(z.shape[1]))
    for who in rng.permutation(len(z))[:TARGETS]:
        way = inverse @ z[who]
        height = z @ way
        highest = np.sort(height)[-2:]
        if height.argmax() != who:
            continue  # no plane along this way has this case alone on its other side
        sign = 1.0 if seen.members.labels[who] else -1.0
        apart, level = -way, np.zeros(z.shape[1])
        level[-1] = WHOLE / CONSTANT
        crafted = sign * STEEP * (apart + highest.mean() * level)
        one, other = (seen.answer(point, GRADIENTS // 2) for point in (crafted, sign * STEEP * level))
        found.append(-sign * (one - other))
        owners.append(who)
    return _named(np.array(found), z, np.array(owners))


def line(seen: Seen) -> dict[str, float]:
    """Twenty gradients on one line through the model, so steep that a case counts or not: nineteen cases cross."""
    z = seen.z(seen.members)
    scores = z @ seen.points[-1]
    order = np.argsort(scores)
    middle = len(order) // 2
    between = order[middle : middle + GRADIENTS + 1]
    levels = (scores[between[:-1]] + scores[between[1:]]) / 2
    last = np.zeros(z.shape[1])
    last[-1] = WHOLE / CONSTANT
    asked = np.array([seen.answer(STEEP * (seen.points[-1] - level * last), 1) for level in levels])
    return _named(asked[:-1] - asked[1:], z, between[1:-1])


def _named(found: Floats, z: Floats, owners: NDArray[np.int64]) -> dict[str, float]:
    """Rows that were read, against all members' rows."""
    cosines = (found / np.linalg.norm(found, axis=1, keepdims=True)) @ z.T
    own = cosines[np.arange(len(owners)), owners]
    return {"cosine": float(own.mean()), "named": float((cosines.argmax(axis=1) == owners).mean())}


def threes(seen: Seen, others: Cases) -> dict[str, float]:
    """The nearest that what is left of three gradients comes to a member, and to as many who were in no run."""
    nearest = {"members": 0.0, "others": 0.0}
    by_who = {"members": seen.z(seen.members)[: len(others)], "others": seen.z(others)}
    for left in off_the_line(seen.points, seen.gradients):
        unit = left[:, :-1] / np.linalg.norm(left[:, :-1], axis=1, keepdims=True)
        for who, z in by_who.items():
            rows = z[:, :-1] / np.linalg.norm(z[:, :-1], axis=1, keepdims=True)
            nearest[who] = max(nearest[who], float(np.abs(unit @ rows.T).max()))
    return nearest


def completes(seen: Seen, others: Cases) -> dict[str, float]:
    """The lower two thirds of an image from the upper: their correlation with the truth, of members and of others."""
    upper = np.arange(seen.model.length - 1) < (seen.model.length - 1) // 3
    gram = _without_negative(seen.gram)[:-1, :-1]
    rows = {"members": seen.z(seen.members)[:TRIED, :-1], "others": seen.z(others)[:TRIED, :-1]}
    best = {"members": 0.0, "others": 0.0}
    for ridge in RIDGES * np.trace(gram) / len(gram):
        way = np.linalg.solve(gram[np.ix_(upper, upper)] + ridge * np.eye(upper.sum()), gram[np.ix_(upper, ~upper)])
        for who, z in rows.items():
            pairs = zip(z[:, upper] @ way, z[:, ~upper], strict=True)
            best[who] = max(best[who], float(np.median([np.corrcoef(*pair)[0, 1] for pair in pairs])))
    return best


# --- membership -------------------------------------------------------------------------------------------------------


def leverage(seen: Seen, others: Cases) -> float:
    """AUC of members by the second moments alone."""
    gram, best = _without_negative(seen.gram), 0.5
    inside, outside = seen.z(seen.members)[:TRIED], seen.z(others)[:TRIED]
    for ridge in RIDGES * np.trace(gram) / len(gram):
        inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
        best = max(best, auc(*(-np.einsum("nd,nd->n", part @ inverse, part) for part in (inside, outside))))
    return best


def likelihood(seen: Seen, others: Cases) -> float:
    """AUC of members by all answers: what a candidate would add, in units of how much images and noise differ.

    Nothing is written out: of second moments an image adds 308,505 numbers, but products of two are (z·z')².
    """
    half = min(TRIED, len(seen.members))
    tried = [_part(seen.members, slice(half)), _part(others, slice(half)), _part(others, slice(half, None))]
    z, r = np.concatenate([seen.z(part) for part in tried]), np.concatenate([seen.residuals(part) for part in tried])
    x = np.concatenate([seen.model.unit_rows(part.images[:].reshape(len(part), -1)) for part in tried])
    counted = np.column_stack([x, np.full(len(x), COUNT)]) / LENGTH
    n, d, sums = len(seen.members), z.shape[1], np.einsum
    by_kind = {
        "mean": (counted @ counted.T, counted @ seen.mean, d),
        "gram": (np.square(z @ z.T), sums("ni,ij,nj->n", z, seen.gram, z), d * (d + 1) // 2),
        "gradient": ((r @ r.T) * (z @ z.T), sums("nt,nd,td->n", r, z, seen.gradients), GRADIENTS * d),
    }
    inner, told = np.zeros((len(z), len(z))), np.zeros(len(z))
    reference = slice(2 * half, None)
    for kind, (products, with_sum, numbers) in by_kind.items():
        # About the mean of what the attacker's own images would add.
        usual, with_usual = products[reference, reference].mean(), products[:, reference].mean(axis=1)
        products = products - with_usual[:, None] - with_usual[None, :] + usual
        with_sum = with_sum - with_sum[reference].mean() - n * (with_usual - usual)
        spread = np.trace(products[reference, reference]) / len(products[reference]) / numbers
        weight = 1 / (seen.deviations[kind] ** 2 + n * spread)
        inner, told = inner + weight * products, told + weight * with_sum
    best, known = 0.5, inner[reference, reference]
    for ridge in RIDGES * np.trace(known) / len(known):
        # (Σ + ridge)⁻¹ by Woodbury.
        solved = np.linalg.solve(known + ridge * np.eye(len(known)), told[reference])
        own = told[: 2 * half] - inner[: 2 * half, reference] @ solved
        best = max(best, auc(own[:half], own[half:]))
    return best


def pool(seen: Seen, others: Cases) -> float:
    """AUC of members in a pool of all of them and as many others."""
    parts, best = (seen.members, others), 0.5
    z, r = np.concatenate([seen.z(part) for part in parts]), np.concatenate([seen.residuals(part) for part in parts])
    inner = (r @ r.T) * (z @ z.T)
    told = np.einsum("nt,nd,td->n", r, z, seen.gradients)
    for ridge in (1e-10, *RIDGES):
        shares = np.linalg.solve(inner + ridge * np.trace(inner) / len(inner) * np.eye(len(inner)), told)
        best = max(best, auc(shares[: len(seen.members)], shares[len(seen.members) :]))
    return best


def _without_negative(gram: Floats) -> Floats:
    values, vectors = np.linalg.eigh(gram)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def _part(cases: Cases, where: slice) -> Cases:
    return Cases(cases.images[where], cases.labels[where])


# --- all of it --------------------------------------------------------------------------------------------------------


def attacks(members: Cases, others: Cases, schedule: Schedule | None, rng: np.random.Generator) -> dict[str, float]:
    """Every attack on a run of its own, by name."""
    seen, few = seen_of(members, schedule), seen_of(_part(members, slice(FEW)), schedule)
    as_many = _part(others, slice(len(members)))
    found: dict[str, float] = {}
    for name, figures in {
        "reads": reads(seen, rng), "line": line(seen), "threes": threes(seen, others),
        "completes": completes(few, others),
    }.items():  # fmt: skip
        found |= {f"{name}, {key}": value for key, value in figures.items()}
    found |= {"leverage": leverage(seen, others), "likelihood": likelihood(seen, others)}
    if len(as_many) == len(members):
        found["pool"] = pool(seen, as_many)
    return found


def bound(budget: float) -> float:
    """The largest AUC that any test of one patient can have over the training questions."""
    return float(norm.cdf(mu_of(budget, DELTA) / math.sqrt(2)))


def real_images() -> Cases:
    """PneumoniaMNIST's training and validation images, shuffled, 0..1."""
    with np.load(DATA, allow_pickle=False) as arrays:
        images = np.concatenate([arrays["train_images"], arrays["val_images"]])[..., None].astype(np.float32) / 255
        labels = np.concatenate([arrays["train_labels"], arrays["val_labels"]])[:, 0].astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(images))
    return Cases(images[order], labels[order])


def main() -> None:
    """A table for each number of cases; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=1, help="of each noise; figures are their means")
    options = parser.parse_args()
    cases, rows, began_s = real_images(), [], time.monotonic()
    ways: dict[str, float | None] = {"no bound": None} | {f"ε {budget:g}": budget for budget in BUDGETS}
    for n in MEMBERS[:1] if options.quick else MEMBERS:
        members, others = _part(cases, slice(n)), _part(cases, slice(n, None))
        by_way = {}
        for way, budget in ways.items():
            schedule = schedule_of_rows(cases, budget) if budget else None
            runs = 1 if options.quick or budget is None else options.runs
            found = [attacks(members, others, schedule, np.random.default_rng(SEED + run)) for run in range(runs)]
            by_way[way] = {name: round(float(np.mean([each[name] for each in found])), 4) for name in found[0]}
        print(f"\n{n} members, rows of {cases.images[0].size + 1}; {time.monotonic() - began_s:.0f} s")
        print(f"{'':24}" + "".join(f"{way:>10}" for way in by_way))
        for name in by_way["no bound"]:
            print(f"{name:24}" + "".join(f"{figures[name]:>10.3f}" for figures in by_way.values()), flush=True)
        rows.append({"members": n, **by_way})
    allowed = {f"ε {budget:g}": round(bound(budget), 3) for budget in BUDGETS}
    print("AUC of one patient at most: " + ", ".join(f"{way} {value:.3f}" for way, value in allowed.items()))
    print(json.dumps({"benchmark": "privacy_attacks", "rows": rows, "auc_at_most": allowed}, ensure_ascii=False))


if __name__ == "__main__":
    main()

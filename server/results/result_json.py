"""What comes out of a run: `result.json`. The layout is in docs/results.md, its tables on the screen in `screen`."""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from common.config import Federation
from common.metrics.performance import Threshold
from common.metrics.score import Score
from common.plans import binding
from common.plans.plan import PlanContent
from common.secagg.key_period_plan import threshold
from common.storage import tensorfile
from common.trust.release import VERSION, code_digest
from common.types import Tensors, prefixed
from server.results import cross_site as matrix
from server.results import paired_differences
from server.results.over_seeds import mean, over_seeds
from server.results.paired_differences import Differences

FORMAT = 1
APPROACHES = ("local", "left_out", "federated", "noiseless", "personalised", "pooled")
COMPARED = ("left_out", "noiseless", "pooled")
"""What a site of the federation cannot have, and a simulation alone can compare with."""

Scores = Mapping[str, Score]
"""One model's score by approach."""


@dataclass(frozen=True)
class SeedResult:
    """Everything that one seed gave."""

    seed: int | str
    """Of several splits or folds at one seed, their name."""
    sites: Mapping[str, Scores]
    test: Mapping[str, Sequence[Score]]
    """On the common test set: one score for a common model, one for each site's model otherwise."""
    cases: Mapping[str, Mapping[str, int]]
    """Numbers of training, validation and test cases by site."""
    by_class: Mapping[str, Mapping[str, Sequence[int]]]
    """The same of every class, or that have each finding."""
    counts: Mapping[str, Any]
    """Outcomes as in `server.results.outcome_counts`: of the validation cases summed, of the test cases by approach."""
    blends: Mapping[str, Mapping[str, Any]]
    """By site, what its personalised model is made of, and why (`client.training.personalise.Blend`)."""
    rounds: Sequence[Mapping[str, Any]]
    """Records of the federated rounds."""
    curves: Mapping[str, Sequence[Mapping[str, Any]]]
    """Validation records by approach: local/<site>, pooled."""
    best_round: int
    weights_sha256: str
    differences: Differences = field(default_factory=dict)
    """By pair of ways and site."""
    statistics: Mapping[str, Any] | None = None
    """Record of the question before the first round, where there was one."""
    likeness: str = "not wanted"
    """As of `likeness`."""
    early_end: str = ""
    """Why the rounds ended before all were done; empty where they did not."""
    cross_site: matrix.Grid | None = None
    """Every model's outcomes on every site's validation cases."""
    operating_points: Mapping[str, Threshold] = field(default_factory=dict)
    """By model: from which score a case counts as positive."""
    sweep: Mapping[float, Score] = field(default_factory=dict)
    """Figures on all test cases at other budgets of privacy, by ε."""
    label_counts: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    """As `by_class`, how many cases know each finding; empty where labels are classes."""


@dataclass(frozen=True)
class Remarks:
    """What is to be said of the data."""

    origin: str
    labels: tuple[str, ...]
    problems: tuple[str, ...]
    """Cases that were left out."""
    warnings: tuple[str, ...]
    """What may make figures doubtful."""
    doubts: tuple[str, ...]
    """The same, without names of files and patients: a model card says it."""


def as_json(config: Mapping[str, Any], data: Remarks, seeds: Sequence[SeedResult]) -> dict[str, Any]:
    """The content of result.json: means over the seeds, with `<figure>_sd` beside each where there are several."""
    first, is_common = seeds[0], config["sites"]["test_on"] == "common"
    return {
        "format": FORMAT,
        "name": config["name"],
        "origin": data.origin,
        "labels": list(data.labels),
        "sites": {
            name: {"cases": dict(first.cases[name]), "by_class": {p: list(n) for p, n in parts.items()}}
            | (
                {"known": {p: list(n) for p, n in first.label_counts[name].items()}}
                if name in first.label_counts
                else {}
            )
            | {a: over_seeds([[s.sites[name][a]] for s in seeds]) for a in APPROACHES if a in first.sites[name]}
            | _blend(seeds, name)
            for name, parts in first.by_class.items()
        },
        "cases": {p: sum(cases[p] for cases in first.cases.values()) for p in ("train", "validation", "test")},
        "sites_mean": {
            a: over_seeds([[by[a] for by in s.sites.values()] for s in seeds], independent=not is_common)
            | {"n": sum(by[a].n for by in first.sites.values())}
            for a in APPROACHES
            if a in first.test
        },
        "test": {a: over_seeds([s.test[a] for s in seeds]) for a in APPROACHES if a in first.test},
        "differences": paired_differences.of_seeds([s.differences for s in seeds], is_common),
        "counts": {"seed": first.seed} | dict(first.counts),
        "rounds": [{"seed": s.seed} | dict(r) for s in seeds for r in s.rounds],
        "cost": cost([r for s in seeds for r in s.rounds]),
        "statistics": first.statistics,
        "likeness": first.likeness,
        "ended": first.early_end,
        "seeds": [
            {
                "seed": s.seed,
                "best_round": s.best_round,
                "C": kept_strength(s.rounds, s.best_round),
                "weights_sha256": s.weights_sha256,
                "sites": {n: {a: score.as_json() for a, score in by.items()} for n, by in s.sites.items()},
                "test": {a: [score.as_json() for score in scores] for a, scores in s.test.items()},
                "thresholds": dict(s.operating_points),
                "blends": dict(s.blends),
                "curves": {name: list(records) for name, records in s.curves.items()},
            }
            for s in seeds
        ],
        **_cross_site(seeds),
        "secure_aggregation": _secure(Federation.model_validate(config["federation"]), len(first.sites)),
        "problems": list(data.problems),
        "warnings": list(data.warnings),
        "doubts": list(data.doubts),
        "release": VERSION,
        "code": code_digest(),
        "config": dict(config),
        "versions": versions(),
    }


def _blend(seeds: Sequence[SeedResult], site: str) -> dict[str, Any]:
    """What a site's personalised model is made of: the mean own share, and the first seed's reason."""
    if site not in seeds[0].blends:
        return {}
    shares = [s.blends[site]["own_share"] for s in seeds]
    return {"own_share": mean(shares), "personalised_by": seeds[0].blends[site]["reason"]}


def _cross_site(seeds: Sequence[SeedResult]) -> dict[str, Any]:
    grids = [(s.cross_site, s.operating_points) for s in seeds if s.cross_site]
    return {"cross_site": matrix.of_grids(grids)} if grids else {}


def _secure(plan: Federation, sites: int) -> dict[str, Any]:
    """Whether it was on, and the least number of sites whose sum the coordinator saw."""
    if not plan.secure:
        return {"on": False}
    least, auditors = binding.least_in_a_sum(plan, sites), min(sites, plan.simulate.auditors)
    return {"on": True, "sites": sites, "least_in_a_sum": least, "auditors": auditors}


def sums_over(sites: int, plan: PlanContent) -> dict[str, Any]:
    """What a real run's secure aggregation let the coordinator see, of so many sites."""
    many = len(plan.cohort)
    least = threshold(many) if plan.models else binding.least_in_a_sum(plan.training.federation, many)
    return {"on": True, "sites": sites, "least_in_a_sum": least}


def likeness(is_wanted: bool, looks: Tensors) -> str:
    """What came of gathering how the training images look: `gathered`, `lost`, or `not wanted`."""
    if not is_wanted:
        return "not wanted"
    return "gathered" if looks and looks["n"][0] else "lost"


def cost(rounds: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the federated rounds took together: how many, how many of them void, seconds, bytes both ways."""
    totals = {"rounds": len(rounds), "void": sum(bool(r["void"]) for r in rounds)}
    return totals | {what: sum(r[what] for r in rounds) for what in ("seconds", "bytes_up", "bytes_down")}


def versions() -> dict[str, str]:
    """Releases of the packages that the figures were made with."""
    packages = ("numpy", "scipy", "scikit-learn", "tensorflow-cpu", "tensorflow", "keras", "flwr", "pydicom")
    releases = {"python": platform.python_version()}
    for name in packages:
        with suppress(metadata.PackageNotFoundError):
            releases[name] = metadata.version(name)
    return releases


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Write result.json atomically."""
    tensorfile.write_atomically(path, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())


def kept_strength(rounds: Iterable[Mapping[str, Any]], best_round: int) -> float | None:
    """Of several C the one whose model was kept; None where there was but one."""
    return next((r["validation"].get("C") for r in rounds if r["round"] == best_round), None)


def save_model(
    path: Path, weights: Tensors, recipe: Tensors, looks: Tensors, counts: Tensors, about: Mapping[str, str]
) -> None:
    """Write a model with what is needed to use it: the recipe's mean and variance, labels, operating point, origin.

    Args:
        looks: sums over how the training images look; empty where the run gathered none.
        counted: summed outcomes on validation cases, with their distances from the training images.
    """
    if looks and "distances" in counts:
        looks = dict(looks) | {"distances": counts["distances"]}
    arrays = prefixed("weights", weights) | prefixed("recipe", recipe)
    tensorfile.save(path, arrays | prefixed("likeness", looks), about)

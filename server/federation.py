"""The round loop: ask the sites, add what they answer, step, evaluate, keep the best. Read this first.

    request = algorithm.ask(state, round)         what the sites are to compute
    total   = aggregator.total(request, …)        only the sum over the sites comes back
    state   = algorithm.tell(state, total)        the next model

The aggregator (`gathering`, `secure`) is the one place where what single sites send is seen: masked, as a rule.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from common import metrics
from common.config import Federation
from common.errors import QuorumError
from common.secagg.roster import MIN_COHORT
from common.transport import Request
from common.types import Tensors, prefixed
from server.algorithm import Algorithm, State, Total
from server.gathering import Aggregator

STATISTICS_ATTEMPTS = 5
"""How often the sites are asked for the sums behind mean and variance before the run gives up."""


@dataclass(frozen=True)
class RoundRecord:
    """What is remembered of a round."""

    round: int
    seconds: float
    bytes_up: int
    """From all sites together."""
    bytes_down: int
    sites: tuple[str, ...]
    dropped: tuple[str, ...]
    void: bool
    """Too few answered, or the sum could not be used: the model is as it was."""
    train_loss: float | None = None
    validation: dict[str, float | None] = field(default_factory=dict)
    """n, loss, accuracy, auc over the summed counts; empty where the round was not evaluated."""


@dataclass(frozen=True)
class Standing:
    """Where a run stands after a round: all that a resume needs."""

    round: int
    """The next round's number."""
    state: State
    best: Tensors
    best_round: int
    best_counts: Tensors
    """Summed validation counts of the best model."""
    records: tuple[RoundRecord, ...]

    def header(self) -> dict[str, Any]:
        """The part that is not arrays."""
        return {"round": self.round, "best_round": self.best_round, "records": [asdict(r) for r in self.records]}


@dataclass(frozen=True)
class Plan:
    """What stays the same over all rounds of one run."""

    federation: Federation
    seed: int
    fingerprint: str
    """Of the preprocessing recipe; sites with another one refuse."""
    recipe: Tensors
    """Federated mean and variance, where the recipe has them."""


def statistics(plan: Plan, aggregator: Aggregator) -> Tensors:
    """Federated mean and variance of every pixel over all training images: float64[h, w, c] each, from sums alone.

    Raises:
        QuorumError: if too few sites answered each time they were asked.
    """
    sites, quorum = aggregator.transport.sites(), plan.federation.quorum
    for attempt in range(STATISTICS_ATTEMPTS):
        request = Request("statistics", attempt, {}, {"recipe": plan.fingerprint})
        total = aggregator.total(request, sites, plan.federation.timeout_s)
        if _enough(total, min(quorum, len(sites))):
            n = float(total.sums["n"][0])
            mean = total.sums["x"] / n
            return {"mean": mean, "variance": np.maximum(total.sums["xx"] / n - mean**2, 0.0)}
    raise QuorumError(
        f"{len(total.sites)} of {len(sites)} sites answered, expected at least {quorum} "
        f"(federation.quorum; with federation.secure more than two thirds). Silent: {', '.join(total.dropped)}."
    )


def run(
    plan: Plan, algorithm: Algorithm, aggregator: Aggregator, standing: Standing | None = None
) -> Iterator[Standing]:
    """All rounds of a run, one standing after each; begin anew, or from the standing given.

    Raises:
        QuorumError: if no round at all had enough answers.
    """
    standing = standing or begin(algorithm)
    while standing.round < plan.federation.rounds and not over(plan, algorithm, standing):
        standing = run_round(plan, algorithm, aggregator, standing)
        yield standing
    if standing.best_round < 0:
        void, sites = sum(r.void for r in standing.records), len(aggregator.transport.sites())
        raise QuorumError(
            f"nothing was trained: {void} of {len(standing.records)} rounds did not have the answers they need (quorum "
            f"{plan.federation.quorum} of {sites} sites, secure sums more than two thirds, the SVM all). "
            "See which sites dropped in the log; give more rounds, or lower federation.quorum."
        )


def begin(algorithm: Algorithm) -> Standing:
    """Before the first round."""
    state = algorithm.start()
    return Standing(0, state, algorithm.weights(state), -1, {}, ())


def run_round(plan: Plan, algorithm: Algorithm, aggregator: Aggregator, standing: Standing) -> Standing:
    """One round: train, step, evaluate, remember."""
    started, number = time.monotonic(), standing.round
    sites, timeout_s = aggregator.transport.sites(), plan.federation.timeout_s
    request = _with_recipe(algorithm.ask(standing.state, number), plan)
    total = aggregator.total(request, _cohort(plan, algorithm, sites, number), timeout_s)
    up, down, state = total.bytes_up, total.bytes_down, standing.state
    if _enough(total, plan.federation.quorum) or (total.sites and algorithm.cohort_must_be_whole):
        state = algorithm.tell(standing.state, total)
    moved = _differ(algorithm.weights(state), algorithm.weights(standing.state))
    counts: Tensors = {}
    if moved and _evaluates(plan, algorithm, state, number):
        question = _with_recipe(Request("evaluate", number, prefixed("weights", algorithm.weights(state))), plan)
        outcome = aggregator.total(question, sites, timeout_s)
        counts, up, down = outcome.sums, up + outcome.bytes_up, down + outcome.bytes_down
    record = RoundRecord(
        round=number,
        seconds=time.monotonic() - started,
        bytes_up=up,
        bytes_down=down,
        sites=total.sites,
        dropped=total.dropped,
        void=not moved and (bool(total.dropped) or not total.sums),
        train_loss=_train_loss(total),
        validation=metrics.summary_of_counts(counts) if counts else {},
    )
    return _remember(standing, plan, algorithm, state, counts, record)


def over(plan: Plan, algorithm: Algorithm, standing: Standing) -> bool:
    """Nothing left to gain, or no better evaluation for as long as patience says."""
    if algorithm.finished(standing.state):
        return True
    patience = plan.federation.patience
    since = [r for r in standing.records if r.validation and r.round > standing.best_round]
    return patience is not None and len(since) >= patience


def _remember(
    standing: Standing, plan: Plan, algorithm: Algorithm, state: State, counts: Tensors, record: RoundRecord
) -> Standing:
    records = (*standing.records, record)
    after = replace(standing, round=record.round + 1, state=state, records=records)
    if counts and _is_better(record, standing.records, plan.federation.select):
        return replace(after, best=algorithm.weights(state), best_round=record.round, best_counts=counts)
    return after


def _is_better(record: RoundRecord, earlier: Sequence[RoundRecord], select: str) -> bool:
    if select == "last" or record.validation.get("auc") is None:  # a class has no validation case to choose by
        return True
    sign = -1.0 if select == "loss" else 1.0
    figures = [sign * f for r in earlier if (f := r.validation.get(select)) is not None]
    figure = record.validation.get(select)
    return figure is not None and sign * figure > max(figures, default=-np.inf)


def _evaluates(plan: Plan, algorithm: Algorithm, state: State, number: int) -> bool:
    last = number == plan.federation.rounds - 1 or algorithm.finished(state)
    return last or (number + 1) % plan.federation.evaluate_every == 0


def _differ(one: Tensors, other: Tensors) -> bool:
    return any(not np.array_equal(one[name], other[name]) for name in one)


def _cohort(plan: Plan, algorithm: Algorithm, sites: tuple[str, ...], number: int) -> tuple[str, ...]:
    """The sites asked in a round: all, or a share drawn from the seed."""
    least = max(plan.federation.quorum, MIN_COHORT if plan.federation.secure else 1)
    share = max(least, round(plan.federation.fraction * len(sites)))
    if algorithm.cohort_must_be_whole or share >= len(sites):
        return sites
    draw = np.random.default_rng([plan.seed, number]).choice(len(sites), share, replace=False)
    return tuple(sites[i] for i in sorted(draw))


def _with_recipe(request: Request, plan: Plan) -> Request:
    tensors = dict(request.tensors) | prefixed("recipe", plan.recipe)
    return replace(request, tensors=tensors, settings=dict(request.settings) | {"recipe": plan.fingerprint})


def _train_loss(total: Total) -> float | None:
    examples = float(total.sums["examples"][0]) if "examples" in total.sums else 0.0
    return float(total.sums["loss_sum"][0]) / examples if examples else None


def _enough(total: Total, quorum: int) -> bool:
    return bool(total.sums) and len(total.sites) >= quorum

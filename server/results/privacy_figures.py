"""What a run with a budget of privacy promised, what of it was spent, and what it cost, for result.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from common.metrics import performance
from common.privacy.price_list import Part, Price, SampledSteps, Schedule, together
from server.results.result_json import SeedResult

MECHANISM = (
    "discrete Gaussian noise that the sites add in shares under the masks; costs add up exactly (Gaussian differential "
    "privacy)"
)


def of_run(schedule: Schedule, rounds: Sequence[Mapping[str, Any]], account: str) -> dict[str, Any]:
    """What was promised, and what the rounds of a run spent of it.

    Args:
        account: where each site wrote down what it spent.
    """
    if rounds and len(rounds[0]["sites"]) < schedule.quorum:
        schedule = schedule.after_lost_mean or schedule
    asked_rounds = {record["round"] for record in rounds}
    is_evaluated = any(record.get("judges") for record in rounds)
    answers = [p for p in schedule.prices if _round(p) in asked_rounds and (p.part == "training" or is_evaluated)]
    return {
        "epsilon": schedule.epsilon,
        "delta": schedule.delta,
        "of": schedule.unit,
        "against": (
            "everybody outside of a hospital: whoever has the model, and the coordinator together with "
            f"{schedule.colluders} of the other sites"
        ),
        "mechanism": MECHANISM if schedule.steps is None else _of_network(schedule.steps),
        "sites": schedule.sites,
        "least_in_a_sum": schedule.quorum,
        "colluders": schedule.colluders,
        "spent": {part: _cost_of(answers, part, schedule.delta) for part in ("training", "validation")},
        "account": account,
        "questions": [asdict(price) for price in schedule.prices],
    }


def _of_network(steps: SampledSteps) -> str:
    return (
        f"DP-SGD at every site: each step draws a patient with chance {steps.rate:g}, clips their gradient to "
        f"{steps.clip:g} and adds the site's own discrete Gaussian noise, σ {steps.sigma:.3g}, in full; all steps of "
        "the run are paid at once (privacy loss distributions)"
    )


def cost(seeds: Sequence[SeedResult]) -> dict[str, Any]:
    """In a simulation: test AUC with and without noise, and at the budgets of the sweep, as means over the seeds."""
    ways = {"federated": "auc", "noiseless": "auc_without_noise"}
    figures: dict[str, Any] = {}
    for way, name in ways.items():
        over = performance.mean_and_deviation([s.test[way][0].auc for s in seeds])
        figures |= {name: over["mean"], f"{name}_sd": over["sd"]}
    if figures["auc"] is not None and figures["auc_without_noise"] is not None:
        figures["auc_cost"] = figures["auc_without_noise"] - figures["auc"]
    figures["sweep"] = [
        {"epsilon": at, **_row_of(performance.mean_and_deviation([s.sweep[at].auc for s in seeds]))}
        for at in seeds[0].sweep
    ]
    return figures


def _row_of(over: Mapping[str, float | None]) -> dict[str, float | None]:
    return {"auc": over["mean"], "auc_sd": over["sd"]}


def _round(price: Price) -> int:
    return int(price.question.partition("/")[2])


def _cost_of(answers: Sequence[Price], part: Part, delta: float) -> float:
    return together(price for price in answers if price.part == part).epsilon(delta)

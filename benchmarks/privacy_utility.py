"""What a budget of privacy costs in AUC: noise in shares, each site its own full noise, and DP-SGD over pooled cases.

    python benchmarks/privacy_utility.py                    all tasks, five seeds, ε 8, 3 and 1
    python benchmarks/privacy_utility.py ultrasound         those with this word in their name

The algorithm, its schedule and the noise's width are the program's own; the sums are those of all sites together and
not masked, so that many runs take seconds. `simulate.py` with `privacy.sweep` is the same with masks. Nothing is chosen
here, by test cases or others; of each seed (of the division into parts and sites) the noise is drawn four times. Beside
it DP-SGD (Abadi et al., 2016) of the same head on the same rows, all cases in one place, its noise as little as there
can be: a step's learning rate was chosen on held-out training cases of two classes, and is as much less for three as
their loss is steeper. AUC of more classes than two is the mean of each
against the rest. The last line is JSON. It needs the encoder: docs/encoders.md#getting-one.
"""

import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.dataset import loading
from client.dataset.loading import PreparedData
from common.algorithms import RoundTotal
from common.algorithms.private_head import PrivateHead
from common.config import Config, load
from common.image_stack import join
from common.messages.noised_layout import schedule_for
from common.metrics.performance import exact_auc, margins
from common.models import build
from common.models.unit_head import UnitHead
from common.models.unit_rows import CONSTANT, WHOLE
from common.privacy.accounting import mu_of, without_tail
from common.privacy.network_prices import RATE, TAIL_SHARE, noise_for
from common.privacy.price_list import CLIP, Price, Schedule
from common.types import Cases, Tensors, under

PNEUMONIA, ULTRASOUND = "configs/pneumonia-private.yaml", "configs/ultrasound-private.yaml"
THREE = ("data.labels=[normal, benign, malignant]", "data.groups={}", "model.loss=softmax")
TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pneumonia, encoder": (PNEUMONIA, ()),
    "ultrasound, encoder": (ULTRASOUND, ()),
    "ultrasound, encoder, three classes": (ULTRASOUND, THREE),
    "pneumonia, pixels": (PNEUMONIA, ("preprocess=[]",)),
}
"""A configuration, and what is laid over it."""
BUDGETS = (8.0, 3.0, 1.0)
DRAWS = 4
"""Of the noise, for each seed."""
SGD_STEPS, SGD_RATE = 100, 8.0
"""Learning rate in units of the curvature's bound."""


class OwnNoise(Schedule):
    """Each site adds all the noise by itself, as without secure sums it must."""

    def share_variance(self, price: Price) -> float:
        """Of the whole σ²."""
        return price.sigma**2


def trained(head: PrivateHead, cases: Cases, sites: int, rng: np.random.Generator) -> Tensors:
    """The weights that noised sums over all cases lead to."""
    state, shares, names = head.start(), cases.shares(), tuple(f"site-{i}" for i in range(sites))
    while not head.finished(state):
        request = head.ask(state, int(state["answered"]))
        kind, weights = request.kind.removeprefix("noised-"), under("weights", request.tensors)
        if kind == "mean":
            sums = head.model.mean_sum(cases.images, shares)
        elif kind == "gram":
            sums = head.model.gram_sum(weights, cases.images, shares)
        else:
            sums = head.model.gradient_sum(weights, cases, shares)
        if head.noise:
            deviation = math.sqrt(head.schedule.variance(head.schedule.of_kind(kind), sites))
            sums = {name: value + rng.normal(0.0, deviation, value.shape) for name, value in sums.items()}
        state = head.tell(state, RoundTotal(sums, names, ()))
    return head.weights(state)


def dp_sgd(model: UnitHead, cases: Cases, schedule: Schedule, rng: np.random.Generator, rate: float) -> Tensors:
    """The weights that DP-SGD over all cases in one place leads to; each case is a patient."""
    rows = model.unit_rows(cases.images[:].reshape(len(cases), -1))
    z = np.column_stack([rows, np.full(len(rows), CONSTANT)]) / WHOLE
    tail = TAIL_SHARE * schedule.delta
    mu = mu_of(schedule.epsilon, without_tail(schedule.delta, tail))
    deviation, w = CLIP * noise_for(RATE, SGD_STEPS, mu, tail), np.zeros((model.rows, model.length))
    for _ in range(SGD_STEPS):
        is_in = rng.random(len(z)) < RATE
        slopes = model.loss_of.slopes(z[is_in] @ w.T, cases.labels[is_in])
        slopes *= CLIP / np.maximum(np.linalg.norm(slopes, axis=1, keepdims=True), CLIP)
        summed = slopes.T @ z[is_in] + rng.normal(0.0, deviation, w.shape)
        w -= rate / model.loss_of.steepest * summed / (RATE * len(z))
    return model.weights_at(w, np.zeros(model.length - 1))


def at_budget(config: Config, data: PreparedData, epsilon: float) -> tuple[UnitHead, Schedule]:
    """The head and its questions."""
    assert config.budget is not None
    changed = config.model_copy(update={"privacy": config.budget.model_copy(update={"epsilon": epsilon})})
    model = build(config.model, data.sites[0].train.images.shape[1:], len(data.labels))
    assert isinstance(model, UnitHead)
    return model, schedule_for(changed, model, len(data.sites))


def area(model: UnitHead, weights: Tensors, cases: Cases) -> float:
    """AUC; of more classes than two the mean of each against the rest."""
    scores = margins(model.scores(weights, cases.images))
    classes = [1] if scores.shape[1] == 1 else range(scores.shape[1])
    areas = [exact_auc(column, cases.labels == k) for column, k in zip(scores.T, classes, strict=True)]
    return float(np.mean([each for each in areas if each is not None]))


def one_seed(config: Config, seed: int, by_way: dict[str, list[float]]) -> str:
    """All ways of one division, each way's AUC added to its list; what was trained, for people."""
    data, took_s = loading.load(config, seed), 0.0
    cases, rounds = join([site.train for site in data.sites]), 0
    for epsilon in BUDGETS:
        model, schedule = at_budget(config, data, epsilon)
        shares, own = PrivateHead(model, schedule), PrivateHead(model, OwnNoise(**vars(schedule)))
        rounds = sum(price.part == "training" for price in schedule.prices)
        if epsilon == BUDGETS[0]:
            weights = trained(replace(shares, noise=False), cases, len(data.sites), np.random.default_rng(seed))
            by_way.setdefault("no noise", []).append(area(model, weights, data.test))
        for draw in range(DRAWS):
            for way, head in {f"ε {epsilon:g}": shares, f"ε {epsilon:g}, own full noise": own}.items():
                started_s, rng = time.monotonic(), np.random.default_rng([seed, int(epsilon), draw])
                weights = trained(head, cases, len(data.sites), rng)
                took_s = time.monotonic() - started_s
                by_way.setdefault(way, []).append(area(model, weights, data.test))
            weights = dp_sgd(model, cases, schedule, np.random.default_rng([seed, 9, draw]), SGD_RATE)
            by_way.setdefault(f"ε {epsilon:g}, DP-SGD", []).append(area(model, weights, data.test))
    return f"{len(cases)} training cases, rows of {model.length}, {rounds} rounds, {took_s:.1f} s a training"


def main() -> None:
    """A line each; the last is JSON."""
    figures: dict[str, dict[str, list[float]]] = {}
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    for task, (name, overrides) in TASKS.items():
        if word not in task:
            continue
        config, by_way, what = load(name, overrides), dict[str, list[float]](), ""
        for seed in config.seeds:
            what = one_seed(config, seed, by_way)
        print(f"{task}: {what}, {len(config.seeds)} seeds")
        for way, areas in sorted(by_way.items()):
            by_seed = np.reshape(areas, (len(config.seeds), -1)).mean(axis=1)
            print(f"  {way:24} AUC {np.mean(areas):.3f} ± {np.std(areas, ddof=1):.3f}, of seeds' means "
                  f"± {np.std(by_seed, ddof=1):.3f}", flush=True)  # fmt: skip
        figures[task] = {way: [round(area, 4) for area in areas] for way, areas in by_way.items()}
    print(json.dumps(figures, ensure_ascii=False))


if __name__ == "__main__":
    main()

"""What a budget of privacy costs in AUC: noise in shares, and each site its own full noise, over seeds of the noise.

    python benchmarks/privacy_utility.py                                   both data sets, five seeds, ε 8, 3 and 1
    python benchmarks/privacy_utility.py configs/ultrasound-private.yaml

The algorithm, its schedule and the noise's width are the program's own; the sums are those of all sites together and
not masked, so that many runs take seconds. `simulate.py` with `privacy.sweep` is the same with masks. Nothing is chosen
here, by test cases or others. The last line is JSON. It needs the encoder: docs/encoders.md#getting-one.
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
from common.privacy.price_list import Price, Schedule
from common.types import Cases, Tensors, under

CONFIGS = ("configs/pneumonia-private.yaml", "configs/ultrasound-private.yaml")
BUDGETS = (8.0, 3.0, 1.0)


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


def at_budget(config: Config, data: PreparedData, epsilon: float) -> tuple[UnitHead, Schedule]:
    """The head and its questions."""
    assert config.budget is not None
    changed = config.model_copy(update={"privacy": config.budget.model_copy(update={"epsilon": epsilon})})
    model = build(config.model, data.sites[0].train.images.shape[1:], len(data.labels))
    assert isinstance(model, UnitHead)
    return model, schedule_for(changed, model, len(data.sites))


def main() -> None:
    """A line each; the last is JSON."""
    figures: dict[str, dict[str, list[float]]] = {}
    for name in sys.argv[1:] or CONFIGS:
        config, started_s = load(name), time.monotonic()
        by_way: dict[str, list[float]] = {}
        for seed in config.seeds:
            data = loading.load(config, seed)
            cases = join([site.train for site in data.sites])
            for epsilon in BUDGETS:
                model, schedule = at_budget(config, data, epsilon)
                shares, own = PrivateHead(model, schedule), PrivateHead(model, OwnNoise(**vars(schedule)))
                ways = {f"ε {epsilon:g}": shares, f"ε {epsilon:g}, own full noise": own}
                if epsilon == BUDGETS[0]:
                    ways["no noise"] = replace(shares, noise=False)
                for way, head in ways.items():
                    weights = trained(head, cases, len(data.sites), np.random.default_rng([seed, int(epsilon)]))
                    scores = margins(model.scores(weights, data.test.images))[:, 0]
                    by_way.setdefault(way, []).append(float(exact_auc(scores, data.test.labels == 1) or 0.0))
        print(f"{config.name}: {len(cases)} training cases, rows of {model.length}, {len(config.seeds)} seeds, "
              f"{time.monotonic() - started_s:.0f} s")  # fmt: skip
        for way, areas in sorted(by_way.items()):
            print(f"  {way:24} AUC {np.mean(areas):.3f} ± {np.std(areas, ddof=1):.3f}", flush=True)
        figures[config.name] = {way: [round(area, 4) for area in areas] for way, areas in by_way.items()}
    print(json.dumps(figures, ensure_ascii=False))


if __name__ == "__main__":
    main()

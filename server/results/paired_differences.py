"""How much better one way of training is than another on the same test cases: `differences` in result.json.

    {"federated-local": {sites: {site: {auc, interval, sd}}, mean: {auc, interval, sd}, better, worse}, …}

A difference is of AUCs, site by site and of their mean, with a 95 % interval (`common.metrics.paired`). `better` and
`worse` name the sites whose interval does not hold zero. Over several seeds it is the mean, the interval for the cases
of one seed, and `sd` the deviation over the seeds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from common.metrics import intervals, paired, performance

PAIRS = (
    ("federated", "local"), ("personalised", "local"), ("federated", "left_out"), ("federated", "pooled"),
)  # fmt: skip
"""What is set against what: the first is better where the difference is above zero."""

Differences = Mapping[tuple[str, str], Mapping[str, paired.Difference | None]]
"""By pair and site; None where a class has too few cases."""


def of_seeds(seeds: Sequence[Differences], is_common: bool) -> dict[str, Any]:
    """The section of all pairs.

    Args:
        is_common: all sites are tested on the same cases, so that their differences err together.
    """
    return {f"{way}-{against}": _of_pair([seed[way, against] for seed in seeds], is_common)
            for way, against in (seeds[0] if seeds else ())}  # fmt: skip


def _of_pair(seeds: Sequence[Mapping[str, paired.Difference | None]], is_common: bool) -> dict[str, Any]:
    sites = {name: _over([gap for seed in seeds if (gap := seed.get(name))]) for name in seeds[0]}
    means = [[d for d in seed.values() if d] for seed in seeds]
    mean = _over([paired.mean_of(each) for each in means if each]) if not is_common else _mean_of_common(sites, seeds)
    there = {name: gap for name, gap in sites.items() if gap}
    better = [name for name, gap in there.items() if gap["interval"][0] > 0]
    worse = [name for name, gap in there.items() if gap["interval"][1] < 0]
    return {"sites": sites, "mean": mean, "better": better, "worse": worse}


def _over(gap: Sequence[paired.Difference]) -> dict[str, Any] | None:
    """One site's difference, or the mean's, over the seeds."""
    if not gap:
        return None
    over = performance.mean_and_deviation([one.auc for one in gap])
    ends = intervals.all_together([one.interval for one in gap]) or ()
    return {"auc": over["mean"], "interval": [*map(float, ends)]} | ({"sd": over["sd"]} if len(gap) > 1 else {})


def _mean_of_common(
    sites: Mapping[str, dict[str, Any] | None], seeds: Sequence[Mapping[str, paired.Difference | None]]
) -> dict[str, Any] | None:
    there = [gap for gap in sites.values() if gap]
    if not there:
        return None
    ends = intervals.all_together([gap["interval"] for gap in there]) or ()
    by_seed = [performance.mean_and_deviation([d.auc for d in seed.values() if d])["mean"] for seed in seeds]
    over = performance.mean_and_deviation(by_seed)
    return {"auc": over["mean"], "interval": [*map(float, ends)]} | ({"sd": over["sd"]} if len(seeds) > 1 else {})

"""Several simulated runs site by site: what each way of training reaches, and what the differences say."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from common.web.markup import Child, el, table
from server.report import sentences, verdicts
from server.report.charts import spelled
from server.report.quality_section import with_interval
from server.report.sentences import Result

WAYS = ("local", "left_out", "federated", "personalised", "pooled")
OPEN = 4
"""Of more runs what the differences say is folded away: a sweep has a dozen."""


def section(names: Sequence[str], results: Sequence[Result]) -> list[Element]:
    """A row a run and way, a column a site; the verdicts of each run. Nothing of real runs."""
    runs = [(name, r) for name, r in zip(names, results, strict=True) if sentences.is_simulated(r)]
    if not runs:
        return []
    sites = list(dict.fromkeys(site for _, r in runs for site in r["sites"]))
    rows: list[list[Child]] = [
        [name, spelled(way), *(_cell(r, site, way) for site in sites),
         with_interval(r["sites_mean"][way], "auc"), with_interval(r["test"][way], "auc")]
        for name, r in runs for way in WAYS if way in r["test"]
    ]  # fmt: skip
    head = ["run", "trained", *sites, verdicts.MEAN, verdicts.TOGETHER]
    items = [el("li", el("b", name), ": ", text) for name, r in runs for text in sayings(r)]
    differences = [el("ul", *items)] if items else []
    if len(runs) > OPEN:
        differences = [el("details", el("summary", f"What the differences say: {len(items)} sentences"), *differences)]
    return [
        el("h2", "Site by site"), table("AUC on test cases, with 95 % intervals", head, rows), *differences,
    ]  # fmt: skip


def sayings(result: Result) -> list[str]:
    """What a run's differences say, and why its figures over all cases may mislead."""
    why = verdicts.recognition(result)
    return [*verdicts.verdicts(result), *([why] if why else [])]


def _cell(result: Result, site: str, way: str) -> Child:
    return with_interval(result["sites"][site][way], "auc") if way in result["sites"].get(site, {}) else "–"

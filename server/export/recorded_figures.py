"""What the record of a run says of its cases, and of what the model reaches on them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.metrics import intervals, plugin_metric
from server.export.recorded_fact import RecordedFact, fact_of, in_words
from server.report import sentences, verdicts
from server.report.quality_section import NAMES
from server.report.sentences import Result

SITES = "sites."
"""How the keys of a single site's figures begin."""


@dataclass(frozen=True)
class FigureRow:
    """All figures of the federated model on some cases."""

    of: str
    """Whose cases: a site, a finding, all together."""
    n: int
    figures: Mapping[str, Any]
    """With `<figure>_interval` beside those that have one."""
    keys: str
    """Where result.json has them."""


def cases(result: Result) -> RecordedFact | None:
    """How many there were; of a real run those of all sites together."""
    if (counts := sentences.judging_counts(result)) is None:
        return None
    if sentences.is_simulated(result):  # test cases that are common to all sites count once
        parts = in_words(dict(result["cases"]) | {"test": counts["n"]})
        return fact_of("cases, counts.test", f"Cases of all sites: {parts}.")
    text = f"Validation cases of all sites together: {counts['n']}. How many each has, only the sites know."
    return fact_of("counts.validation.n", text)


def by_class(result: Result) -> RecordedFact | None:
    """Cases of each class, of single sites only where a simulation knows them."""
    if not sentences.is_simulated(result):
        return judged_cases(result)
    lines = [
        f"{site}: " + ", ".join(f"{part} {'/'.join(map(str, by))}" for part, by in about["by_class"].items())
        for site, about in result["sites"].items()
    ]
    return fact_of("sites.*.by_class", f"Cases of {'/'.join(result['labels'])}. {'; '.join(lines)}.")


def judged_cases(result: Result) -> RecordedFact | None:
    """What the model was judged on."""
    if (counts := sentences.judging_counts(result)) is None:
        return None
    part = "test" if sentences.is_simulated(result) else "validation"
    classes = in_words(dict(zip(result["labels"], counts["by_class"], strict=True)))
    return fact_of(f"counts.{part}", f"{counts['n']} {part} cases: {classes}.")


def figure_rows(result: Result) -> list[FigureRow]:
    """What the model reaches, and where: the sites' mean first where there is one, then all cases together, findings,
    and single sites, which a simulation alone knows. Empty where nothing was counted."""
    if (counts := sentences.judging_counts(result)) is None:
        return []
    n, findings = counts["n"], counts["classes"] if sentences.has_findings(result) else []
    mean_of = ", mean of the findings" if findings else ""
    if not sentences.is_simulated(result):
        rows = [FigureRow(f"all sites together{mean_of}", n, counts["figures"], "counts.validation.figures")]
        if both := verdicts.areas(result):
            rows.insert(0, FigureRow("mean of the sites' own", n, both[0], "counts.validation.within_sites"))
        return rows + _of_findings(result, findings, "counts.validation.classes")
    rows = [FigureRow(verdicts.TOGETHER + mean_of, n, result["test"]["federated"], "test.federated")]
    rows += _of_findings(result, findings, "counts.test.federated.classes")
    if verdicts.is_common(result):
        return rows
    rows.insert(0, FigureRow(verdicts.MEAN, n, result["sites_mean"]["federated"], "sites_mean.federated"))
    of_sites = ((name, site["federated"]) for name, site in result["sites"].items())
    return [*rows, *(FigureRow(name, of["n"], of, f"{SITES}{name}.federated") for name, of in of_sites)]


def _of_findings(result: Result, findings: Sequence[Mapping[str, Any]], keys: str) -> list[FigureRow]:
    return [FigureRow(result["labels"][one["class"]], one["n"], one["figures"], keys) for one in findings]


def on_what(result: Result) -> str:
    """What cases the figures are on, in a sentence."""
    if not sentences.is_simulated(result):
        return "On validation cases, which also chose round and operating point, so the figures flatter."
    text = "On test cases that took no part in training"
    text += ", common to all sites, so there are none of single ones" if verdicts.is_common(result) else ""
    many = len(result["seeds"])
    return f"{text}{f'; means over {many} seeds, of which the model is the first' if many > 1 else ''}."


def figures(result: Result) -> RecordedFact | None:
    """Of all sites: their mean where there is one, all cases together, and findings."""
    return _lines(result, [row for row in figure_rows(result) if not row.keys.startswith(SITES)], _names(result))


def site_figures(result: Result) -> RecordedFact | None:
    """What it reaches at each site, which a simulation alone knows."""
    return _lines(result, [row for row in figure_rows(result) if row.keys.startswith(SITES)], ["auc"])


def _lines(result: Result, rows: Sequence[FigureRow], names: Sequence[str]) -> RecordedFact | None:
    lines = [f"{row.of[:1].upper()}{row.of[1:]}: {_with_intervals(row.figures, names)}." for row in rows]
    keys = dict.fromkeys(re.sub(f"^{SITES}.*[.]", f"{SITES}*.", row.keys) for row in rows)
    return fact_of(", ".join(keys), "\n".join([on_what(result), *lines]) if lines else "")


def confusion(result: Result) -> RecordedFact | None:
    """How many cases of which class were taken for which."""
    counts, labels = sentences.judging_counts(result), result["labels"]
    if counts is None or sentences.has_findings(result):
        return None
    rows = [
        f"{label}: {', '.join(f'{int(n)} called {other}' for other, n in zip(labels, row, strict=True))}"
        for label, row in zip(labels, counts["confusion"], strict=True)
    ]
    return fact_of("counts.*.confusion", f"{'; '.join(rows)}. No single case was looked at.")


def measures(result: Result) -> RecordedFact | None:
    """Which figures there are."""
    values = sentences.figures(result)
    names = [NAMES.get(name, name) for name in _names(result) if values.get(name) is not None]
    return fact_of("counts", ", ".join(names))


def uncertainty(result: Result) -> RecordedFact | None:
    """How far the figures are to be trusted."""
    text = "Figures have 95 % intervals, by the methods of docs/results.md."
    return fact_of("counts", text if sentences.judging_counts(result) else "")


def external(result: Result) -> RecordedFact | None:
    """What it reaches at sites that did not train."""
    values = result["sites_mean"].get("left_out") if sentences.is_simulated(result) else None
    text = f"At sites that did not train, mean: {_with_intervals(values, _names(result))}." if values else ""
    return fact_of("sites_mean.left_out", text)


def _names(result: Result) -> list[str]:
    return [*NAMES, *plugin_metric.names(result["config"])]


def _with_intervals(values: Mapping[str, Any], names: Sequence[str]) -> str:
    parts = [
        f"{NAMES.get(name, name)} = {intervals.format_interval(values[name], values.get(f'{name}_interval'))}"
        for name in names
        if values.get(name) is not None
    ]
    return ", ".join(parts) or "none is defined"

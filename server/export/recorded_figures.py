"""What the record of a run says of its cases, and of what the model reaches on them."""

from collections.abc import Mapping, Sequence
from typing import Any

from common.metrics import intervals, plugin_metric
from server.export.recorded_fact import RecordedFact, fact_of, in_words
from server.report import sentences
from server.report.sentences import Result

FIGURES = (
    "auc", "auprc", "accuracy", "balanced_accuracy", "f1", "sensitivity", "specificity", "log_loss", "brier", "ece",
)  # fmt: skip


def cases(result: Result) -> RecordedFact | None:
    """How many there were; of a real run those of all sites together."""
    if (counts := sentences.judging_counts(result)) is None:
        return None
    if sentences.is_simulated(result):  # test cases that are common to all sites count once
        return fact_of("cases, counts.test", in_words(dict(result["cases"]) | {"test": counts["n"]}))
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


def figures(result: Result) -> RecordedFact | None:
    """The mean of the sites' own figures where a simulation has them; else those of all validation cases together."""
    if sentences.is_simulated(result):
        names = _names(result)
        mean, whole = (_with_intervals(result[part]["federated"], names) for part in ("sites_mean", "test"))
        text = f"Mean of the sites' own, on test cases: {mean}. Over all test cases together: {whole}."
        return fact_of("sites_mean.federated, test.federated", text)
    if (counts := sentences.judging_counts(result)) is None:
        return None
    values = _with_intervals(counts["figures"], _names(result))
    text = f"On validation cases, which also chose round and operating point: {values}."
    return fact_of("counts.validation.figures", text)


def site_figures(result: Result) -> RecordedFact | None:
    """What it reaches at each site, which a simulation alone knows."""
    if not sentences.is_simulated(result):
        return None
    lines = [f"{site}: {_with_intervals(about['federated'], ('auc',))}" for site, about in result["sites"].items()]
    return fact_of("sites.*.federated", "; ".join(lines))


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
    return fact_of("counts", ", ".join(name for name in _names(result) if values.get(name) is not None))


def uncertainty(result: Result) -> RecordedFact | None:
    """How far the figures are to be trusted."""
    text = "Figures have 95 % intervals, by the methods of docs/results.md."
    return fact_of("counts", text if sentences.judging_counts(result) else "")


def external(result: Result) -> RecordedFact | None:
    """What it reaches at sites that did not train."""
    values = result["sites_mean"].get("left_out") if sentences.is_simulated(result) else None
    return fact_of(
        "sites_mean.left_out", f"At sites that did not train, mean: {_with_intervals(values)}." if values else ""
    )


def _names(result: Result) -> list[str]:
    return [*FIGURES, *plugin_metric.names(result["config"])]


def _with_intervals(values: Mapping[str, Any], names: Sequence[str] = FIGURES) -> str:
    parts = [
        f"{name} {intervals.format_interval(values[name], values.get(f'{name}_interval'))}"
        for name in names
        if values.get(name) is not None
    ]
    return ", ".join(parts) or "none is defined"

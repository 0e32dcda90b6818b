"""How good a model is: its figures with their intervals, ROC curves, calibration, confusion."""

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from common.metrics import plugin_metric
from common.web.markup import Child, count, el, figure, table
from server.report import charts, decision_curve, sentences
from server.report.charts import STYLES
from server.report.sentences import Result

SHOWN = ("auc", "accuracy", "sensitivity", "specificity")
NAMES = {
    "auc": "AUC", "accuracy": "Accuracy", "sensitivity": "Sensitivity", "specificity": "Specificity", "auprc": "AUPRC",
    "balanced_accuracy": "Balanced accuracy", "f1": "F1",
    "sensitivity_at_specificity": "Sensitivity at specificity 0.9",
    "specificity_at_sensitivity": "Specificity at sensitivity 0.9", "brier": "Brier score",
    "ece": "Expected calibration error", "log_loss": "Log loss",
}  # fmt: skip


def with_interval(figures: Mapping[str, Any], name: str) -> Element:
    """A figure with its interval and its deviation over seeds, where there are such."""
    return figure(figures.get(name), figures.get(f"{name}_interval"), figures.get(f"{name}_sd"))


def section(result: Result) -> list[Element]:
    """The model that is judged, class by class."""
    heading, counts = el("h2", "How good it is"), sentences.judging_counts(result)
    if counts is None:
        return [heading, el("p", sentences.no_figures(result))]
    is_simulated = sentences.is_simulated(result)
    on = "the test cases" if is_simulated else "the validation cases of all sites, summed"
    pooled_counts = result["counts"]["test"].get("pooled") if is_simulated else None
    outcomes = _findings if sentences.has_findings(result) else _confusion
    charts_row: list[Child] = []
    for i, one in enumerate(counts["classes"]):
        label = result["labels"][one["class"]]
        if not one["roc"]:
            charts_row.append(el("p", f"{label}: no ROC curve, for a class has no cases."))
            continue
        charts_row += [
            _roc(label, one, pooled_counts["classes"][i] if pooled_counts else None, counts),
            _calibration(label, one),
            *([_decision(label, one)] if one.get("decision") else []),
        ]
    note = el("p", f"Over {on} together. {sentences.operating_point(result)}")
    return [heading, note, el("div", *charts_row, class_="charts"), *outcomes(result, counts)]


def _roc(label: str, one: Any, pooled_class: Any, counts: Any) -> Element:
    classes = [(STYLES["federated"], "federated", one)] + (
        [(STYLES["pooled"], "pooled", pooled_class)] if pooled_class else []
    )
    point = one.get("figures") or (counts["figures"] if len(counts["by_class"]) == 2 else None)
    legend = charts.legend([(style, el("span", f"{name}, AUC ", figure(c["auc"], c["auc_interval"])))
                            for style, name, c in classes])  # fmt: skip
    at_work = " The mark: the operating point." if point else ""
    below = f"Shaded: 95 % interval of the sensitivity at each threshold.{at_work}"
    title = f"ROC: {label}"
    return charts.captioned(title, charts.roc(title, classes, point), legend, below)


def _calibration(label: str, one: Any) -> Element:
    title = f"Calibration: {label}"
    below: list[Child] = []
    if one.get("ece") is not None:
        below = ["Expected calibration error ", figure(one["ece"]), ". "]
    below.append(
        "On the diagonal, 70 % of the cases called 70 % likely are so. Bars: how many cases. Whiskers: 95 % intervals."
    )
    return charts.captioned(title, charts.calibration(title, one["calibration"]), *below)


def _decision(label: str, one: Any) -> Element:
    title = f"Decision curve: {label}"
    below = (
        "Net benefit of acting on the cases above a probability: by the model, and on all; acting on none is worth 0."
    )
    legend = charts.legend([(STYLES["federated"], "by the model"), (STYLES["pooled"], "on all")])
    return charts.captioned(title, decision_curve.chart(title, one["decision"]), legend, below)


def _findings(result: Result, counts: Any) -> list[Element]:
    """A row a finding, over the cases that know it."""
    rows: list[list[Child]] = [
        [result["labels"][one["class"]], *map(count, reversed(one["by_class"])),
         *(with_interval(one["figures"], figure) for figure in SHOWN)]
        for one in counts["classes"]
    ]  # fmt: skip
    caption = "Every finding on the cases that know it, at its own operating point, with 95 % intervals"
    head = ["finding", "cases with it", "without", *(NAMES[figure] for figure in SHOWN)]
    return [el("h3", "Finding by finding"), table(caption, head, rows)]


def _confusion(result: Result, counts: Any) -> list[Element]:
    labels = result["labels"]
    rows: list[list[Child]] = [
        [f"is {name}", *(el("span", count(n), class_="right" if i == j else None) for j, n in enumerate(row))]
        for i, (name, row) in enumerate(zip(labels, counts["confusion"], strict=True))
    ]
    confusion_table = table(
        "Confusion counts: a row what it is, a column what the model says",
        ["truth", *(f"called {n}" for n in labels)],
        rows,
    )
    confusion_table[0].set("class", "confusion")
    figures: list[list[Child]] = [
        [NAMES.get(f, f), with_interval(counts["figures"], f)]
        for f in (*NAMES, *plugin_metric.names(result["config"]))
        if f in counts["figures"]
    ]
    follow = table("The figures that follow, with 95 % intervals", ["figure", "value"], figures)
    return [el("h3", "Confusion"), el("div", confusion_table, follow, class_="charts")]

"""How good a model is: its figures with their intervals, ROC curves, calibration, confusion."""

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from server.report import charts, sentences
from server.report.charts import STYLES
from server.report.markup import Child, count, el, figure, table
from server.report.sentences import Result

SHOWN = ("auc", "accuracy", "sensitivity", "specificity")
NAMES = {"auc": "AUC", "accuracy": "Accuracy", "sensitivity": "Sensitivity", "specificity": "Specificity"}


def with_interval(told: Mapping[str, Any], name: str) -> Element:
    """A figure with its interval and its deviation over seeds, where there are such."""
    return figure(told.get(name), told.get(f"{name}_interval"), told.get(f"{name}_sd"))


def section(result: Result) -> list[Element]:
    """The model that is judged, class by class."""
    heading, told = el("h2", "How good it is"), sentences.judged(result)
    if told is None:
        return [heading, el("p", "Nothing was evaluated, so nothing can be said.")]
    simulated = sentences.simulated(result)
    on = "the test cases" if simulated else "the validation cases of all sites, summed"
    pooled = result["counts"]["test"].get("pooled") if simulated else None
    drawn: list[Child] = []
    for i, one in enumerate(told["classes"]):
        label = result["labels"][one["class"]]
        if not one["roc"]:
            drawn.append(el("p", f"{label}: no ROC curve, for a class has no cases."))
            continue
        drawn += [_roc(label, one, pooled["classes"][i] if pooled else None, told), _calibration(label, one)]
    note = el("p", f"On {on}. {sentences.operating_point(result)}")
    return [heading, note, el("div", *drawn, class_="charts"), *_confusion(result, told)]


def _roc(label: str, one: Any, pooled: Any, told: Any) -> Element:
    classes = [(STYLES["federated"], "federated", one)] + ([(STYLES["pooled"], "pooled", pooled)] if pooled else [])
    point = told["figures"] if len(told["by_class"]) == 2 else None
    legend = charts.legend([(style, el("span", f"{name}, AUC ", figure(c["auc"], c["auc_interval"])))
                            for style, name, c in classes])  # fmt: skip
    at_work = " The mark: the operating point." if point else ""
    below = f"Shaded: 95 % interval of the sensitivity at each threshold.{at_work}"
    title = f"ROC: {label}"
    return charts.captioned(title, charts.roc(title, classes, point), legend, below)


def _calibration(label: str, one: Any) -> Element:
    title = f"Calibration: {label}"
    below = (
        "On the diagonal, 70 % of the cases called 70 % likely are so. Bars: how many cases. Whiskers: 95 % intervals."
    )
    return charts.captioned(title, charts.calibration(title, one["calibration"]), below)


def _confusion(result: Result, told: Any) -> list[Element]:
    labels = result["labels"]
    rows: list[list[Child]] = [
        [f"is {name}", *(el("span", count(n), class_="right" if i == j else None) for j, n in enumerate(row))]
        for i, (name, row) in enumerate(zip(labels, told["confusion"], strict=True))
    ]
    shown = table(
        "Confusion counts: a row what it is, a column what the model says",
        ["truth", *(f"called {n}" for n in labels)],
        rows,
    )
    shown[0].set("class", "confusion")
    figures: list[list[Child]] = [[NAMES[f], with_interval(told["figures"], f)] for f in SHOWN]
    follow = table("The figures that follow, with 95 % intervals", ["figure", "value"], figures)
    return [el("h3", "Confusion"), el("div", shown, follow, class_="charts")]

"""The figures of a result.json under the names that other tools have, for TensorBoard, MLflow and tables.

Figures on cases have scikit-learn's names; those of rounds stand under the heads of Flower's `Result`
(`train_metrics_clientapp`, `evaluate_metrics_clientapp`). One result, one list; every tool gets the same numbers.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

SKLEARN = {
    "auc": "roc_auc_score", "auprc": "average_precision_score", "accuracy": "accuracy_score",
    "balanced_accuracy": "balanced_accuracy_score", "f1": "f1_score", "sensitivity": "recall_score",
    "log_loss": "log_loss", "brier": "brier_score_loss",
}  # fmt: skip
"""By this program's name; those that scikit-learn has no function for (specificity, ece) keep their own."""
TRAIN, EVALUATE = "train_metrics_clientapp", "evaluate_metrics_clientapp"
FLOWER = {"loss": "eval_loss", "accuracy": "eval_acc"}


@dataclass(frozen=True)
class TrackedFigure:
    """One number."""

    tag: str
    """As TensorBoard and MLflow call it, such as `sites/Lisbon/federated/roc_auc_score`."""
    step: int
    """Its round; 0 for what the finished model reaches."""
    value: float
    name: str
    """This program's own, as result.json has it."""


def tracked(result: Mapping[str, Any]) -> list[TrackedFigure]:
    """Every figure of a run, simulated or real, that is defined."""
    return [*_of_rounds(result), *_of_models(result)]


def _of_rounds(result: Mapping[str, Any]) -> Iterator[TrackedFigure]:
    """Of each seed by itself, where there are several."""
    many = len(result.get("seeds") or ()) > 1
    for record in result["rounds"]:
        head = f"seed-{record['seed']}/" if many else ""
        if record["train_loss"] is not None:
            yield TrackedFigure(f"{head}{TRAIN}/train_loss", record["round"], record["train_loss"], "train_loss")
        for name, value in record["validation"].items():
            if _is_number(value):
                tag = FLOWER.get(name) or SKLEARN.get(name, name.replace(":", "/"))
                yield TrackedFigure(f"{head}{EVALUATE}/{tag}", record["round"], float(value), name)


def _of_models(result: Mapping[str, Any]) -> Iterator[TrackedFigure]:
    """What the models reach: at each site, on their mean, on all test cases; of a real run on the validation sum."""
    if "seeds" not in result:
        counts = (result.get("counts") or {}).get("validation") or {}
        yield from _figures("validation/federated", counts.get("figures") or {})
        return
    for site, ways in result["sites"].items():
        for way, figures in ways.items():
            if isinstance(figures, Mapping) and way in result["sites_mean"]:
                yield from _figures(f"sites/{site}/{way}", figures)
    for part in ("sites_mean", "test"):
        for way, figures in result[part].items():
            yield from _figures(f"{part}/{way}", figures)


def _figures(head: str, figures: Mapping[str, Any]) -> Iterator[TrackedFigure]:
    for name, value in figures.items():
        if _is_number(value):
            yield TrackedFigure(f"{head}/{SKLEARN.get(name, name.replace(':', '/'))}", 0, float(value), name)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_csv(figures: Sequence[TrackedFigure]) -> bytes:
    """A row for each figure, in full digits."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([field.name for field in fields(TrackedFigure)])
    rows.writerows(astuple(figure) for figure in figures)
    return text.getvalue().encode()


def settings(tree: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, str]]:
    """A configuration as dotted keys, for a tool that knows flat ones alone."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from settings(value, f"{head}{key}.")
        elif value is not None:
            yield f"{head}{key}", str(value)

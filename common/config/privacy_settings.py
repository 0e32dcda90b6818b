"""Section `privacy`: the budget of a run, and what a run with a budget must be."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from common.config.section import Frozen

Epsilon = Annotated[float, Field(gt=0.0, le=100.0)]
PRIVATE_ROUNDS = 22
"""Mean, second moments, and twenty gradients; without second moments the last is not used."""
PRIVATE_NETWORK_ROUNDS, LEAST_NETWORK_ROUNDS = 11, 2
"""Of a network, where the plan does not say: in the first patients are counted."""
NONE = "none"


class Privacy(Frozen):
    """What everybody outside of a hospital may learn of one patient at most, over the whole run (docs/privacy.md)."""

    epsilon: Epsilon
    """The smaller, the less: whatever was thought of a patient's part in it, the odds change by e^ε at most."""
    delta: Annotated[float, Field(gt=0.0, le=0.01)] = 1e-5
    """But for so small a chance; less than one in the number of patients."""
    of: Literal["patient", "image"] = "patient"
    """Whom the budget is for: all images of one patient at one hospital, or where none is named, each image."""
    sweep: tuple[Epsilon, ...] = ()
    """In a simulation, these ε one after the other beside the run itself, so that their price can be seen."""


def as_budget_asks(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with what follows from its budget, where it does not say it.

    The number of questions is part of what they cost, the model is evaluated once, and how images look is not gathered.
    """
    federation, model = tree.get("federation", {}), tree.get("model", {})
    if not isinstance(federation, Mapping):
        return dict(tree)
    is_network = isinstance(model, Mapping) and model.get("kind") == "cnn"
    rounds = federation.get("rounds", PRIVATE_NETWORK_ROUNDS) if is_network else PRIVATE_ROUNDS
    follows = {"rounds": rounds, "evaluate_every": rounds, "select": "last"}
    return {"likeness": False, **tree, "federation": {**follows, **federation}}


def refuse_what_a_budget_does_not_cover(training: Any) -> None:
    """Hold a training with a budget against what the budget covers.

    Raises:
        ValueError: naming the key, and what is expected.
    """
    model, federation = training.model, training.federation
    if model.kind == "cnn":
        _refuse_network(training)
    elif model.kind != "svm" or model.features != "unit" or model.loss not in ("logistic", "softmax"):
        raise ValueError(
            "privacy: expected model: {kind: svm, features: unit, loss: logistic} (softmax for more classes than two), "
            "or kind: cnn: other models are trained without a budget, which privacy: none says"
        )
    if model.multilabel:
        raise ValueError(
            "model.multilabel: a budget is for classes that exclude each other; privacy: none says no bound"
        )
    if any(getattr(step, "by", "") == "federated" for step in training.preprocess):
        raise ValueError(
            "preprocess: with privacy nobody sums pixels: leave out normalise by federated"
            + (", or take by: image" if model.kind == "cnn" else "; rows are centred and scaled by themselves")
        )
    rounds = federation.rounds if model.kind == "cnn" else PRIVATE_ROUNDS
    fixed = {"rounds": rounds, "evaluate_every": rounds, "select": "last", "fraction": 1.0}
    for name, value in fixed.items():
        if getattr(federation, name) != value:
            raise ValueError(f"federation.{name}: a run with privacy asks a fixed list of questions: leave it out")
    if federation.patience is not None:
        raise ValueError("federation.patience: a run with privacy is evaluated once, at its end: leave it out")
    if not federation.secure:
        raise ValueError("federation.secure: with privacy each site adds a share of the noise under masks: leave it on")
    if training.likeness:
        raise ValueError("likeness: how images look is not gathered under a budget: leave it out")
    if training.initial:
        raise ValueError("initial: with privacy a run begins at zero")
    if model.kind == "svm" and model.class_weight:
        raise ValueError("model.class_weight: with privacy nobody counts the cases of a class: leave it out")


def _refuse_network(training: Any) -> None:
    """What DP-SGD of single patients has no place for."""
    federation, local = training.federation, training.federation.local
    if training.model.dropout:
        raise ValueError("model.dropout: with privacy every step is noised already: leave it out")
    if federation.rounds < LEAST_NETWORK_ROUNDS:
        raise ValueError("federation.rounds: with privacy the first counts patients, expected 2 at least")
    if federation.strategy in ("scaffold", "fedprox"):
        raise ValueError("federation.strategy: with privacy expected fedavg, fedavgm, fedadam or fedyogi")
    if local.private or local.moments != "fresh":
        raise ValueError("federation.local: with privacy all layers are shared and moments are fresh in every round")

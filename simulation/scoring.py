"""A trained model on cases: its logits, its figures, its outcomes as counts."""

from typing import Any

from common.metrics import performance
from common.metrics.performance import Score
from common.models import Logits
from common.types import Cases
from server.results import outcome_counts
from simulation.experiment import Experiment, TrainedModel


def logits(experiment: Experiment, model: TrainedModel, cases: Cases) -> Logits:
    """A trained model's logits on cases as they are before the federated normalisation."""
    pipeline, normalisation = experiment.data.pipeline, model.normalisation
    if normalisation:
        pipeline = pipeline.with_statistics(normalisation["mean"], normalisation["variance"])
    return experiment.model.scores(model.weights, pipeline.after(cases.images))


def score(experiment: Experiment, model: TrainedModel, cases: Cases) -> Score:
    """A trained model's figures on test cases, at the operating point chosen on its validation counts."""
    return performance.score(logits(experiment, model, cases), cases.labels, model.threshold)


def outcomes(experiment: Experiment, model: TrainedModel, cases: Cases) -> dict[str, Any]:
    """A trained model's outcomes on test cases, as counts."""
    return outcome_counts.of_cases(logits(experiment, model, cases), cases.labels, model.threshold)

"""A trained model on cases: its logits, its figures, its outcomes as counts."""

from typing import Any

from common.metrics import performance
from common.metrics.performance import Score
from common.models import Logits
from common.types import Cases
from server.results import outcome_counts
from simulation.experiment import Experiment, Trained


def logits(experiment: Experiment, trained: Trained, cases: Cases) -> Logits:
    """A trained model's logits on cases as they are before the federated normalisation."""
    pipeline, normalisation = experiment.data.pipeline, trained.normalisation
    if normalisation:
        pipeline = pipeline.with_statistics(normalisation["mean"], normalisation["variance"])
    return experiment.model.scores(trained.weights, pipeline.after(cases.images))


def score(experiment: Experiment, trained: Trained, cases: Cases) -> Score:
    """A trained model's figures on test cases, at the operating point chosen on its validation counts."""
    return performance.score(logits(experiment, trained, cases), cases.labels, trained.threshold)


def outcomes(experiment: Experiment, trained: Trained, cases: Cases) -> dict[str, Any]:
    """A trained model's outcomes on test cases, as counts."""
    return outcome_counts.of_cases(logits(experiment, trained, cases), cases.labels, trained.threshold)

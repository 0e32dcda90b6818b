"""A trained model on cases: its logits, its figures, its outcomes as counts."""

from typing import Any

import numpy as np

from common.metrics import performance
from common.metrics.performance import Score
from common.models import Logits
from common.types import Cases, Labels
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


def score_all(experiment: Experiment, model: TrainedModel) -> Score:
    """A trained model's figures on all test cases."""
    return performance.score(*_on_all_tests(experiment, model), model.threshold)


def outcomes(experiment: Experiment, model: TrainedModel) -> dict[str, Any]:
    """A trained model's outcomes on all test cases, as counts."""
    return outcome_counts.of_cases(*_on_all_tests(experiment, model), model.threshold)


def _on_all_tests(experiment: Experiment, model: TrainedModel) -> tuple[Logits, Labels]:
    """Logits with labels; where sites have private layers, of each site's test cases as its own model scores them."""
    if not model.private:
        return logits(experiment, model, experiment.data.test), experiment.data.test.labels
    scored = [(logits(experiment, model.at(s.name), s.test), s.test.labels) for s in experiment.data.sites]
    return np.concatenate([one for one, _ in scored]), np.concatenate([labels for _, labels in scored])

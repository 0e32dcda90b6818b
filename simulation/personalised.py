"""What each site makes of the federated model for itself: fine-tuned, mixed with the site's own."""

from dataclasses import dataclass, replace

from client.training.personalise import Mix, choose_mix, fine_tune
from common.metrics import performance
from common.metrics.performance import Score, Threshold
from common.types import Cases, SiteCases
from simulation.experiment import Experiment, TrainedModel
from simulation.scoring import logits


@dataclass(frozen=True)
class Personalised:
    """A site's two models, and how it mixes them."""

    local: TrainedModel
    """TrainedModel by the site alone."""
    federated: TrainedModel
    """Fine-tuned where the configuration asks for it."""
    mix: Mix
    threshold: Threshold
    """The operating point of the mixture."""


def personalise(
    experiment: Experiment, cases: SiteCases, local: TrainedModel | None, federated: TrainedModel
) -> Personalised:
    """One site's personalised model, as far as the configuration asks for one."""
    tuned = _fine_tuned(experiment, cases, federated)
    local = local or tuned
    labels = cases.validation.labels
    own_logits = logits(experiment, local, cases.validation)
    federated_logits = logits(experiment, tuned, cases.validation)
    mix = choose_mix(own_logits, federated_logits, labels) if experiment.config.personalise.mix else Mix(0.0)
    if not mix.own_share and tuned is federated:
        return Personalised(local, tuned, mix, federated.threshold)
    counts = performance.count(mix(own_logits, federated_logits), labels)
    threshold = performance.operating_point(counts, experiment.config.operating_point)
    return Personalised(local, tuned, mix, threshold)


def score_personalised(experiment: Experiment, personalised: Personalised, cases: Cases) -> Score:
    """A personalised model's figures on test cases."""
    local = logits(experiment, personalised.local, cases)
    federated = logits(experiment, personalised.federated, cases)
    return performance.score(personalised.mix(local, federated), cases.labels, personalised.threshold)


def _fine_tuned(experiment: Experiment, cases: SiteCases, federated: TrainedModel) -> TrainedModel:
    """The federated model, fine-tuned at one site where the configuration asks for it."""
    config, model = experiment.config, experiment.model
    if not config.personalise.fine_tune_epochs or config.model.kind == "svm":
        return federated
    site = experiment.site(cases)
    train = site.ready("train", federated.normalisation)
    validation = site.ready("validation", federated.normalisation)
    weights = fine_tune(
        model, federated.weights, train, validation, config.personalise, config.federation.local, experiment.seed
    )
    return replace(federated, weights=weights)

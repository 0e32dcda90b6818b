"""What each site makes of the federated model for itself: fine-tuned, blended with the site's own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from client.training.personalise import UNCHANGED, Blend, Scored, choose_blend, fine_tune, heads_near
from common.metrics import performance
from common.metrics.performance import Threshold
from common.models import Logits
from common.types import Cases, SiteCases
from simulation.experiment import Experiment, TrainedModel
from simulation.scoring import logits


@dataclass(frozen=True)
class Personalised:
    """A site's models, and how it blends them."""

    models: Mapping[str, TrainedModel]
    """By part of the blend; the federated one fine-tuned where the configuration asks for it."""
    blend: Blend
    threshold: Threshold
    """The operating point of the blend."""

    def logits(self, experiment: Experiment, cases: Cases) -> dict[str, Logits]:
        """Of every part, on cases as they are before the federated normalisation."""
        return {name: logits(experiment, model, cases) for name, model in self.models.items()}


def personalise(
    experiment: Experiment, cases: SiteCases, local: TrainedModel | None, federated: TrainedModel
) -> Personalised:
    """One site's personalised model, as far as the configuration asks for one."""
    tuned = _fine_tuned(experiment, cases, federated)
    models = {"federated": tuned}
    if experiment.config.personalise.mix and local is not None:
        models = {"own": local, **models, **_heads(experiment, cases, tuned)}
    personalised = Personalised(models, UNCHANGED, federated.threshold)
    if len(models) == 1 and tuned is federated:
        return personalised
    validation = Scored(personalised.logits(experiment, cases.validation), cases.validation.labels)
    if len(models) > 1:
        train = Scored({"federated": logits(experiment, tuned, cases.train)}, cases.train.labels)
        personalised = replace(personalised, blend=choose_blend(train, validation, experiment.data.labels))
    if personalised.blend.is_unchanged and tuned is federated:
        return personalised  # with the federated operating points: they stand on more cases
    counts = performance.count(personalised.blend(validation.logits), validation.labels)
    return replace(personalised, threshold=performance.operating_point(counts, experiment.config.operating_point))


def _heads(experiment: Experiment, cases: SiteCases, federated: TrainedModel) -> dict[str, TrainedModel]:
    """Linear heads between the site's own and the federated one."""
    if not experiment.config.personalise.ridge:
        return {}
    train = experiment.site(cases).ready("train", federated.normalisation)
    heads = heads_near(experiment.model, federated.weights, train, federated.strength)
    return {name: replace(federated, weights=weights) for name, weights in heads.items()}


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

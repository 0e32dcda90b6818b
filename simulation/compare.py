"""One seed of a simulation: train in every way that the configuration asks for, and score all on the same test cases.

Ways of training, as `result.json` names them: `local` (each site alone), `federated` (together), `personalised` (what
each site makes of the federated model), `noiseless` (the questions of a budget of privacy, answered without noise),
`pooled` (all images in one place). The last two only a simulation can have.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from common.metrics import performance
from common.metrics.performance import Score
from common.storage import tensorfile
from common.types import UNKNOWN, Cases, SiteCases, Tensors, cases_by_class
from server.results import outcome_counts, result_json
from server.results.result_json import SeedResult
from simulation.baselines import train_baselines
from simulation.experiment import PARTS, Experiment, TrainedModel
from simulation.model_file import save_model
from simulation.personalised import Personalised, personalise, score_personalised
from simulation.scoring import logits, outcomes, score, score_all
from simulation.together import train_together
from simulation.without_noise import sweep, train_without_noise


@dataclass(frozen=True)
class TrainedModels:
    """The models of all ways of training."""

    federated: TrainedModel
    noiseless: TrainedModel | None
    """Of a run with a budget of privacy, what the same questions give without noise."""
    pooled: TrainedModel | None
    local: Mapping[str, TrainedModel]
    """By site: a model trained on its images alone."""
    personalised: Mapping[str, Personalised]

    def global_models(self) -> dict[str, TrainedModel]:
        """The models that are the same at every site."""
        noiseless = {"noiseless": self.noiseless} if self.noiseless else {}
        return {"federated": self.federated} | noiseless | self._if_pooled()

    def baselines(self) -> dict[str, TrainedModel]:
        """What federated training is compared with."""
        return {f"local/{name}": model for name, model in self.local.items()} | self._if_pooled()

    def _if_pooled(self) -> dict[str, TrainedModel]:
        return {"pooled": self.pooled} if self.pooled else {}


def compare(experiment: Experiment) -> SeedResult:
    """Everything that one seed gives."""
    data, models = experiment.data, train_all(experiment)
    experiment.watch.advance(0, f"seed {experiment.seed}: every model on every site's cases", milestone=True)
    federated, baselines = models.federated, models.baselines()
    all_models = {"federated": federated} | baselines
    return SeedResult(
        seed=experiment.seed,
        sites={s.name: _scores_of_site(experiment, models, s) for s in data.sites},
        test=_scores_of_all(experiment, models),
        cases={s.name: {part: len(getattr(s, part)) for part in PARTS} for s in data.sites},
        by_class={s.name: _cases_by_class(s, len(data.labels)) for s in data.sites},
        label_counts={s.name: label_counts for s in data.sites if (label_counts := _label_counts(s))},
        counts={
            "validation": outcome_counts.of_sum(federated.counts, federated.threshold),
            "test": {way: outcomes(experiment, model) for way, model in models.global_models().items()},
        },
        blends={name: model.blend.as_json() for name, model in models.personalised.items()},
        rounds=[asdict(record) for record in federated.records],
        curves={name: [asdict(record) for record in model.records] for name, model in baselines.items()},
        best_round=federated.best_round,
        weights_sha256=hashlib.sha256(tensorfile.pack(federated.weights, {})).hexdigest(),
        cross_site=_cross_site_counts(experiment, all_models) if experiment.config.cross_site else None,
        statistics=asdict(federated.statistics) if federated.statistics else None,
        likeness=result_json.likeness(experiment.config.likeness, federated.likeness),
        early_end=federated.early_end,
        sweep=sweep(experiment, federated),
        operating_points={name: model.threshold for name, model in all_models.items()},
    )


def train_all(experiment: Experiment) -> TrainedModels:
    """Train in every way; the federated model is on disk before the others begin."""
    federated = train_together(experiment)
    save_model(experiment, "federated", federated)
    pooled_model, local = train_baselines(experiment)
    personalised = {
        s.name: personalise(experiment, s, local.get(s.name), federated.at(s.name)) for s in experiment.data.sites
    }
    return TrainedModels(federated, train_without_noise(experiment), pooled_model, local, personalised)


def _scores_of_all(experiment: Experiment, models: TrainedModels) -> dict[str, list[Score]]:
    """Figures on all test cases by way of training: one of a shared model, else one for each site's."""
    scores = {way: [score_all(experiment, model)] for way, model in models.global_models().items()}
    by_site = [_scores_of_own(experiment, models, s.name, experiment.data.test) for s in experiment.data.sites]
    return scores | {way: [scores_at[way] for scores_at in by_site] for way in by_site[0]}


def _scores_of_site(experiment: Experiment, models: TrainedModels, site: SiteCases) -> dict[str, Score]:
    """Figures on a site's own test cases."""
    scores = {way: score(experiment, m.at(site.name), site.test) for way, m in models.global_models().items()}
    return scores | _scores_of_own(experiment, models, site.name, site.test)


def _scores_of_own(experiment: Experiment, models: TrainedModels, site: str, cases: Cases) -> dict[str, Score]:
    """Figures of the models that are a site's own."""
    scores = {"personalised": score_personalised(experiment, models.personalised[site], cases)}
    if "local" in experiment.config.baselines:
        scores["local"] = score(experiment, models.local[site], cases)
    return scores


def _cases_by_class(site: SiteCases, classes: int) -> dict[str, list[int]]:
    return {part: cases_by_class(getattr(site, part).labels, classes).tolist() for part in PARTS}


def _label_counts(site: SiteCases) -> dict[str, list[int]]:
    """Cases that know each finding, where labels are of findings."""
    parts = {part: getattr(site, part).labels for part in PARTS}
    return {part: (labels != UNKNOWN).sum(axis=0).tolist() for part, labels in parts.items() if labels.ndim == 2}


def _cross_site_counts(experiment: Experiment, models: Mapping[str, TrainedModel]) -> dict[str, dict[str, Tensors]]:
    """Every model's outcomes on every site's validation cases, as counts."""

    def counts(model: TrainedModel, cases: Cases) -> Tensors:
        return performance.count(logits(experiment, model, cases), cases.labels)

    sites = experiment.data.sites
    return {name: {s.name: counts(model.at(s.name), s.validation) for s in sites} for name, model in models.items()}

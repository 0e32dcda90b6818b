"""One seed of a simulation: train in every way that the configuration asks for, and score all on the same test cases.

Ways of training, as `result.json` names them: `local` (each site alone), `federated` (together), `personalised` (what
each site makes of the federated model), `noiseless` (the questions of a budget of privacy, answered without noise),
`left_out` (all other sites together, so that the site is one that did not train), `pooled` (all images in one place).
The last three only a simulation can have.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from common.metrics import performance
from common.storage import tensorfile
from common.types import UNKNOWN, Cases, SiteCases, Tensors, cases_by_class
from server.results import outcome_counts, result_json
from server.results.cross_site import MOST_SITES
from server.results.paired_differences import PAIRS, Differences
from server.results.result_json import SeedResult
from simulation.baselines import train_baselines
from simulation.experiment import PARTS, Experiment, TrainedModel
from simulation.model_file import save_model, save_personalised
from simulation.personalised import Personalised, personalise
from simulation.scoring import ModelOutput, TestCases, logits, logits_on_tests, write_predictions, write_split
from simulation.together import train_left_out, train_together
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
    of_others: Mapping[str, TrainedModel]
    """By site: the federated model of all others."""

    def global_models(self) -> dict[str, TrainedModel]:
        """The models that are the same at every site."""
        noiseless = {"noiseless": self.noiseless} if self.noiseless else {}
        return {"federated": self.federated} | noiseless | self._if_pooled()

    def baselines(self) -> dict[str, TrainedModel]:
        """What federated training is compared with."""
        alone = {f"local/{name}": model for name, model in self.local.items()}
        others = {f"left_out/{name}": model for name, model in self.of_others.items()}
        return alone | others | self._if_pooled()

    def _if_pooled(self) -> dict[str, TrainedModel]:
        return {"pooled": self.pooled} if self.pooled else {}


def compare(experiment: Experiment) -> SeedResult:
    """Everything that one seed gives."""
    data = experiment.data
    write_split(experiment)
    models = train_all(experiment)
    experiment.watch.advance(0, f"seed {experiment.label}: every model on every site's cases", milestone=True)
    federated, baselines = models.federated, models.baselines()
    all_models = {"federated": federated} | baselines
    curves = {name: model for name, model in baselines.items() if not name.startswith("left_out")}
    outputs, tests = outputs_of(experiment, models), TestCases.of(experiment)
    write_predictions(experiment, outputs)
    ways = {way: [name for name in outputs if name.partition("/")[0] == way] for way in result_json.APPROACHES}
    sites = {s.name: _of_site(outputs, s.name) for s in data.sites}
    return SeedResult(
        seed=experiment.label,
        sites={name: {way: tests.score(out, name) for way, out in of.items()} for name, of in sites.items()},
        test={way: [tests.score(outputs[name]) for name in names] for way, names in ways.items() if names},
        differences=_differences(tests, sites),
        cases={s.name: {part: len(getattr(s, part)) for part in PARTS} for s in data.sites},
        by_class={s.name: _cases_by_class(s, len(data.labels)) for s in data.sites},
        label_counts={s.name: label_counts for s in data.sites if (label_counts := _label_counts(s))},
        counts={
            "validation": outcome_counts.of_sum(federated.counts, federated.threshold, experiment.config.metrics),
            "test": {way: tests.outcomes(outputs[way]) for way in models.global_models()},
        },
        blends={name: model.blend.as_json() for name, model in models.personalised.items()},
        rounds=[asdict(record) for record in federated.records],
        curves={name: [asdict(record) for record in model.records] for name, model in curves.items()},
        best_round=federated.best_round,
        weights_sha256=hashlib.sha256(tensorfile.pack(federated.weights, {})).hexdigest(),
        cross_site=_cross_site_counts(experiment, all_models) if experiment.config.cross_site else None,
        statistics=asdict(federated.statistics) if federated.statistics else None,
        likeness=result_json.likeness(experiment.config.likeness, federated.likeness),
        early_end=federated.early_end,
        sweep=sweep(experiment, federated),
        operating_points={name: output.threshold for name, output in outputs.items()},
    )


def train_all(experiment: Experiment) -> TrainedModels:
    """Train in every way; the federated model is on disk before the others begin."""
    federated = train_together(experiment)
    save_model(experiment, "federated", federated)
    pooled_model, local = train_baselines(experiment)
    personalised = {
        s.name: personalise(experiment, s, local.get(s.name), federated.at(s.name)) for s in experiment.data.sites
    }
    of_others = train_left_out(experiment) if "left_out" in experiment.config.baselines else {}
    models = TrainedModels(federated, train_without_noise(experiment), pooled_model, local, personalised, of_others)
    for name, model in (models.global_models() | models.baselines()).items():
        save_model(experiment, name.replace("/", "-"), model)
    for site, blended in personalised.items():
        save_personalised(experiment, f"personalised-{site}", blended.models, blended.blend, blended.threshold)
    return models


def outputs_of(experiment: Experiment, models: TrainedModels) -> dict[str, ModelOutput]:
    """What each model says of all test cases, by way of training, and site where each has its own."""
    single = models.global_models() | models.baselines()
    outputs = {name: ModelOutput(logits_on_tests(experiment, m), m.threshold) for name, m in single.items()}
    for site, model in models.personalised.items():
        blended = model.blend(model.logits(experiment, experiment.data.test))
        outputs[f"personalised/{site}"] = ModelOutput(blended, model.threshold)
    return outputs


def _of_site(outputs: Mapping[str, ModelOutput], site: str) -> dict[str, ModelOutput]:
    """By way of training the model that a site has."""
    return {name.partition("/")[0]: out for name, out in outputs.items() if name.partition("/")[2] in ("", site)}


def _differences(tests: TestCases, sites: Mapping[str, Mapping[str, ModelOutput]]) -> Differences:
    """Of each pair of ways that all sites have, how much larger the first one's AUC is at each site."""
    ways = set.intersection(*(set(of) for of in sites.values()))
    return {
        (way, against): {name: tests.difference(of[against], of[way], name) for name, of in sites.items()}
        for way, against in PAIRS
        if {way, against} <= ways
    }


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
    rows = {name: model for name, model in models.items() if len(sites) <= MOST_SITES or "/" not in name}
    return {name: {s.name: counts(model.at(s.name), s.validation) for s in sites} for name, model in rows.items()}

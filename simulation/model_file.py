"""A trained model on disk: its weights, and what is needed to use them."""

import json
from collections.abc import Mapping

from client.training.personalise import Blend
from common.metrics import performance
from common.metrics.performance import Threshold
from common.storage import tensorfile
from common.types import prefixed
from server.results import result_json
from simulation.experiment import Experiment, TrainedModel


def save_model(experiment: Experiment, name: str, model: TrainedModel) -> None:
    """Write `<name>.safetensors`: weights, normalisation, labels, operating point, and what the images looked like."""
    path = experiment.folder / f"{name}.safetensors"
    about = _about(experiment, model.strength, model.threshold)
    result_json.save_model(path, model.weights, model.normalisation, model.likeness, model.counts, about)


def save_personalised(
    experiment: Experiment, name: str, parts: Mapping[str, TrainedModel], blend: Blend, threshold: Threshold
) -> None:
    """Write a site's blend: the weights of every part under its name, and in the header what their logits count."""
    arrays = {
        f"{part}/{key}": value
        for part, model in parts.items()
        for key, value in prefixed("weights", model.weights).items()
    }
    arrays |= {
        f"{part}/{key}": value
        for part, model in parts.items()
        for key, value in prefixed("recipe", model.normalisation).items()
    }
    about = _about(experiment, parts["federated"].strength, threshold) | {"blend": json.dumps(blend.as_json())}
    tensorfile.save(experiment.folder / f"{name}.safetensors", arrays, about)


def _about(experiment: Experiment, strength: float | None, threshold: Threshold) -> dict[str, str]:
    config = experiment.config.model_for(experiment.seed)
    return {
        "model": (config.model_copy(update={"C": strength}) if strength else config).model_dump_json(),
        "preprocess": experiment.data.pipeline.fingerprint(),
        "labels": "\n".join(experiment.data.labels),
        "shape": "×".join(map(str, experiment.data.sites[0].train.images.shape[1:])),
        "threshold": performance.threshold_text(threshold),
        "origin": experiment.data.origin,
    }

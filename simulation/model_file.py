"""A trained model on disk: its weights, and what is needed to use them."""

from common.metrics import performance
from server.results import result_json
from simulation.experiment import Experiment, TrainedModel


def save_model(experiment: Experiment, name: str, model: TrainedModel) -> None:
    """Write `<name>.safetensors`: weights, normalisation, labels, operating point, and what the images looked like."""
    config = experiment.config.model_for(experiment.seed)
    about = {
        "model": (config.model_copy(update={"C": model.strength}) if model.strength else config).model_dump_json(),
        "preprocess": experiment.data.pipeline.fingerprint(),
        "labels": "\n".join(experiment.data.labels),
        "shape": "×".join(map(str, experiment.data.sites[0].train.images.shape[1:])),
        "threshold": performance.threshold_text(model.threshold),
        "origin": experiment.data.origin,
    }
    path = experiment.folder / f"{name}.safetensors"
    result_json.save_model(path, model.weights, model.normalisation, model.likeness, model.counts, about)

"""Where in an image the answer of a shared model comes from."""

import numpy as np

from client.prediction.outcome import Outcome
from common.encoders import encoder_library
from common.imaging import geometry
from common.imaging.window import LEAST_DEVIATION
from common.models import Evidence, Model
from common.models.svm import LinearSvm
from common.package import ModelPackage


def evidence_of(package: ModelPackage, model: Model, outcome: Outcome) -> Evidence:
    """What the model says of it; where an encoder looks at the image first, through the encoder."""
    network_input = package.pipeline.after(outcome.model_input)[:]
    if package.pipeline.embed is None or not isinstance(model, LinearSvm):
        return model.evidence(package.weights, network_input, outcome.label)
    return _through_encoder(package, model.slopes(package.weights, network_input, outcome.label), outcome)


def _through_encoder(package: ModelPackage, slopes: np.ndarray, outcome: Outcome) -> Evidence:
    """A map of the image that sums to f(x) - f(average image): class activation maps (Zhou et al., CVPR 2016).

    Exact, since the model sees means of the layers' maps: each place of a map adds its share to the mean.
    """
    from common.encoders.encoder_network import network

    step, statistics = package.pipeline.embed, package.pipeline.statistics
    if step is None or step.sha256 is None:
        raise ValueError("this package has no encoder")
    maps = network(encoder_library.load(step.sha256), step.layers).maps(
        package.pipeline.encoder_input([outcome.picture])
    )
    mean: np.ndarray = np.zeros(len(slopes), np.float32)
    deviation: np.ndarray = np.ones(len(slopes), np.float32)
    if statistics:
        mean = np.broadcast_to(statistics.mean.reshape(-1), mean.shape)
        deviation = np.maximum(np.broadcast_to(statistics.deviation.reshape(-1), mean.shape), LEAST_DEVIATION)
    height, width = maps[0].shape[1:3]
    heat, first = np.zeros((height, width)), 0
    for layer in maps:
        part = slice(first, first := first + layer.shape[3])
        shares = ((layer - mean[part]) * (slopes / deviation)[part]).sum(axis=3, keepdims=True)
        heat += geometry.resize(shares.astype(np.float32), height, width)[0, ..., 0]
    return Evidence((heat / heat.size).astype(np.float32), is_signed=True)

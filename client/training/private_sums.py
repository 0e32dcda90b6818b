"""What a site sums under a budget of privacy, before the noise that is added where it is masked.

noised-mean, -gram, -gradient    of a linear head (`common.models.unit_head`)
noised-count                     the patients, for a network
noised-train                     what a network's weights moved; its noise is in every step of it already
noised-outcomes                  a finished model's histograms, over validation patients
"""

from collections.abc import Callable

import numpy as np

from common.config import Local
from common.errors import PolicyError, WireError
from common.messages.transport import Request
from common.metrics import noised_outcomes
from common.models import Model, Work
from common.models.private_network import PrivateNetwork
from common.models.unit_head import UnitHead
from common.privacy.price_list import SampledSteps
from common.types import Cases, Tensors, prefixed, under


def private_sum(model: Model, cases: Cases, request: Request) -> Tensors:
    """The sums that a question of a budget asks for, as they are.

    Raises:
        WireError: the configured model has no such sums.
    """
    return SUMS[request.kind](model, cases, request)


def weight_change(model: Model, cases: Cases, request: Request, local: Local, steps: SampledSteps | None) -> Tensors:
    """`delta/…`: what a network's weights moved.

    Args:
        steps: of the signed plan.

    Raises:
        PolicyError: the plan asks for no such steps.
        WireError: the configured model is no network.
    """
    if steps is None:
        raise PolicyError("no-account", f"asked for '{request.kind}', and the plan has no steps of DP-SGD.")
    weights, settings = under("weights", request.tensors), request.settings
    work = Work(local, float(settings["learning_rate"]), seed=0)
    new = _network(model).fit_privately(weights, cases, work, steps, max(1.0, float(settings["patients"])))
    return prefixed("delta", {name: new[name] - weights[name] for name in new})


def _mean(model: Model, cases: Cases, request: Request) -> Tensors:
    return _head(model).mean_sum(cases.images, cases.shares())


def _gram(model: Model, cases: Cases, request: Request) -> Tensors:
    return _head(model).gram_sum(under("weights", request.tensors), cases.images, cases.shares())


def _gradient(model: Model, cases: Cases, request: Request) -> Tensors:
    return _head(model).gradient_sum(under("weights", request.tensors), cases, cases.shares())


def _count(model: Model, cases: Cases, request: Request) -> Tensors:
    _network(model)
    return {"count": np.array([cases.shares().sum()])}


def _outcomes(model: Model, cases: Cases, request: Request) -> Tensors:
    logits = model.scores(under("weights", request.tensors), cases.images)
    return noised_outcomes.count(logits, cases.labels, cases.shares())


SUMS: dict[str, Callable[[Model, Cases, Request], Tensors]] = {
    "noised-mean": _mean,
    "noised-gram": _gram,
    "noised-gradient": _gradient,
    "noised-count": _count,
    "noised-outcomes": _outcomes,
}


def _head(model: Model) -> UnitHead:
    if not isinstance(model, UnitHead):
        raise WireError("asked for a head's sums, but the configured model is another.")
    return model


def _network(model: Model) -> PrivateNetwork:
    if not isinstance(model, PrivateNetwork):
        raise WireError("asked for a network's training, but the configured model is another.")
    return model

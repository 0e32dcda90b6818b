"""From a configuration to what the round loop needs, and a whole run with real sites."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.config import Config, Svm
from common.errors import DataError
from common.imaging import Pipeline
from common.models import Model, build
from common.models.svm import LinearSvm
from common.transport import Transport
from server import checkpoint, federation
from server.algorithm import Algorithm
from server.averaging import Averaging
from server.federation import Plan, RoundRecord
from server.solver import SvmSolver


@dataclass(frozen=True, order=True)
class About:
    """What a site says of itself; all but the name must be the same at every site."""

    site: str
    labels: tuple[str, ...]
    shape: tuple[int, int, int]
    """Of an image after preprocessing."""
    recipe: str
    """The preprocessing's fingerprint."""


def make_plan(config: Config, pipeline: Pipeline, seed: int, transport: Transport) -> Plan:
    """A run's constants; asks the sites for the sums behind a federated mean and variance where the recipe has them."""
    plan = Plan(config.federation, seed, pipeline.fingerprint(), {})
    return replace(plan, recipe=federation.statistics(plan, transport)) if pipeline.needs_statistics else plan


def make_algorithm(config: Config, model: Model, seed: int, transport: Transport) -> Algorithm:
    """Averaging for the CNN, the solver on summed derivatives for the SVM."""
    if isinstance(config.model, Svm) and isinstance(model, LinearSvm):
        return SvmSolver(config.model, model, transport.sites(), config.federation.quorum)
    return Averaging(config.federation, model, seed, len(transport.sites()))


def coordinate(config: Config, transport: Transport, sites: Sequence[About], folder: Path) -> Iterator[RoundRecord]:
    """Train with real sites by the configuration's first seed; goes on from the checkpoint in the folder, if any.

    Raises:
        DataError: sites that differ in labels, image size or preprocessing.
    """
    first, seed = sites[0], config.seeds[0]
    for other, what in itertools.product(sites, ("labels", "shape", "recipe")):
        if getattr(other, what) != getattr(first, what):
            raise DataError(
                f"sites {first.site} and {other.site} differ in {what}: {getattr(first, what)} and "
                f"{getattr(other, what)}. Bring `data.labels` and `preprocess` to the same state at every site."
            )
    model = build(config.model_for(seed), first.shape, len(first.labels), config.augment)
    plan = make_plan(config, Pipeline(config.preprocess), seed, transport)
    algorithm = make_algorithm(config, model, seed, transport)
    path, digest = folder / "federated.checkpoint", config.digest()
    found = checkpoint.load(path, transport.sites(), digest)
    for standing in federation.run(plan, algorithm, transport, found[0] if found else None):
        checkpoint.save(path, standing, transport.states, digest)
        yield standing.records[-1]

"""From a configuration to what the round loop needs, and a whole run with real sites."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from common.config import Config, Svm
from common.enrolment import Consortium
from common.errors import ConfigError, DataError
from common.exchanges import exchanges
from common.imaging import Pipeline
from common.models import Model, build
from common.models.svm import LinearSvm
from common.transport import Transport
from server import checkpoint, federation
from server.algorithm import Algorithm
from server.averaging import Averaging
from server.federation import Plan, RoundRecord
from server.gathering import Aggregator
from server.secure import SecureSum
from server.solver import PATIENCE, SvmSolver


@dataclass(frozen=True, order=True)
class About:
    """What a site says of itself; all but the name must be the same at every site."""

    site: str
    labels: tuple[str, ...]
    shape: tuple[int, int, int]
    """Of an image after preprocessing."""
    recipe: str
    """The preprocessing's fingerprint."""


def make_plan(config: Config, pipeline: Pipeline, seed: int, aggregator: Aggregator) -> Plan:
    """A run's constants; asks the sites for the sums behind a federated mean and variance where the recipe has them."""
    plan = Plan(config.federation, seed, pipeline.fingerprint(), {})
    return replace(plan, recipe=federation.statistics(plan, aggregator)) if pipeline.needs_statistics else plan


def make_algorithm(config: Config, model: Model, seed: int, sites: Sequence[str]) -> Algorithm:
    """Averaging for the CNN, the solver on summed derivatives for the SVM."""
    plan = config.federation
    if isinstance(config.model, Svm) and isinstance(model, LinearSvm):
        # The sums with and without a site at one point differ by that site's own: none is counted out under masks.
        patience = plan.rounds + 1 if plan.secure else PATIENCE
        return SvmSolver(config.model, model, sites, plan.quorum, patience)
    return Averaging(plan, model, seed, len(sites))


def make_secure(
    config: Config, model: Model, about: tuple[Sequence[int], int], transport: Transport, consortium: Consortium
) -> SecureSum:
    """The aggregator of a run.

    Args:
        about: an image's shape, and the number of classes.
    """
    shape, classes = about
    # A share of the sites is another cohort each round, and keys are for one cohort.
    asked = 2 * config.federation.rounds + 1 if config.federation.fraction == 1 else 1
    layouts = partial(exchanges, config, model, shape, classes)
    return SecureSum(
        transport, consortium, layouts, bytes.fromhex(config.digest()), min(asked, config.federation.epoch_rounds)
    )


def coordinate(
    config: Config, transport: Transport, sites: Sequence[About], consortium: Consortium, folder: Path
) -> Iterator[RoundRecord]:
    """Train with real sites by the configuration's first seed; goes on from the checkpoint in the folder, if any.

    Raises:
        ConfigError: secure aggregation switched off, which no real site answers.
        DataError: sites that differ in labels, image size or preprocessing.
    """
    if not config.federation.secure:
        raise ConfigError("federation.secure: false, expected true: it can be switched off in a simulation alone.")
    first, seed = sites[0], config.seeds[0]
    for other, what in itertools.product(sites, ("labels", "shape", "recipe")):
        if getattr(other, what) != getattr(first, what):
            raise DataError(
                f"sites {first.site} and {other.site} differ in {what}: {getattr(first, what)} and "
                f"{getattr(other, what)}. Bring `data.labels` and `preprocess` to the same state at every site."
            )
    model = build(config.model_for(seed), first.shape, len(first.labels), config.augment)
    aggregator = make_secure(config, model, (first.shape, len(first.labels)), transport, consortium)
    plan = make_plan(config, Pipeline(config.preprocess), seed, aggregator)
    algorithm = make_algorithm(config, model, seed, transport.sites())
    path, digest = folder / "federated.checkpoint", config.digest()
    found = checkpoint.load(path, transport.sites(), digest)
    for standing in federation.run(plan, algorithm, aggregator, found[0] if found else None):
        checkpoint.save(path, standing, transport.states, digest)
        yield standing.records[-1]

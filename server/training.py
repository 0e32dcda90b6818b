"""From a configuration to what the round loop needs."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from common.config import Svm, Training
from common.enrolment import Consortium
from common.exchanges import exchanges
from common.imaging import Pipeline
from common.models import Model
from common.models.svm import LinearSvm
from common.transport import Transport
from server import federation
from server.algorithm import Algorithm
from server.averaging import Averaging
from server.federation import Plan
from server.gathering import Aggregator
from server.secure import SecureSum
from server.solver import PATIENCE, SvmSolver


def make_plan(config: Training, pipeline: Pipeline, seed: int, aggregator: Aggregator) -> Plan:
    """A run's constants; asks the sites for the sums behind a federated mean and variance where the recipe has them."""
    plan = Plan(config.federation, seed, pipeline.fingerprint(), {})
    return replace(plan, recipe=federation.statistics(plan, aggregator)) if pipeline.needs_statistics else plan


def make_algorithm(config: Training, model: Model, seed: int, sites: Sequence[str]) -> Algorithm:
    """Averaging for the CNN, the solver on summed derivatives for the SVM."""
    plan = config.federation
    if isinstance(config.model, Svm) and isinstance(model, LinearSvm):
        # The sums with and without a site at one point differ by that site's own: none is counted out under masks.
        patience = plan.rounds + 1 if plan.secure else PATIENCE
        return SvmSolver(config.model, model, sites, plan.quorum, patience)
    return Averaging(plan, model, seed, len(sites))


def make_secure(
    config: Training, model: Model, about: tuple[Sequence[int], int], transport: Transport, consortium: Consortium,
    digest: bytes,
) -> SecureSum:  # fmt: skip
    """The aggregator of a run.

    Args:
        about: an image's shape, and the number of classes.
        digest: 32 bytes that stand for all that was agreed on.
    """
    shape, classes = about
    # A share of the sites is another cohort each round, and keys are for one cohort.
    asked = 2 * config.federation.rounds + 1 if config.federation.fraction == 1 else 1
    layouts = partial(exchanges, config, model, shape, classes)
    return SecureSum(transport, consortium, layouts, digest, min(asked, config.federation.epoch_rounds))

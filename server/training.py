"""From a configuration to what the round loop needs: the run's constants and its algorithm."""

from dataclasses import replace

from common.config import Config, Svm
from common.imaging import Pipeline
from common.models import Model
from common.models.svm import LinearSvm
from common.transport import Transport
from server import federation
from server.algorithm import Algorithm
from server.averaging import Averaging
from server.federation import Plan
from server.solver import SvmSolver


def make_plan(config: Config, pipeline: Pipeline, seed: int, transport: Transport) -> Plan:
    """A run's constants; asks the sites for the sums behind a federated mean and variance where the recipe has them."""
    plan = Plan(config.federation, seed, pipeline.fingerprint(), {})
    return replace(plan, recipe=federation.statistics(plan, transport)) if pipeline.needs_statistics else plan


def make_algorithm(config: Config, model: Model, seed: int, transport: Transport) -> Algorithm:
    """Averaging for the CNN, the solver on summed derivatives for the SVM."""
    if isinstance(config.model, Svm) and isinstance(model, LinearSvm):
        return SvmSolver(config.model, model, transport.sites(), config.federation.quorum)
    return Averaging(config.federation, model, seed, len(transport.sites()))

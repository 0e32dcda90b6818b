"""All sites of a simulation train together: the federation as it is deployed, on one machine.

The sites answer as `client/training/` does at a hospital, masked under secure aggregation with keys that are made up
for the run; the loop is the coordinator's own (`server/rounds/loop.py`). What carries the messages is this process, or
Flower's simulation engine (Ray): the weights are the same, bit for bit.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from client.training.auditing_site import AuditingSite
from client.training.noised_answer import account_in_memory
from client.training.run_binding import simulated_binding
from client.training.secure_site import SecuredSite
from common.messages.transport import Answer, InMemory, Misfortunes, Transport
from common.plans.approvals import Approvals
from common.plans.run_work import RunWork
from common.plans.simulated_run import simulated_approvals
from common.trust.enrolment import Consortium, Enrolment, simulated_consortium
from common.types import SiteCases
from server.rounds.aggregation import Aggregator, PlainSum
from server.rounds.secure_sum import SecureSum
from server.rounds.transcripts import Transcripts
from simulation.experiment import Experiment, TrainedModel
from simulation.train import train


def train_together(experiment: Experiment) -> TrainedModel:
    """The federated model: all sites, by the federation's settings, over the chosen engine."""
    config, sites = experiment.config, experiment.data.sites
    settings = config.federation.simulate
    misfortunes = Misfortunes(settings.drop, settings.slow, experiment.seed)
    secure = _simulated_consortium(experiment)
    enrolments = secure.enrolments if secure else {}

    def drive(transport: Transport) -> TrainedModel:
        return train(experiment, "federated", config, _aggregator(experiment, transport, secure))

    if experiment.engine == "memory":
        answers = {s.name: _answer(experiment, s, secure) for s in sites}
        return drive(InMemory(answers, workers=experiment.workers, misfortunes=misfortunes))
    from client import app as client_app  # Flower takes a second to import
    from server import app_simulated

    cores = (os.cpu_count() or 1) // experiment.workers
    engine = app_simulated.Engine(len(sites), config.federation.timeout_s, cores, misfortunes)
    approvals = secure.approvals.pack() if secure else b""
    return app_simulated.simulate(
        client_app.simulated_app(config, experiment.seed, enrolments, approvals), engine, drive
    )


def train_left_out(experiment: Experiment) -> dict[str, TrainedModel]:
    """By site, the model that all others train: what a hospital gets that did not take part.

    The sums are made in the clear where there is no budget of privacy; they are the same, and fewer sites do.
    """
    models = {}
    for site in experiment.data.sites:
        config = experiment.config
        if not config.budget:
            federation = config.federation.model_copy(update={"secure": False})
            config = config.model_copy(update={"federation": federation})
        folder = experiment.folder / f"left-out-{site.name}"
        others = replace(experiment, config=config, data=experiment.data.without(site.name), folder=folder)
        models[site.name] = train_together(others)
    return models


@dataclass(frozen=True)
class _Secure:
    """A consortium that is made up in memory for one run."""

    consortium: Consortium
    enrolments: Mapping[str, Enrolment]
    approvals: Approvals


def _simulated_consortium(experiment: Experiment) -> _Secure | None:
    """Keys, plan and approvals of this run; none where secure aggregation is switched off."""
    config = experiment.config
    if not config.federation.secure:
        return None
    names = [s.name for s in experiment.data.sites]
    consortium, enrolments = simulated_consortium(names, config.federation, bytes.fromhex(experiment.digest()))
    about = experiment.data.sites[0].train.images.shape[1:], experiment.data.labels
    cases = {s.name: len(s.train) for s in experiment.data.sites}
    approvals = simulated_approvals(config, experiment.seed, about, consortium, enrolments, cases)
    return _Secure(consortium, enrolments, approvals)


def _answer(experiment: Experiment, cases: SiteCases, secure: _Secure | None) -> Answer:
    """What answers for a site: masked, or in the clear without an enrolment; an auditor recomputes every model."""
    site = experiment.site(cases)
    if secure is None:
        return site.answer
    enrolment = secure.enrolments[cases.name]
    account = account_in_memory(experiment.config)
    secured = SecuredSite(site, enrolment, simulated_binding(secure.approvals, cases.name), account=account)
    return AuditingSite(secured).answer if enrolment.audit else secured.answer


def _aggregator(experiment: Experiment, transport: Transport, secure: _Secure | None) -> Aggregator:
    """What makes sums of the sites' answers; it keeps the messages where they are to be audited."""
    if secure is None:
        return PlainSum(transport)
    config, work = experiment.config, RunWork.of(secure.approvals, model=experiment.model)
    aggregator = SecureSum(transport, secure.consortium, secure.approvals, work.question_kinds)
    if not experiment.transcripts and not config.federation.simulate.auditors:
        return aggregator
    return replace(aggregator, transcripts=Transcripts(experiment.folder / "transcripts"))

"""All sites of a simulation train together: the federation as it is deployed, on one machine.

The sites answer as `client/training/` does at a hospital, masked under secure aggregation with keys that are made up
for the run; the loop is the coordinator's own (`server/rounds/loop.py`). What carries the messages is this process, or
Flower's simulation engine (Ray): the weights are the same, bit for bit.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from client.training.auditing_site import AuditingSite
from client.training.secure_site import SecuredSite, participant_of
from common.algorithms.course import Course
from common.messages.answer_layout import exchanges
from common.messages.transport import Answer, InMemory, Misfortunes, Transport
from common.trust.enrolment import Consortium, Enrolment, simulated_consortium
from common.types import SiteCases
from server.rounds.aggregation import Aggregator, PlainSum
from server.rounds.secure_sum import make_secure
from server.rounds.transcripts import Transcripts
from simulation.experiment import Experiment, TrainedModel
from simulation.train import train


def train_together(experiment: Experiment) -> TrainedModel:
    """The federated model: all sites, by the federation's settings, over the chosen engine."""
    config, sites = experiment.config, experiment.data.sites
    settings = config.federation.simulate
    misfortunes = Misfortunes(settings.drop, settings.slow, experiment.seed)
    consortium, enrolments = _consortium(experiment)

    def drive(transport: Transport) -> TrainedModel:
        return train(experiment, "federated", config, _aggregator(experiment, transport, consortium))

    if experiment.engine == "memory":
        answers = {s.name: _answer(experiment, s, enrolments.get(s.name)) for s in sites}
        return drive(InMemory(answers, workers=experiment.workers, misfortunes=misfortunes))
    from client import app as client_app  # Flower takes a second to import
    from server import app_simulated

    cores = (os.cpu_count() or 1) // experiment.workers
    engine = app_simulated.Engine(len(sites), config.federation.timeout_s, cores, misfortunes)
    return app_simulated.simulate(client_app.simulated_app(config, experiment.seed, enrolments), engine, drive)


def _consortium(experiment: Experiment) -> tuple[Consortium | None, Mapping[str, Enrolment]]:
    """Keys for this run, made up in memory; none where secure aggregation is switched off."""
    if not experiment.config.federation.secure:
        return None, {}
    names = [s.name for s in experiment.data.sites]
    return simulated_consortium(names, experiment.config.federation, bytes.fromhex(experiment.digest()))


def _answer(experiment: Experiment, cases: SiteCases, enrolment: Enrolment | None) -> Answer:
    """What answers for a site: masked, or in the clear without an enrolment; an auditor recomputes every model."""
    site = experiment.site(cases)
    if enrolment is None:
        return site.answer
    config, model = experiment.config, experiment.model
    layouts = partial(exchanges, config, model, cases.train.images.shape[1:], len(experiment.data.labels))
    secured = SecuredSite(site, layouts, participant_of(enrolment))
    if not enrolment.audit:
        return secured.answer
    return AuditingSite(secured, partial(Course.of, config, model, experiment.seed)).answer


def _aggregator(experiment: Experiment, transport: Transport, consortium: Consortium | None) -> Aggregator:
    """What makes sums of the sites' answers; it keeps the messages where they are to be audited."""
    if consortium is None:
        return PlainSum(transport)
    config, data = experiment.config, experiment.data
    about = data.sites[0].train.images.shape[1:], len(data.labels)
    secure = make_secure(config, experiment.model, about, transport, consortium, bytes.fromhex(config.digest()))
    if not experiment.transcripts and not config.federation.simulate.auditors:
        return secure
    return replace(secure, transcripts=Transcripts(experiment.folder / "transcripts"))

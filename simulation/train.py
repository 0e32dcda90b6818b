"""The rounds of one training, with a checkpoint after each: whatever kills the program, `--resume` goes on from it."""

import logging
from dataclasses import asdict, replace

from common import refusals
from common.algorithms.course import Course
from common.config import Config
from common.metrics import performance
from common.models.private_layers import PRIVATE
from common.plans.first_weights import first_weights
from common.types import under
from server.rounds import checkpoint, loop
from server.rounds.aggregation import Aggregator
from server.rounds.loop import LoopState
from server.rounds.round_record import RoundRecord
from server.rounds.secure_sum import SecureSum
from simulation.experiment import Experiment, TrainedModel

log = logging.getLogger("consilium")


def train(experiment: Experiment, name: str, config: Config, aggregator: Aggregator) -> TrainedModel:
    """All rounds, from the checkpoint where there is one; `config` is the experiment's, or that of a single member."""
    path, digest = experiment.folder / f"{name}.checkpoint", experiment.digest()
    transport = aggregator.transport
    course = Course.of(config, experiment.model, experiment.seed, transport.sites())
    course = replace(course, initial=first_weights(config, experiment.model, experiment.data.labels))
    saved = checkpoint.load(path, transport.sites(), digest)
    if isinstance(aggregator, SecureSum) and aggregator.transcripts:
        # the sites go on from the checkpoint, so what was kept of later questions will be written again
        aggregator.transcripts.discard(since=saved[0].place.number if saved else 0)
    if saved:
        state, states = saved
        transport.states.update(states)
    else:
        state = loop.begin(course, aggregator)
    units = experiment.work(transport.sites()) / config.federation.rounds
    experiment.watch.skip(units * state.round)
    for state in loop.run(course, aggregator, state):  # noqa: B020 each goes on from the last
        checkpoint.save(path, state, transport.states, digest)
        record = state.records[-1]
        log.info("seed %d %s %s", experiment.seed, name, asdict(record))
        description = _description(name, record, config.federation.rounds)
        experiment.watch.advance(units, description, milestone=_is_first_evaluation(state))
    experiment.watch.skip(units * (config.federation.rounds - state.round))  # stopped early
    if isinstance(aggregator, SecureSum) and aggregator.transcripts and not experiment.transcripts:
        aggregator.transcripts.discard(since=0)
    return TrainedModel(
        weights=state.best,
        normalisation=state.normalisation,
        threshold=performance.operating_point(state.best_counts, config.operating_point),
        records=state.records,
        best_round=state.best_round,
        counts=state.best_counts,
        likeness=state.place.appearance,
        statistics=state.statistics,
        early_end=refusals.sentence(state.refusals, len(course.sites)),
        private={name: part for name, arrays in transport.states.items() if (part := under(PRIVATE, arrays))},
    )


def _is_first_evaluation(state: LoopState) -> bool:
    *before, last = state.records
    return bool(last.validation) and not any(record.validation for record in before)


def _description(name: str, record: RoundRecord, rounds: int) -> str:
    """A round in a few words, for the progress line."""
    text = f"{name}: round {record.round + 1} of {rounds}"
    absent = "; ".join(filter(None, (_refusals(record), f"{len(record.dropped)} silent" if record.dropped else "")))
    if record.void:
        return f"{text}, void ({absent or 'too few answered'})"
    if (auc := record.validation.get("auc")) is not None:
        text += f", validation AUC {auc:.3f}"
    return text + (f", {absent}" if absent else "")


def _refusals(record: RoundRecord) -> str:
    codes = ", ".join(sorted(set(record.refused.values())))
    return f"{len(record.refused)} refused: {codes}" if record.refused else ""

"""What a budget of privacy costs: the same questions without noise, and the same run at other budgets.

Both need what only a simulation has: exact sums in the clear, and cases that can be asked as often as one likes.
"""

from collections.abc import Mapping
from dataclasses import replace

from common.algorithms.course import Course
from common.algorithms.private_head import PrivateHead
from common.config import Privacy
from common.messages.transport import InMemory
from common.metrics import performance
from common.metrics.score import Score
from common.models.unit_head import UnitHead
from common.privacy.feasibility import doubt_of
from common.privacy.price_list import Schedule
from server.rounds import loop
from server.rounds.aggregation import PlainSum
from simulation.experiment import Experiment, TrainedModel
from simulation.scoring import score_all
from simulation.together import train_together


def schedule_of_experiment(experiment: Experiment) -> Schedule | None:
    """The questions of a run with a budget, with their prices; None where nothing is paid for."""
    sites = [cases.name for cases in experiment.data.sites]
    return Course.of(experiment.config, experiment.model, experiment.seed, sites).schedule


def doubt_of_budget(experiment: Experiment, schedule: Schedule) -> str:
    """That the budget cannot train, and which could; empty where it can."""
    patients = round(sum(float(cases.train.shares().sum()) for cases in experiment.data.sites))
    model = experiment.model
    numbers = model.length if isinstance(model, UnitHead) else sum(w.size for w in model.init(0).values())
    return doubt_of(schedule, patients, numbers)


def train_without_noise(experiment: Experiment) -> TrainedModel | None:
    """The model of the same questions, answered exactly; None where the run has no budget."""
    if experiment.config.budget is None:
        return None
    sites = {cases.name: experiment.site(cases) for cases in experiment.data.sites}
    transport = InMemory({name: site.answer for name, site in sites.items()}, workers=experiment.workers)
    exact = Course.of(experiment.config, experiment.model, experiment.seed, transport.sites())
    if isinstance(exact.algorithm, PrivateHead):
        exact = replace(exact, algorithm=replace(exact.algorithm, noise=False))
    elif exact.schedule and exact.schedule.steps:
        for site in sites.values():
            site.steps = replace(exact.schedule.steps, sigma=0.0)
    *_, end = loop.run(exact, PlainSum(transport))
    threshold = performance.operating_point(end.best_counts, experiment.config.operating_point)
    return TrainedModel(end.best, {}, threshold, end.records, end.best_round, end.best_counts)


def sweep(experiment: Experiment, federated: TrainedModel) -> Mapping[float, Score]:
    """Figures on all test cases at each of `privacy.sweep`, from large to small; empty where it is."""
    budget = experiment.config.budget
    if budget is None:
        return {}
    return {epsilon: score_all(experiment, _at(experiment, federated, budget, epsilon)) for epsilon in _falling(budget)}


def _falling(budget: Privacy) -> list[float]:
    return sorted(set(budget.sweep), reverse=True)


def _at(experiment: Experiment, federated: TrainedModel, budget: Privacy, epsilon: float) -> TrainedModel:
    if epsilon == budget.epsilon:
        return federated
    privacy = budget.model_copy(update={"epsilon": epsilon})
    config = experiment.config.model_copy(update={"privacy": privacy})
    return train_together(replace(experiment, config=config, folder=experiment.folder / f"epsilon-{epsilon:g}"))

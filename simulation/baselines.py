"""What federated training is compared with: each site alone, and all images pooled in one place.

The CNN runs the same loop with a single member. The SVM is solved by scikit-learn, which the federated solver must
equal.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from client.training.solved_alone import solve_alone
from common.algorithms.course import Course, for_one
from common.image_stack import join
from common.messages.transport import InMemory
from common.metrics import performance
from common.types import SiteCases
from server.rounds import loop
from server.rounds.aggregation import PlainSum
from simulation.experiment import PARTS, Experiment, TrainedModel
from simulation.shared_parts import SharedParts
from simulation.train import train


def train_baselines(experiment: Experiment) -> tuple[TrainedModel | None, dict[str, TrainedModel]]:
    """The pooled model and every site's own, as far as the configuration needs them; as many at a time as cores."""
    config, sites = experiment.config, experiment.data.sites
    members = [("pooled", pool(sites))] if "pooled" in config.baselines else []
    if "local" in config.baselines or config.personalise.mix:
        members += [(f"local-{s.name}", s) for s in sites]
    with ThreadPoolExecutor(experiment.workers) as threads:
        jobs = {name: threads.submit(_once, experiment, name, cases) for name, cases in members}
        try:
            models = {name: job.result() for name, job in jobs.items()}
        except BaseException:
            experiment.watch.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return models.pop("pooled", None), {name.removeprefix("local-"): model for name, model in models.items()}


def _once(experiment: Experiment, name: str, cases: SiteCases) -> TrainedModel:
    """The model of one member, from another run of the sweep where that has trained just the same one."""
    key, models = SharedParts.key_of(experiment.config, experiment.label, name), experiment.parts.models
    if key in models:
        experiment.watch.skip(experiment.work((cases.name,)))
    else:
        models[key] = train_alone(experiment, name, cases)
    model: TrainedModel = models[key]
    return model


def train_alone(experiment: Experiment, name: str, cases: SiteCases) -> TrainedModel:
    """The model of one member by itself: a site, or all images pooled, with the federation's settings.

    Pooled images get the work of all sites: where a round is so many steps at a site, so many times the sites.
    """
    if experiment.config.model.kind == "svm":
        return _solve_alone(experiment, name, cases)
    config = for_one(experiment.config)
    if name == "pooled" and (steps := config.federation.local.steps):
        local = config.federation.local.model_copy(update={"steps": steps * len(experiment.data.sites)})
        config = config.model_copy(update={"federation": config.federation.model_copy(update={"local": local})})
    alone = InMemory({cases.name: experiment.site(cases, config.federation.local).answer})
    return train(experiment, name, config, PlainSum(alone))  # one member in its own process: nothing leaves


def pool(sites: Sequence[SiteCases]) -> SiteCases:
    """All sites' cases in one place, which only a simulation can have."""
    train, validation, test = (join([getattr(s, part) for s in sites]) for part in PARTS)
    return SiteCases("pooled", train, validation, test)


def _solve_alone(experiment: Experiment, name: str, cases: SiteCases) -> TrainedModel:
    """The SVM of one member: the exact optimum on its own cases."""
    config, model, seed = experiment.config, experiment.model, experiment.seed
    site = experiment.site(cases)
    transport = InMemory({cases.name: site.answer})
    course = Course.of(config, model, seed, transport.sites())
    normalisation = loop.begin(course, PlainSum(transport)).normalisation
    weights, counts = solve_alone(site, course, normalisation)
    experiment.watch.advance(experiment.work((cases.name,)), name)
    threshold = performance.operating_point(counts, config.operating_point)
    return TrainedModel(weights, normalisation, threshold, records=(), best_round=-1, counts=counts)

"""Sites of a simulation: all are in one configuration, and node i is the i-th of them."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from client.dataset import loading
from client.dataset.loading import PreparedData
from client.training.node_site import NodeSite
from client.training.run_binding import RunBinding, simulated_binding
from client.training.site import Site
from common.config import Config
from common.models import Model, build
from common.plans import floors
from common.plans.approvals import Approvals
from common.trust.enrolment import Enrolment


def simulated_site(
    config: str, seed: int, enrolments: Mapping[str, Enrolment], approvals: bytes, index: int
) -> NodeSite:  # fmt: skip
    """One site of a configuration (as JSON, for Flower sends it to its processes), by its index.

    Args:
        approvals: of the simulated run, with its plan (`Approvals.pack`); empty without secure aggregation.
    """
    site = _all_sites(config, seed)[index]
    name = site.site.cases.name
    if name not in enrolments:
        return site
    return replace(site, enrolment=enrolments[name], binding=_bindings(approvals)[name])


@lru_cache(maxsize=1)
def _all_sites(config_json: str, seed: int) -> tuple[NodeSite, ...]:
    """All of them, loaded once a process: that can take longer than a round."""
    config = Config.model_validate_json(config_json)
    data, model = _data(config_json, seed), _model(config_json, seed)
    local = config.federation.local
    return tuple(NodeSite(Site(cases, data.pipeline, model, local, least_active=1)) for cases in data.sites)


@lru_cache(maxsize=1)
def _bindings(approvals: bytes) -> Mapping[str, RunBinding]:
    run = Approvals.unpack(approvals)
    return {site: simulated_binding(run, site) for site in run.sites}


@lru_cache(maxsize=1)
def _data(config_json: str, seed: int) -> PreparedData:
    return loading.load(Config.model_validate_json(config_json), seed)


@lru_cache(maxsize=1)
def _model(config_json: str, seed: int) -> Model:
    config, data = Config.model_validate_json(config_json), _data(config_json, seed)
    frequencies = floors.frequencies_for([len(site.train) for site in data.sites])
    shape = data.sites[0].train.images.shape[1:]
    return build(config.model_for(seed), shape, len(data.labels), config.augment, frequencies)

"""Sites of a simulation: all are in one configuration, and node i is the i-th of them."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial

from client.dataset import loading
from client.training.node_site import NodeSite
from client.training.site import Site
from common.algorithms.course import Course
from common.config import Config
from common.messages.answer_layout import exchanges
from common.models import build
from common.plans import floors
from common.trust.enrolment import Enrolment


def simulated_site(config: str, seed: int, enrolments: Mapping[str, Enrolment], index: int) -> NodeSite:
    """One site of a configuration (as JSON, for Flower sends it to its processes), by its index."""
    site = _all_sites(config, seed)[index]
    return replace(site, enrolment=enrolments.get(site.site.cases.name))


@lru_cache(maxsize=1)
def _all_sites(config_json: str, seed: int) -> tuple[NodeSite, ...]:
    """All of them, loaded once a process: that can take longer than a round."""
    config = Config.model_validate_json(config_json)
    data = loading.load(config, seed)
    shape, classes = data.sites[0].train.images.shape[1:], len(data.labels)
    frequencies = floors.frequencies_for([len(site.train) for site in data.sites])
    model = build(config.model_for(seed), shape, classes, config.augment, frequencies)
    layouts = partial(exchanges, config, model, shape, classes)
    course = partial(Course.of, config, model, seed)
    local = config.federation.local
    return tuple(
        NodeSite(Site(cases, data.pipeline, model, local, least_active=1), layouts, course) for cases in data.sites
    )

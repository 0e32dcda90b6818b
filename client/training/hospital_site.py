"""A real hospital's site for a plan: its images read, its model built, and the plan judged again at every message."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial

from client.dataset.for_plan import own_cases
from client.home import Home
from client.plans import judge
from client.plans.inbox import PlanInbox
from client.training import evaluating_site
from client.training.node_site import NodeSite
from client.training.site import Site
from common.algorithms.course import Course
from common.errors import PlanError
from common.imaging import Pipeline
from common.messages.answer_layout import exchanges
from common.models import build
from common.plans.plan import RunPlan

PATIENCE_S = 5.0
"""How long an answer waits for images that are being read; a first reading may take hours."""
_READING = threading.Lock()
"""Reading the images twice at once would take twice the memory."""


def hospital_site(home: Home, digest: str) -> NodeSite:
    """The site, for the plan of this digest.

    Raises:
        PlanError, IdentityError, AuditError: the plan is not approved here; no message of it is answered.
        ConfigError, DataError: images that are not what the plan is for.
    """
    plan = judge.approved_plan(home, digest)
    return replace(prepare(home, plan), enrolment=home.enrolment, plan=plan)


def prepare(home: Home, plan: RunPlan) -> NodeSite:
    """The site with its images for a plan, read once a process.

    Raises:
        ConfigError, DataError: images that are not what the plan is for.
        PlanError: they are being read, for longer than a message can wait.
    """
    if not _READING.acquire(timeout=PATIENCE_S):
        raise PlanError(f"{home.site}: the images of plan {plan.name} are still being read.")
    try:
        return read_once(home, plan.digest, (home.folder / "site.yaml").stat().st_mtime_ns)
    finally:
        _READING.release()


@lru_cache(maxsize=1)
def read_once(home: Home, digest: str, edited_ns: int) -> NodeSite:
    """The site with its images; the last one stays in memory.

    Args:
        edited_ns: when site.yaml was changed last, so that a corrected one is read again.
    """
    plan = judge.approved_plan(home, digest)
    if plan.content.models:
        return _evaluating(home, plan)
    cases, content = own_cases(home, plan), plan.content
    training, seed, classes = content.training, content.training.seeds[0], len(content.labels)
    model = build(training.model_for(seed), content.shape, classes, training.augment)
    least = home.settings.policy.least.active
    site = Site(cases, Pipeline(training.preprocess), model, training.federation.local, least)
    layouts = partial(exchanges, training, model, content.shape, classes)
    course, room = partial(Course.of, training, model, seed), PlanInbox(home).room(digest)
    return NodeSite(site, layouts, course, home=home.folder, room=room)


def _evaluating(home: Home, plan: RunPlan) -> NodeSite:
    def no_course(sites: Sequence[str]) -> Course:
        raise PlanError(f"{home.site}: plan {plan.name} evaluates, so there is no training to follow.")

    before = partial(evaluating_site.EvaluatingSite, home=home, plan=plan)
    return NodeSite(
        evaluating_site.prepare(home, plan), partial(evaluating_site.layouts, plan), no_course, home=home.folder,
        room=PlanInbox(home).room(plan.digest), before=lambda secured: before(secured).answer,
    )  # fmt: skip

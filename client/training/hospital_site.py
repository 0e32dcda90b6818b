"""A real hospital's site for a plan: its images read, its model built, and the plan judged again at every message."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial

from client.custody import wrapped_keys
from client.dataset.for_plan import own_cases, own_rows
from client.home import Home
from client.plans import judge, sync
from client.plans.inbox import PlanInbox
from client.plans.own_images import data_digest, version
from client.privacy.plan_account import account_of
from client.sources.case_table import located
from client.training import evaluating_site
from client.training.auditing_site import AuditingSite
from client.training.beginning_site import BeginningSite
from client.training.node_site import NodeSite
from client.training.run_binding import RunBinding
from client.training.secure_site import SecuredSite
from client.training.site import Site
from common.config import Encrypted
from common.errors import PlanError, PolicyError
from common.imaging import Pipeline
from common.messages.transport import Answer
from common.models import build
from common.plans.decision import Decision
from common.plans.plan import RunPlan
from common.types import SiteCases

PATIENCE_S = 5.0
"""How long an answer waits for images that are being read; a first reading may take hours."""
_READING = threading.Lock()
"""Reading the images twice at once would take twice the memory."""
MOST_READ = 16
"""Plans whose images stay in memory while runs go on; the coordinator begins no more than `policy.runs_at_once`."""
_CASES: dict[tuple[Home, str], tuple[int, SiteCases]] = {}
"""The images by plan, with when something was last corrected."""


def hospital_site(home: Home, digest: str) -> NodeSite:
    """The site, for the plan of this digest.

    Raises:
        PlanError, IdentityError, AuditError: the plan is not approved here; no message of it is answered.
        ConfigError, DataError: images that are not what the plan is for.
    """
    plan = judge.approved_plan(home, digest)
    site = prepare(home, plan)
    binding = RunBinding(plan, _own_decision(home, plan), PlanInbox(home).papers(plan))
    return replace(site, enrolment=home.enrolment, binding=binding)


def prepare(home: Home, plan: RunPlan) -> NodeSite:
    """The site with its images for a plan, read once a process.

    Raises:
        ConfigError, DataError: images that are not what the plan is for.
        PolicyError: changed-images.
        PlanError: they are being read, for longer than a message can wait.
    """
    has_begun = not plan.content.models and bool(PlanInbox(home).papers(plan).approvals())
    return read_once(home, plan.digest, when_changed_ns(home, (plan.content.dataset,)), has_begun)


@contextmanager
def _reading(home: Home, plan: RunPlan) -> Iterator[None]:
    """One plan's images at a time; another run, whose images are in memory, does not wait for that.

    Raises:
        PlanError: others are being read, for longer than a message can wait.
    """
    if not _READING.acquire(timeout=PATIENCE_S):
        raise PlanError(f"{home.site}: the images of plan {plan.name} are still being read.")
    try:
        yield
    finally:
        _READING.release()


def forget() -> None:
    """Let go of all images: no run is going on."""
    read_once.cache_clear()
    _CASES.clear()


def when_changed_ns(home: Home, datasets: Iterable[str]) -> int:
    """When site.yaml was changed last, or the keys of one of these data sets in custody, as where a patient is taken
    out of it or a label corrected; not where images are added, which is looked at when images are read."""
    paths = [home.folder / "site.yaml"]
    for name in datasets:
        dataset = home.settings.datasets.get(name)
        if dataset is not None and isinstance(dataset.data, Encrypted):
            paths += [place / wrapped_keys.FILE for place in home.places(located(dataset.data.path))]
    return max(path.stat().st_mtime_ns for path in paths if path.exists())


@lru_cache(maxsize=MOST_READ)
def read_once(home: Home, digest: str, changed_ns: int, has_begun: bool) -> NodeSite:
    """The site with its images; those of the last plans stay in memory.

    Args:
        changed_ns: when something was corrected last, so that it is read again.
        has_begun: whether the approvals are known that a training began with; what it sums depends on them.
    """
    plan = judge.approved_plan(home, digest)
    content, room = plan.content, PlanInbox(home).room(digest)
    training = content.training
    binding = RunBinding(plan, _own_decision(home, plan), PlanInbox(home).papers(plan))
    if content.models:
        _refuse_changed(home, plan)
        before = partial(evaluating_site.EvaluatingSite, home=home, plan=plan)
        with _reading(home, plan):
            site: Site = evaluating_site.prepare(home, plan)
        return NodeSite(site, binding, home=home, room=room, before=lambda secured: before(secured).answer)
    model = binding.work().model if has_begun else build(training.model, content.shape, len(content.labels))
    cases, least = _images(home, plan, changed_ns), home.settings.policy.least.active
    site = Site(cases, Pipeline(training.preprocess), model, training.federation.local, least_active=least)

    def begin_before(secured: SecuredSite) -> Answer:
        return BeginningSite(AuditingSite(secured, room), PlanInbox(home), plan).answer

    stands_before = begin_before if training.model.kind != "svm" else None
    account = account_of(home, plan, partial(sync.tell_account, home))
    return NodeSite(site, binding, home=home, room=room, before=stands_before, account=account)


def _images(home: Home, plan: RunPlan, changed_ns: int) -> SiteCases:
    """A plan's images, read once a process, and again when something was corrected."""
    key = home, plan.digest
    if (read := _CASES.get(key)) is None or read[0] != changed_ns:
        with _reading(home, plan):
            _refuse_changed(home, plan)
            _CASES.pop(key, None)
            read = _CASES[key] = changed_ns, own_cases(home, plan)
            while len(_CASES) > MOST_READ:
                del _CASES[next(iter(_CASES))]
    return read[1]


def _refuse_changed(home: Home, plan: RunPlan) -> None:
    """A run is over the cases that were approved, in all its sums.

    Raises:
        PolicyError: changed-images.
    """
    rows, commitment = own_rows(home, plan), PlanInbox(home).commitment(plan) or _own_decision(home, plan).commitment
    if commitment.data != data_digest(home, rows):
        raise PolicyError(
            "changed-images",
            f"{home.site}: data set '{plan.content.dataset}' is version {version(home, plan, rows)[:16]}, and "
            f"{plan.name} was approved for {commitment.version[:16] or 'an earlier one'}, which has other cases: sums "
            "over both would tell those by which they differ. Nothing is sent. If the run has not begun, approve it "
            "again (python -m client approve). If it has: take what was added out until it is over; where a patient "
            "was taken out or a label corrected, leave it to the others and ask for a new plan.",
        )


def _own_decision(home: Home, plan: RunPlan) -> Decision:
    if (decision := PlanInbox(home).decision(plan)) is None:
        raise PlanError(f"{home.site}: plan {plan.name} is not approved here; its messages are not answered.")
    return decision

"""What Prometheus reads of a site: whether it is at work, its plans by state, room, and what expires.

Nothing of images, cases, or answers is among it: who reads the hospital's metrics need not be who may see those."""

import shutil
from collections import Counter
from collections.abc import Iterator

from client.home import Home
from client.monitoring.site_health import is_at_work
from client.plans.inbox import PlanInbox
from client.plans.plan_state import STATES, plan_state
from common.monitoring.metric_page import Sample
from common.storage.files import glance
from common.trust.release import VERSION


def samples(home: Home) -> Iterator[Sample]:
    """All of it, as it is now."""
    resident = glance(home.resident) or {}
    yield Sample("consilium_release_info", "The installed release.", 1, (("release", VERSION),))
    yield Sample("consilium_resident_up", "Whether `client run` is at work.", is_at_work(home))
    reached = "consilium_coordinator_reached_timestamp_seconds"
    yield Sample(reached, "When the coordinator was reached last; 0: never.", resident.get("reached_s", 0.0))
    plans = Counter(plan_state(home, plan).state for plan in PlanInbox(home).plans())
    for state in STATES:
        yield Sample("consilium_plans", "Plans by their state here.", plans[state], (("state", state),))
    expiry = "consilium_expiry_timestamp_seconds"
    yield Sample(expiry, "When something expires.", home.roster.expires_s, (("what", "roster"),))
    contradiction = home.witness_refused.exists()
    yield Sample("consilium_two_histories", "Whether the coordinator showed two histories of its log.", contradiction)
    yield Sample("consilium_disk_free_bytes", "Room in the folder.", shutil.disk_usage(home.folder).free)

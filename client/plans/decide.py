"""A site's decision on a plan: what it commits to when it approves, looked up here and now, signed and written down."""

import os

from client.dataset.for_plan import own_rows
from client.home import Home
from client.plans.inbox import PlanInbox
from common.errors import ConfigError
from common.plans.decision import Commitment, Decision, Verdict, members_digest
from common.plans.plan import RunPlan
from common.storage import file_lock
from common.storage.files import replace
from common.trust.keys import DIGEST_BYTES, digest


def decide(home: Home, plan: RunPlan, verdict: Verdict, reason: str) -> Decision:
    """Decide on a plan; a later decision takes the place of an earlier one, and the same one twice changes nothing.

    Raises:
        ConfigError, DataError: an approval, and the images are not what the plan is for.
    """
    inbox, commitment = PlanInbox(home), Commitment(members_digest(plan, home.roster), "")
    if verdict == "approve":
        commitment = committed(home, plan)
    earlier = inbox.decision(plan)
    if earlier and (earlier.verdict, earlier.commitment) == (verdict, commitment):
        return earlier
    decision = Decision.make(home.site, plan, verdict, reason, home.identity, commitment)
    inbox.keep_decision(decision)
    return decision


def committed(home: Home, plan: RunPlan) -> Commitment:
    """What this site binds itself to, as its images, its rules and the roster are now.

    Raises:
        ConfigError, DataError: images that are not what the plan is for.
    """
    # What was published of a model once stays published: whoever is in a sum with this site has to reckon with it.
    is_published = any(PlanInbox(home).published_file(model.sha256).exists() for model in plan.content.models)
    publishes = bool(plan.content.models) and (is_published or "figures" in home.settings.policy.publish)
    return Commitment(members_digest(plan, home.roster), data_digest(home, plan), publishes)


def data_digest(home: Home, plan: RunPlan) -> str:
    """Stands for this site's cases of a plan's data set; without the site's key nobody can tell which they are."""
    return digest("cases", _cases_key(home), *sorted(own_rows(home, plan))).hex()[:32]


def _cases_key(home: Home) -> bytes:
    """Made when it is needed first. `rekey` keeps it: the same images are the same to the ledgers of all sites."""
    path = home.folder / "ledger.key"
    with file_lock.held(home.folder / "ledger.lock"):
        if not path.exists():
            replace(path, os.urandom(DIGEST_BYTES))
    if len(key := path.read_bytes()) != DIGEST_BYTES:
        raise ConfigError(f"{path}: damaged, expected {DIGEST_BYTES} bytes. Restore it from a backup.")
    return key

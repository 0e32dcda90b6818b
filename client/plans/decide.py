"""A site's decision on a plan: what it commits to when it approves, looked up here and now, signed and written down."""

import os
from collections import Counter
from collections.abc import Sequence

from client.dataset.for_plan import Row, own_rows
from client.home import Home
from client.plans import question_ledger
from client.plans.inbox import PlanInbox
from common.errors import ConfigError, PolicyError
from common.messages.answer_keys import image_keys
from common.plans import carry, floors
from common.plans.approvals import Approvals
from common.plans.decision import Commitment, Decision, Verdict, members_digest
from common.plans.floors import CaseCounts
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
        PolicyError: too few cases, or a plan that asks what was told over other sites or other images.
    """
    inbox, content, rows = PlanInbox(home), plan.content, own_rows(home, plan)
    counts, least = case_counts(rows, content.labels), home.settings.policy.least
    if not content.models:
        floors.refuse_too_few(home.site, counts, least)
    fits = floors.fits(len(content.cohort), counts, least)
    if "validation" not in fits:
        raise PolicyError(
            "too-few-cases",
            f"{home.site}: {sum(counts.validation)} validation cases ({', '.join(map(str, counts.validation))} by "
            f"class), expected {least.validation} at least, and of each class none or {least.of_each_class}. Give "
            "validation a larger share of the data set, or import more cases.",
        )
    data = data_digest(home, rows)
    knows = _known(home, plan, data)
    # What was published of a model once stays published: whoever is in a sum with this site has to reckon with it.
    is_published = any(inbox.published_file(model.sha256).exists() for model in content.models)
    publishes = bool(content.models) and (is_published or "figures" in home.settings.policy.publish)
    return Commitment(members_digest(plan, home.roster), data, publishes, fits, knows)


def data_digest(home: Home, rows: Sequence[Row]) -> str:
    """Stands for this site's cases of a data set; without the site's key nobody can tell which they are."""
    return digest("cases", _cases_key(home), *sorted(" ".join(row).encode() for row in rows)).hex()[:32]


def case_counts(rows: Sequence[Row], labels: Sequence[str]) -> CaseCounts:
    """Cases by class, in training and in validation."""
    by_part = {part: Counter(label for _, label, where in rows if where == part) for part in ("train", "validation")}
    train, validation = (tuple(by_part[part][label] for label in labels) for part in ("train", "validation"))
    return CaseCounts(train, validation)


def _known(home: Home, plan: RunPlan, data: str) -> bool:
    """Whether this site knows what a plan carries; a plan that asks again must ask it of the same sites and images.

    Raises:
        PolicyError: a plan that carries something else than this site knows, or asks what was told over others.
    """
    inbox, carried = PlanInbox(home), plan.content.carried
    if carried:
        is_known = bool(carried.sha256) and inbox.knows(carried.plan)
        if is_known and inbox.plan(carried.plan).content.recipe != plan.content.recipe:
            raise PolicyError(
                "forged-carry",
                f"{home.site}: {plan.name} carries sums of run {carried.name}, whose images were prepared otherwise.",
            )
        own = inbox.summed(carried.plan)
        return carry.knows(carried, own) if own else not carried.sha256
    if plan.content.models:
        _refuse_counted(home, plan, data)
    else:
        _refuse_summed(home, plan, data)
    return False


def _refuse_counted(home: Home, plan: RunPlan, data: str) -> None:
    """Refuse to evaluate a model again, on cases that have changed since."""
    inbox = PlanInbox(home)
    for earlier in inbox.plans():
        decision = inbox.decision(earlier)
        if earlier.digest == plan.digest or decision is None or not inbox.papers(earlier).approvals():
            continue
        if decision.commitment.data != data and _evaluates_the_same(earlier, plan):
            raise PolicyError(
                "repeated-question",
                f"{home.site}: a model of plan {plan.name} was evaluated in run {earlier.name}, and the cases here "
                "have changed since. The two sums would tell how it does on those. Expected a model that was not "
                "evaluated with this site before.",
            )


def _refuse_summed(home: Home, plan: RunPlan, data: str) -> None:
    """Refuse to sum anew what was summed of the same images over other sites, or of others."""
    inbox, dataset = PlanInbox(home), plan.content.dataset
    answered = question_ledger.in_folder(home.folder).plans_of(image_keys(dataset))
    for earlier in inbox.plans():
        is_alike = earlier.content.dataset == dataset and not earlier.content.models and earlier.digest != plan.digest
        if not is_alike or not (earlier.digest in answered or inbox.summed(earlier.digest)):
            continue
        # A site that was restored has plan and ledger, and not who was in the sums: at most all that were asked.
        papers, decision = inbox.papers(earlier).approvals(), inbox.decision(earlier)
        sites = Approvals.load(papers, earlier).sites if papers else earlier.content.cohort
        has_changed = decision is not None and decision.commitment.data != data
        what = (
            "its images here, or how they are divided, have changed since" if has_changed
            else f"it was over {', '.join(sites)}" if set(sites) != set(plan.content.cohort) else ""
        )  # fmt: skip
        if what:
            raise PolicyError(
                "repeated-question",
                f"{home.site}: what plan {plan.name} sums of the images was summed in run {earlier.name}, and {what}. "
                "The two sums would tell single sites' images. Ask the coordinator for a plan that carries what that "
                "run summed (server run does so by itself).",
            )


def _evaluates_the_same(earlier: RunPlan, plan: RunPlan) -> bool:
    """Whether a model that is to be evaluated was, as far as a plan tells, or was trained in that run."""
    if earlier.content.dataset != plan.content.dataset:
        return False
    names = {model.sha256 for model in earlier.content.models} | {earlier.name}
    return any(model.sha256 in names or model.name in names for model in plan.content.models)


def _cases_key(home: Home) -> bytes:
    """Made when it is needed first. `rekey` keeps it: the same images are the same to the ledgers of all sites."""
    path = home.folder / "ledger.key"
    with file_lock.held(home.folder / "ledger.lock"):
        if not path.exists():
            replace(path, os.urandom(DIGEST_BYTES))
    if len(key := path.read_bytes()) != DIGEST_BYTES:
        raise ConfigError(f"{path}: damaged, expected {DIGEST_BYTES} bytes. Restore it from a backup.")
    return key

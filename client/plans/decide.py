"""A site's decision on a plan: what it commits to when it approves, looked up here and now, signed and written down."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from client.dataset.for_plan import Row, own_rows
from client.home import Home
from client.plans import own_images, question_ledger
from client.plans.inbox import PlanInbox
from client.privacy.plan_account import refuse_unaffordable
from common.errors import PolicyError
from common.messages.answer_keys import image_keys
from common.plans import carry, floors
from common.plans.approvals import Approvals
from common.plans.decision import Commitment, Decision, Verdict, members_digest
from common.plans.floors import CaseCounts
from common.plans.plan import RunPlan
from common.plans.plan_budget import budget_of


def decide(home: Home, plan: RunPlan, verdict: Verdict, reason: str) -> Decision:
    """Decide on a plan; a later decision takes the place of an earlier one, and the same one twice changes nothing.

    Raises:
        ConfigError, DataError: an approval, and the images are not what the plan is for.
        PolicyError: changed-images: an approval of others than those with which its run has begun.
    """
    inbox, commitment = PlanInbox(home), Commitment(members_digest(plan, home.roster), "")
    if verdict == "approve":
        commitment = committed(home, plan)
    earlier, first = inbox.decision(plan), inbox.commitment(plan)
    if verdict == "approve" and inbox.has_begun(plan) and first and first.data not in ("", commitment.data):
        raise PolicyError(
            "changed-images",
            f"{home.site}: the run of {plan.name} has begun with this site's approval of other images (version "
            f"{first.version[:16]}), and goes on with those or without this site. Take what was added out until it is "
            "over; where a patient was taken out or a label corrected, ask the coordinator for a new plan.",
        )
    if earlier and inbox.papers(plan).approvals():  # a run goes on with the very approvals that it began with
        commitment = replace(commitment, version=earlier.commitment.version)
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
    refuse_unaffordable(home, plan)
    data, names = own_images.data_digest(home, rows), own_images.names(home, content.dataset, rows)
    inbox.keep_datasets(plan, names)
    knows = _knows_sums(home, plan, data)
    # What was published of a model once stays published: whoever is in a sum with this site has to reckon with it.
    is_published = any(inbox.published_file(model.sha256).exists() for model in content.models)
    publishes = bool(content.models) and (is_published or "figures" in home.settings.policy.publish)
    version = own_images.version(home, plan, rows)
    return Commitment(members_digest(plan, home.roster), data, publishes, fits, knows, version)


def case_counts(rows: Sequence[Row], labels: Sequence[str]) -> CaseCounts:
    """Cases by class, in training and in validation."""
    by_part = {part: Counter(label for _, label, where, _ in rows if where == part) for part in ("train", "validation")}
    train, validation = (tuple(by_part[part][label] for label in labels) for part in ("train", "validation"))
    return CaseCounts(train, validation)


def _knows_sums(home: Home, plan: RunPlan, data: str) -> bool:
    """Whether this site knows what a plan carries; a plan that asks again must ask it of the same sites and images.

    Raises:
        PolicyError: a plan that carries something else than this site knows, or asks what was told over others.
    """
    inbox, source = PlanInbox(home), plan.content.carried
    if source:
        is_known = bool(source.sha256) and inbox.knows(source.plan)
        if is_known and inbox.plan(source.plan).content.recipe != plan.content.recipe:
            raise PolicyError(
                "forged-carry",
                f"{home.site}: {plan.name} carries sums of run {source.name}, whose images were prepared otherwise.",
            )
        own_sums = inbox.summed(source.plan)
        return carry.knows(source, own_sums) if own_sums else not source.sha256
    if plan.content.models:
        _refuse_counted(home, plan, data)
    elif budget_of(plan.content) is None:  # with a budget every answer has noise of its own, and is paid for
        _refuse_summed(home, plan, data)
    return False


def _refuse_counted(home: Home, plan: RunPlan, data: str) -> None:
    """Refuse to evaluate a model again, on cases that have changed since."""
    inbox = PlanInbox(home)
    for earlier in inbox.plans():
        decision = inbox.decision(earlier)
        if earlier.digest == plan.digest or decision is None or not inbox.papers(earlier).approvals():
            continue
        if decision.commitment.data != data and _evaluates_the_same(inbox, earlier, plan):
            raise PolicyError(
                "repeated-question",
                f"{home.site}: a model of plan {plan.name} was evaluated in run {earlier.name}, and the cases here "
                "have changed since. The two sums would tell how it does on those. Expected a model that was not "
                "evaluated with this site before.",
            )


def _refuse_summed(home: Home, plan: RunPlan, data: str) -> None:
    """Refuse to sum anew what was summed of the same images over other sites, or of others."""
    inbox = PlanInbox(home)
    answered_plans = question_ledger.in_folder(home.folder).plans_of(image_keys(inbox.papers(plan).datasets()))
    for earlier in inbox.plans():
        if earlier.content.models or earlier.digest == plan.digest:
            continue
        was_summed = inbox.share_images(earlier, plan) and inbox.summed(earlier.digest)
        if not was_summed and earlier.digest not in answered_plans:
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


def _evaluates_the_same(inbox: PlanInbox, earlier: RunPlan, plan: RunPlan) -> bool:
    """Whether a model that is to be evaluated was, as far as a plan tells, or was trained in that run."""
    if not inbox.share_images(earlier, plan):
        return False
    names = {model.sha256 for model in earlier.content.models} | {earlier.name}
    return any(model.sha256 in names or model.name in names for model in plan.content.models)

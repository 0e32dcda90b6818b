"""An evaluation is not over almost the sites, or almost the images, of an earlier one.

Which models an evaluation runs is the coordinator's choice, and one that differs by next to nothing from a model that
was evaluated before has next to the same outcomes. Two such sums over sites that differ by one or two, or by what one
or two have imported, would tell those sites' own. How near two models are cannot be told from their numbers. So it
does not matter which they are: of all that share images, three sites at least differ (more, where more may lie), or
none. Free of that is what tells nothing new: a model that was evaluated over just these sites and images, as every run
does with its own.
"""

from collections.abc import Iterator, Mapping

from client.plans.inbox import PlanInbox
from common.errors import PolicyError
from common.plans.approvals import Approvals
from common.plans.plan import RunPlan
from common.secagg.key_period_plan import least_apart
from common.storage.files import read_json

Over = Mapping[str, str | None]
"""Sites of a sum with the digests of their cases (`Commitment.data`); None: whichever they are."""


def refuse_planned(inbox: PlanInbox, plan: RunPlan, over: Over) -> None:
    """Hold an evaluation, before it is signed, against other evaluations; who will be in its sums is not known yet.

    Raises:
        PolicyError: repeated-question, naming the other, and the odd sites.
    """
    others = [(other, _odd(earlier, over)) for other, earlier in _evaluated(inbox, plan) if other.digest != plan.digest]
    own_models = {other.name for other, odd in others if not other.content.models and not odd}
    if {model.name for model in plan.content.models} <= own_models:  # by name; by its numbers when it is summed
        return
    for other, odd in others:
        if other.content.models:
            _refuse_few(plan, other, odd)


def refuse_sum(inbox: PlanInbox, plan: RunPlan, over: Over) -> None:
    """Hold a sum of an evaluation against all before it: in this plan, in others, and in trainings.

    Raises:
        PolicyError: repeated-question, naming the other, and the odd sites.
    """
    for other, earlier in _evaluated(inbox, plan):
        _refuse_few(plan, other, _odd(earlier, over))


def _evaluated(inbox: PlanInbox, plan: RunPlan) -> Iterator[tuple[RunPlan, Over]]:
    """All sums of outcomes on the same images that this site was in; a training is taken to have one over all."""
    for other in inbox.plans() if plan.content.models else ():
        papers = inbox.papers(other).approvals()
        if not papers or not inbox.share_images(other, plan):
            continue
        decisions = Approvals.load(papers, other).decisions
        notes = [read_json(path)["sites"] for path in inbox.room(other.digest).glob("released-*.json")]
        for sites in notes if other.content.models else [list(decisions)]:
            yield other, {site: decisions[site].commitment.data for site in sites}


def _odd(one: Over, other: Over) -> list[str]:
    """The sites by which two sums differ, or by whose images."""
    both = one.keys() & other.keys()
    changes = {site for site in both if one[site] and other[site] and one[site] != other[site]}
    return sorted((one.keys() ^ other.keys()) | changes)


def _refuse_few(plan: RunPlan, other: RunPlan, odd: list[str]) -> None:
    least = max(least_apart(len(one.content.cohort)) for one in (plan, other))
    if 0 < len(odd) < least:
        raise PolicyError(
            "repeated-question",
            f"evaluation {plan.name} has the sites and images of {other.name} but for {', '.join(odd)}: two sums of "
            f"models that are alike would tell {'its' if len(odd) == 1 else 'their'} own outcomes. Expected the same, "
            f"{least} others at least, or the models of a run over just these.",
        )

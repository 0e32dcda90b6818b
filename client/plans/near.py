"""Evaluations and beginnings are not over almost the sites, or almost the images, of earlier ones.

Which models an evaluation runs is the coordinator's choice, and one that differs by next to nothing from a model that
was evaluated before has next to the same outcomes. Two such sums over sites that differ by one or two, or by what one
or two have imported, would tell those sites' own. How near two models are cannot be told from their numbers. So it
does not matter which they are: of all that share images, three sites at least differ (more, where more may lie), or
none. Free of that is what tells nothing new: a model that was evaluated over just these sites and images, as every run
does with its own.

The same goes for the weights that a network's training begins from, where a package has them: the first sum of such a
training is held against the first of every other, those that began with fresh weights among them.
"""

from collections.abc import Iterator, Mapping, Sequence

from client.plans.inbox import PlanInbox
from common.errors import PolicyError
from common.plans.approvals import Approvals
from common.plans.plan import RunPlan
from common.secagg.key_period_plan import least_apart
from common.storage.files import read_json, write_json

BEGINNINGS = "began-over.json"
"""In a plan's room: the sites over which its first sum was, or may have been."""

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


def refuse_beginning(inbox: PlanInbox, plan: RunPlan, over: Over) -> None:
    """Hold the first sum of a training against those of others, where one of the two begins from a package.

    Raises:
        PolicyError: repeated-question, naming the other, and the odd sites.
    """
    for other, earlier in _beginnings(inbox, plan):
        _refuse_few(plan, other, _odd(earlier, over))


def note_beginning(inbox: PlanInbox, plan: RunPlan, sites: Sequence[str]) -> None:
    """Write down over whom a training has its first sum, or may have."""
    path, earlier = inbox.room(plan.digest) / BEGINNINGS, _sets_on_record(inbox, plan)
    if list(sites) not in earlier:
        write_json(path, [*earlier, list(sites)])


def _sets_on_record(inbox: PlanInbox, plan: RunPlan) -> list[list[str]]:
    return list(read_json(inbox.room(plan.digest) / BEGINNINGS) or ())


def _beginnings(inbox: PlanInbox, plan: RunPlan) -> Iterator[tuple[RunPlan, Over]]:
    """The first sums of other trainings on the same images, and all that approved these, as if they had one."""
    for other in inbox.plans() if _is_network(plan) else ():
        papers, both = inbox.papers(other).approvals(), (plan.content.training, other.content.training)
        begins = any(training.initial for training in both) and _is_network(other) and other.digest != plan.digest
        if not begins or not papers or not inbox.share_images(other, plan):
            continue
        decisions = Approvals.load(papers, other).decisions
        for sites in [list(decisions), *_sets_on_record(inbox, other)]:
            yield other, {site: decisions[site].commitment.data for site in sites}


def _is_network(plan: RunPlan) -> bool:
    return not plan.content.models and plan.content.training.model.kind != "svm"


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


def _what(plan: RunPlan) -> str:
    return "evaluation" if plan.content.models else "training"


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
            f"{_what(plan)} {plan.name} has the sites and images of {other.name} but for {', '.join(odd)}: two sums of "
            f"models that are alike would tell {'its' if len(odd) == 1 else 'their'} own "
            f"{'outcomes' if plan.content.models else 'update'}. Expected the same, {least} others at least, or "
            f"{'the models of a run over just these' if plan.content.models else 'fresh weights in both'}.",
        )

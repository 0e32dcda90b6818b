"""What a new plan carries from an earlier run, foreseen before anything is signed.

Sites do not answer the same question over other sites, or with other images: the two sums would tell what the odd ones
have. So a plan on the same data set and preprocessing as an earlier run's goes on with what that one summed, as long as
more than a third of its sites were in that run and can say that it did.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from common.config import Config, PlanTerms
from common.errors import IdentityError, PlanError
from common.imaging import Pipeline
from common.plans import carry
from common.plans.plan import Carried, RunPlan
from common.plans.plan_page import SUMMED
from common.types import Tensors
from server.consortium.home import Home
from server.runs.run import Run
from server.runs.run_state import OVER
from server.runs.unsaved_sums import RunSums, all_sums


@dataclass(frozen=True)
class Foresight:
    """What to carry, and why, for people."""

    source: Carried | None = None
    words: str = ""


def foresee(home: Home, config: Config) -> Foresight:
    """What a plan from this configuration has to carry; nothing where no earlier run has asked its sites the same.

    Raises:
        PlanError: an earlier run on these images is not over, too few of the plan's sites were in it, or it was stopped
            when sites had answered and seen no sum.
    """
    if config.plan is None:
        return Foresight()
    cohort, recipe = config.plan.cohort or tuple(home.roster.active), Pipeline(config.preprocess)
    for run in _alike(home, config.plan, recipe):
        began = (run.folder / "approvals.json").exists()
        if not set(sites_of(run)) & set(cohort):
            continue  # over other sites altogether: the two sums tell nobody apart
        if run.state.stage not in OVER:
            raise _not_over(run)
        if not began and run.rounds():
            return Foresight(words=_of_an_older_release(run, cohort))
        sums = all_sums(run) if began else RunSums({}, ())
        parts = carry.fingerprints(sums.arrays)
        if run.plan.content.labels != config.plan.labels:
            parts.pop("classes", None)
        if recipe.needs_statistics and "recipe" not in parts:
            if sums.unseen:
                return Foresight(words=_asked_again(run, cohort))
            continue  # it came to nothing before anything was summed
        asked_nothing = set(parts) <= set(carry.fingerprints(run.carried_sums)) and not run.rounds() and not sums.unseen
        if not began or asked_nothing:
            continue
        _refuse_unknown(run, cohort)
        frequencies = run.approvals.frequencies if "gram" in parts else 0
        source = Carried(name=run.name, plan=run.plan.digest, sha256=tuple(parts.items()), frequencies=frequencies)
        return Foresight(source, _words(run, source, cohort, config))
    return _otherwise_prepared(home, config.plan, recipe, cohort)


def foresee_anew(home: Home, config: Config) -> Foresight:
    """Nothing is carried; who will refuse that, and who could not know."""
    try:
        ahead = foresee(home, config)
    except PlanError as error:
        return Foresight(words=f"Asked anew all the same. Without --ask-anew: {error}")
    if ahead.source is None or config.plan is None:
        return ahead
    run, cohort = Run.find(home, ahead.source.plan), config.plan.cohort or tuple(home.roster.active)
    before, forgetful = set(run.approvals.sites), _forgetful(run, cohort)
    words = (
        f"Asked anew: {', '.join(sorted(before & set(cohort)))} answered in run {run.name}, over "
        f"{', '.join(sorted(before))}. "
    )
    words += (
        "They approve only where their images are as they were then."
        if before == set(cohort)
        else "They refuse when they are to approve (repeated-question)."
    )
    if forgetful:
        words += f" {', '.join(forgetful)}: other keys since then; what was answered after the backup is forgotten."
    return Foresight(words=words)


def _otherwise_prepared(home: Home, terms: PlanTerms, recipe: Pipeline, cohort: tuple[str, ...]) -> Foresight:
    """Where no run prepared these images so: what sites allow beside runs that prepared them in other ways.

    Raises:
        PlanError: it needs sums that were made over other sites, and has none to carry.
    """
    for run in reversed(list(Run.all(home))):
        plan, before, has_rounds = run.plan.content, sites_of(run), bool(run.rounds())
        if plan.models or plan.dataset != terms.dataset or not has_rounds or not set(before) & set(cohort):
            continue
        if run.state.stage not in OVER:
            raise _not_over(run)
        if not (run.folder / "approvals.json").exists():
            return Foresight(words=_of_an_older_release(run, cohort))
        if set(before) == set(cohort):
            return Foresight()
        if recipe.needs_statistics:
            raise PlanError(
                f"run {run.name} summed mean and variance of these images, prepared otherwise, over "
                f"{', '.join(before)}. Over {', '.join(sorted(cohort))} such sums would tell what "
                f"{', '.join(_odd(before, cohort))} has, whatever the preprocessing: sites refuse. Use that run's "
                "preprocessing, whose sums are carried; or normalise by image; or ask the same sites (plan.cohort)."
            )
        source = Carried(name=run.name, plan=run.plan.digest, sha256=())
        return Foresight(
            source,
            f"Run {run.name} asked {', '.join(before)} of the same images, prepared otherwise: nothing of it can be "
            "carried. This plan begins at another point, and does not sum how images look.",
        )
    return Foresight()


def _not_over(run: Run) -> PlanError:
    return PlanError(
        f"run {run.name} asks the same of the same images, and is not over: a second one would be refused. "
        "Wait for it, or stop it: python -m server stop"
    )


def _odd(before: tuple[str, ...], cohort: tuple[str, ...]) -> list[str]:
    """The sites by which two sets differ."""
    return sorted(set(before) ^ set(cohort))


def arrays_of(home: Home, plan: RunPlan) -> Tensors:
    """The arrays that a plan carries.

    Raises:
        PlanError: the earlier run's folder has them no more.
    """
    if (source := plan.content.carried) is None:
        return {}
    fingerprints = dict(source.sha256)
    arrays = {
        name: value for name, value in Run.find(home, source.plan).summed.items() if name.split("/")[0] in fingerprints
    }
    if carry.fingerprints(arrays) != fingerprints:
        raise PlanError(
            f"run {source.name}: its summed.safetensors is not what plan {plan.name} carries from it. Restore that "
            "run's folder, and draw the plan up again."
        )
    return arrays


def _alike(home: Home, terms: PlanTerms, recipe: Pipeline) -> Iterator[Run]:
    """Trainings on the same images by the same preprocessing, newest first."""
    question = terms.dataset, recipe.fingerprint(), terms.shape
    for run in reversed(list(Run.all(home))):
        plan = run.plan.content
        if not plan.models and (plan.dataset, plan.recipe, plan.shape) == question:
            yield run


def sites_of(run: Run) -> tuple[str, ...]:
    """Who was, or may yet be, in its sums."""
    return run.state.cohort or run.plan.content.cohort


def _of_an_older_release(run: Run, cohort: tuple[str, ...]) -> str:
    odd = ", ".join(_odd(sites_of(run), cohort))
    return (
        f"Look again: run {run.name} is of an older release. What it summed over {', '.join(sites_of(run))} cannot be "
        "carried, is asked again, and no site remembers that it answered then"
        + (f": beside that run's sums, the new ones would tell those of {odd}." if odd else ".")
    )


def _asked_again(run: Run, cohort: tuple[str, ...]) -> str:
    """Of a run that was stopped between the sum of mean and variance and what sites are shown of it.

    Raises:
        PlanError: the plan is over other sites.
    """
    before = ", ".join(run.approvals.sites)
    stopped = f"Run {run.name} was stopped after it had summed mean and variance over {before}, and before its sites "
    if odd := _odd(run.approvals.sites, cohort):
        raise PlanError(
            f"{stopped}were shown them: none could say that what a plan carries is that. Over "
            f"{', '.join(sorted(cohort))} they would be refused (repeated-question), since the difference would tell "
            f"{', '.join(odd)}'s. First ask just the same sites once more: plan.cohort=[{before}]; a run of theirs is "
            "carried again."
        )
    return (
        f"{stopped}were shown them: these same sites are asked once more. One whose images have changed since refuses."
    )


def _refuse_unknown(run: Run, cohort: tuple[str, ...]) -> None:
    """Refuse what the sites' approvals would not suffice for."""
    knowing = sorted(set(run.approvals.sites) & set(cohort))
    if len(knowing) < (least := len(cohort) // 3 + 1):
        raise PlanError(
            f"only {', '.join(knowing)} of {', '.join(sorted(cohort))} {'was' if len(knowing) == 1 else 'were'} in run "
            f"{run.name} ({', '.join(run.approvals.sites)}), from which this plan has to carry: {least} are needed to "
            "say that what comes is what it summed (unknown-carry). Ask more of those sites, fewer newcomers, or none "
            "of those sites: plan.cohort."
        )


def _forgetful(run: Run, cohort: tuple[str, ...]) -> list[str]:
    """The sites whose keys are others than then: after a restoration they know nothing of the run."""
    keys, forgetful = run.home.identities(), []
    for site in sorted(set(run.approvals.sites) & set(cohort)):
        try:
            run.approvals.decisions[site].document.verify([keys[site]], site)
        except (KeyError, IdentityError):
            forgetful.append(site)
    return forgetful


def _words(run: Run, source: Carried, cohort: tuple[str, ...], config: Config) -> str:
    before, part_names = run.approvals.sites, [part for part, _ in source.sha256]
    parts = ", ".join(SUMMED[part] for part in part_names)
    odd = _odd(before, cohort)
    texts = [
        f"Carried from run {run.name} ({', '.join(before)}): {parts}."
        if parts
        else f"Run {run.name} asked {', '.join(before)} the same first question; this plan begins at another point."
    ]
    if config.likeness and "likeness" not in part_names:
        texts.append(f"How images look is not known in this run, since it was not summed in {run.name}.")
    if odd:
        whose = "'s own" if len(odd) == 1 else "' own"
        texts.append(
            f"Asked again over {', '.join(sorted(cohort))}, the difference would tell {', '.join(odd)}{whose}: sites "
            "refuse that (--ask-anew asks all the same). What they add can still be estimated from the two models."
        )
    else:
        texts.append("They are not asked again; --ask-anew does, which sites refuse whose images have changed.")
    if forgetful := _forgetful(run, cohort):
        knowing = len(set(before) & set(cohort)) - len(forgetful)
        texts.append(
            f"{', '.join(forgetful)}: other keys since then, so perhaps restored, and without notes of that run; "
            f"{knowing} others were in it, {len(cohort) // 3 + 1} of {len(cohort)} have to know it."
        )
    return " ".join(texts)

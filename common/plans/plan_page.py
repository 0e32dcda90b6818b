"""A plan as people read it before they decide: what is asked, what leaves a site by it, and what that tells."""

import time
from collections.abc import Iterator, Sequence
from textwrap import wrap

import yaml

from common.encoders import encoder_library
from common.encoders.encoder_file import TRUST
from common.errors import EncoderError, PackageError
from common.imaging import Pipeline
from common.package import package_library
from common.plans import binding, plan_budget
from common.plans.evaluated_model import EvaluatedModel
from common.plans.plan import Carried, PlanContent, RunPlan
from common.secagg.key_period_plan import threshold

SUMMED = {
    "recipe": "mean and variance", "likeness": "how images look", "distances": "validation images' distances",
    "gram": "second moments", "classes": "how many cases of each class",
}  # fmt: skip
"""What a plan may carry from an earlier run, in words."""
PLUGINS = (
    "These wheels are none of this program's. Here their code would see this site's images and weights, with all that "
    "this program may do. Nothing checks it but the people who read it. It runs only where this site has installed the "
    "very files of that digest, and its policy names them (client access propose --plugins)."
)

LEAVES = "masked vectors, signatures, this decision, codes of refusals. No image."
NOISY = (
    "Each sum has noise, to which every site adds a share that nobody else knows: whatever is done with the sums and "
    "the model, of one patient they tell no more than ε and δ say. What is lost on the way is paid for all the same."
)
EXACT = (
    "The sums are exact: no noise is added. What colluding sites put in can be taken off: the sum of the others is "
    "left. A site that is absent once has told its own number of cases; sums of successive models over sites that "
    "differ by one estimate its share. One lying site can set the next model, and so at which model all are asked. "
    "What the finished model tells of its images, it tells."
)


def page(plan: RunPlan) -> str:
    """Everything that a plan says."""
    content, head = plan.content, facts(plan)
    lines = [*plan_budget.words(content), "", *(f"{name:12} {value}" for name, value in head.items()), ""]
    lines += [*_what_leaves(content), ""]
    if "encoder" in head:
        lines += [*wrap(f"WHO MADE THE ENCODER  {TRUST}", 100), ""]
    if "begins from" in head:
        lines += [*wrap(f"WHO MADE THE FIRST WEIGHTS  {package_library.TRUST}", 100), ""]
    if "plug-ins" in head:
        lines += [*wrap(f"CODE OF OTHERS  {PLUGINS}", 100), ""]
    if content.models:
        return "\n".join([*lines, *_examination(content.models)])
    lines += ["SETTINGS  those that are not the defaults of docs/configuration.md:", ""]
    return "\n".join(lines) + "\n" + settings(content)


def settings(content: PlanContent) -> str:
    """The training's settings that are not the defaults, YAML."""
    training = content.training.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(training, sort_keys=False, allow_unicode=True)


def facts(plan: RunPlan) -> dict[str, str]:
    """What a plan is about: who asks, for what, whom, until when, with which code."""
    content = plan.content
    day = "%Y-%m-%d %H:%M UTC"
    words = {
        "plan": f"{plan.name}, digest {plan.digest}",
        "consortium": content.consortium,
        "data set": f"{content.dataset}: {', '.join(content.labels)}; images of {'×'.join(map(str, content.shape))}",
        "purpose": content.purpose,
        "asked": ", ".join(content.cohort),
        "made, ends": f"{time.strftime(day, time.gmtime(content.made_s))}, "
        f"{time.strftime(day, time.gmtime(content.expires_s))}",
        "release": f"{content.release}, code {content.code}",
        "carries": _carried_sums(content.carried),
        "encoder": _encoder(content),
        "begins from": _beginning(content.training.initial),
        "plug-ins": _plugins(plan),
    }
    return {name: value for name, value in words.items() if value}


def _plugins(plan: RunPlan) -> str:
    """The wheels whose code the run uses, with the parts of each; empty where there are none."""
    wheels: dict[str, set[str]] = {}
    for part in plan.parts():
        wheels.setdefault(f"{part.plugin} {part.version}, SHA-256 {part.sha256}", set()).add(part.name)
    return "; ".join(f"{wheel}: {', '.join(sorted(names))}" for wheel, names in wheels.items())


def _encoder(content: PlanContent) -> str:
    """What looks at the images, its licence and what it was trained on; empty where pixels are looked at."""
    step = Pipeline(content.training.preprocess).embed
    if step is None:
        return ""
    try:
        about = encoder_library.load(step.sha256 or "").about
    except EncoderError as error:
        return f"{step.encoder}: {error}"
    return f"{about.name}, licence {about.licence}, trained on {about.trained_on}; SHA-256 {step.sha256}"


def _beginning(digest: str | None) -> str:
    """The package whose weights the training begins from; empty for fresh ones."""
    if digest is None:
        return ""
    try:
        about = package_library.load(digest).content
    except PackageError as error:
        return str(error)
    return f"{about.name}, published by {about.publisher.name}, licence {about.licence}; digest {digest}"


def _what_leaves(content: PlanContent) -> Iterator[str]:
    """Which sums are asked, and what they tell whom."""
    yield f"WHAT LEAVES  {LEAVES}"
    yield f"Coordinator and sites can read of it these sums alone, each over {behind_each_sum(content)}:"
    yield from (f"  - {line}" for line in sums(content))
    yield ""
    yield from wrap(f"WHAT IT TELLS  {what_it_tells(content)} docs/for-reviewers.md", 100)


def behind_each_sum(content: PlanContent) -> str:
    """Over how many of the sites each sum is."""
    sites = len(content.cohort)
    least = threshold(sites)
    return f"{least} of the {sites} sites at least" if least < sites else f"all {sites} sites"


def sums(content: PlanContent) -> tuple[str, ...]:
    """The sums that leave, a line each; under a budget with what each kind costs."""
    if schedule := plan_budget.schedule_of_plan(content):
        return tuple(plan_budget.prices(schedule))
    return (*_sums(content), "with each: how many cases, and of each class")


def what_it_tells(content: PlanContent) -> str:
    """What the sums tell, whom, in sentences."""
    return EXACT if plan_budget.budget_of(content) is None else NOISY


def _sums(content: PlanContent) -> Iterator[str]:
    training, source = content.training, content.carried
    parts = {part for part, _ in source.sha256} if source else set()
    if content.models:
        yield "each model's outcomes on validation cases, by class and score"
        if any(model.looks for model in content.models):
            yield "how far the validation images are from a model's training images"
        return
    if Pipeline(training.preprocess).needs_statistics and not source:
        yield "mean and variance of every pixel, once; can tell who is in it (AUC .98 at 60 cases)"
    if training.likeness and not source:
        yield "how images look, once, if all have cases enough (AUC .71 at 260)"
    if training.model.kind == "svm":
        svm, has_frequencies = training.model, max(content.shape[:2]) > 1 and training.model.features == "identity"
        if svm.solver == "gram-lbfgs" and has_frequencies and "gram" not in parts:
            yield "second moments of low frequencies, once, if all have cases enough (AUC below .6)"
        over = "the cases near the margin alone" if svm.loss == "squared_hinge" else "all training cases"
        yield f"loss and gradient at the model, each round: over {over}"
    else:
        plan, many = training.federation, len(content.cohort)
        draw = binding.drawn_of(plan, many)
        over = f"{binding.least_in_a_sum(plan, many)} at least of the {draw} sites that a round draws"
        yield f"the models' change by training at {over if draw < many else 'all sites'}, each round"
        if training.federation.local.optimizer == "sgd" or training.federation.local.moments == "averaged":
            yield "with it gradients as they are, which can show single images (docs/threat-model.md, limit 15)"
    yield "outcomes on validation cases, by class and score, after evaluated rounds"


def _carried_sums(source: Carried | None) -> str:
    if source is None:
        return "nothing: what is needed is asked of the sites"
    parts = [SUMMED.get(part, part) for part, _ in source.sha256] or ["no sums; it begins at another point"]
    return f"from run {source.name}: {', '.join(parts)}"


def _examination(models: Sequence[EvaluatedModel]) -> Iterator[str]:
    """What an evaluation asks, in plain words."""
    yield "Nothing is trained. Each site runs the models below on its own validation cases of this data set. A site's"
    yield "own counts leave only where policy.publish in its site.yaml has `figures`."
    for model in models:
        kind = model.training.model.kind
        yield from ("", f"model        {model.name} ({kind}), SHA-256 {model.sha256}")
        yield f"images       {'×'.join(map(str, model.shape))}, preprocessing {model.recipe}"
        steps = model.training.model_dump(mode="json", include={"preprocess"})
        if model.training.preprocess:
            yield from (f"  {line}" for line in yaml.safe_dump(steps, sort_keys=False).splitlines())

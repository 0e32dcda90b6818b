"""What a federated model is worth at this hospital, on its own test cases, which took no part in training.

Beside it: a model that this hospital trains alone by the same plan, and the blend of the two that its validation cases
speak for (`client.training.personalise`). The coordinator never learns a site's figures, so this is done here, and
stays here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.dataset.for_plan import own_cases
from client.home import Home
from client.plans.inbox import PlanInbox
from client.training.personalise import Scored, choose_blend, heads_near
from client.training.site import Site
from client.training.solved_alone import solve_alone
from common.algorithms import RoundTotal
from common.algorithms.course import Course, for_one
from common.config import Training
from common.errors import DataError, PlanError
from common.imaging import Pipeline
from common.metrics import paired, performance
from common.metrics.performance import Threshold
from common.models import Logits, Model
from common.package import ModelPackage
from common.plans.first_weights import first_weights
from common.plans.plan import RunPlan
from common.types import Cases, Labels, SiteCases, Tensors

Advance = Callable[[float, str], None]
"""Is told which share more is done, and what."""


@dataclass(frozen=True)
class LocalModel:
    """What this hospital trained by itself."""

    weights: Tensors
    pipeline: Pipeline
    counts: Tensors
    """Outcomes on its validation cases."""


class _Parts:
    """The parts of a blend, as functions of cases before the federated normalisation."""

    def __init__(self, model: Model, package: ModelPackage, local: LocalModel, train: Cases) -> None:
        common = package.pipeline
        heads = heads_near(model, package.weights, Cases(common.after(train.images), train.labels))
        federated = {"federated": package.weights, **heads}
        self.model = model
        self.parts = {"own": (local.weights, local.pipeline)} | {name: (w, common) for name, w in federated.items()}

    def scored(self, cases: Cases) -> Scored:
        """Every part's logits."""
        parts = self.parts.items()
        return Scored({n: self.model.scores(w, p.after(cases.images)) for n, (w, p) in parts}, cases.labels)


def plan_of(home: Home, package: ModelPackage) -> RunPlan:
    """The plan that a package's model was trained by.

    Raises:
        PlanError: this site does not know it.
    """
    provenance = package.content.provenance
    plan = next((plan for plan in PlanInbox(home).plans() if plan.digest == provenance.plan), None)
    if plan is None:
        raise PlanError(
            f"{package.content.name}: was not trained by a plan that this site knows, so there is nothing to train by. "
            "Expected a model of a run that this site was asked for."
        )
    return plan


def compare(home: Home, package: ModelPackage, plan: RunPlan, advance: Advance) -> dict[str, Any]:
    """Everything: figures of each model with intervals, and how far the federated one is better than the own.

    Raises:
        DataError: the site has no test or training cases under this plan.
        ConfigError: its data set is not there.
    """
    content, cases = plan.content, own_cases(home, plan)
    if not len(cases.test) or not len(cases.train):
        raise DataError(
            f"{home.folder / 'site.yaml'}: datasets.{content.dataset}: {len(cases.train)} training and "
            f"{len(cases.test)} test cases, expected some of both: sites.test says which share of the cases is kept "
            "for testing."
        )
    model = package.model()
    local = train_alone(cases, content.training, model, content.labels, advance)

    parts = _Parts(model, package, local, cases.train)
    blend = choose_blend(parts.scored(cases.train), validation := parts.scored(cases.validation), content.labels)
    counts = performance.count(blend(validation.logits), validation.labels)
    rule, scored = content.training.operating_point, parts.scored(cases.test)
    alone, together, labels = scored.logits["own"], scored.logits["federated"], scored.labels
    models: dict[str, tuple[NDArray[Any], Threshold]] = {
        "local": (alone, performance.operating_point(local.counts, rule)),
        "federated": (together, package.content.threshold),
        "personalised": (blend(scored.logits), performance.operating_point(counts, rule)),
    }
    by_class = np.bincount(labels, minlength=len(content.labels)).tolist()
    return {
        "site": home.site, "plan": plan.name, "model": package.content.name, "package": package.digest,
        "labels": list(content.labels), "training_cases": len(cases.train), "by_class": by_class,
        "own_share": blend.own_share, "personalised_by": blend.reason, "blend": blend.as_json(),
        "origin": home.settings.datasets[content.dataset].origin,
        "figures": {n: performance.score(scores, labels, point).as_json() for n, (scores, point) in models.items()},
        "better_by": difference(alone, together, labels, cases.test.people),
    }  # fmt: skip


def train_alone(
    cases: SiteCases, training: Training, model: Model, labels: Sequence[str], advance: Advance
) -> LocalModel:
    """This hospital's own model, by the plan's recipe: the CNN's rounds with one site, the SVM's exact optimum."""
    training = for_one(training).model_copy(update={"privacy": "none"})  # nothing of it leaves
    seed, pipeline = training.seeds[0], Pipeline(training.preprocess)
    site = Site(cases, pipeline, model, training.federation.local)
    course, state, total = Course.of(training, model, seed, (cases.name,)), dict[str, Any](), training.federation.rounds
    course = replace(course, initial=first_weights(training, model, labels))
    place = course.start()
    weights, counts = dict[str, Any](course.algorithm.weights(place.state)), dict[str, Any]()
    while not course.over(place):
        if place.asks != "statistics" and training.model.kind == "svm":
            weights, counts = map(dict, solve_alone(site, course, place.normalisation))
            break
        contribution, after = site.contribute(course.request(place), state)
        state, following = dict(after), course.after(place, RoundTotal(contribution.weighted(), (cases.name,), ()))
        if place.asks == "evaluate" and following.since == 0:
            weights, counts = dict(course.algorithm.weights(place.state)), dict(contribution.sums)
        if place.asks == "train":
            advance(1 / total, f"training alone: round {place.round + 1} of {total}")
        place = following
    whole_pipeline = (
        pipeline.with_statistics(place.normalisation["mean"], place.normalisation["variance"])
        if place.normalisation
        else pipeline
    )
    return LocalModel(weights, whole_pipeline, counts)


def difference(
    alone: Logits, together: Logits, labels: Labels, people: NDArray[np.int64] | None = None
) -> dict[str, Any] | None:
    """How much larger the AUC of the federated model is on the same cases; None where a class has fewer than two."""
    gap = paired.difference(alone, together, labels, people)
    return {"auc": gap.auc, "interval": list(gap.interval)} if gap else None

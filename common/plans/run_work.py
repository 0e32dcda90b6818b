"""What a run does, as its plan and approvals lay down: the model, the course of questions, and what answers look like.

Coordinator and sites work it out alike. Which sums are asked follows from what every site has cases enough for
(`common.plans.floors`), as all of them have signed.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

from common.algorithms.course import Course
from common.config import Training
from common.messages.answer_layout import evaluation, exchanges
from common.models import Model, build
from common.plans.approvals import Approvals
from common.plans.first_weights import first_weights
from common.secagg.key_period_plan import QuestionKind
from common.types import Tensors

NO_ARRAYS: Tensors = {}


@dataclass(frozen=True)
class RunWork:
    """A training, as a consortium has approved it."""

    training: Training
    """The plan's, without what too few cases stand behind."""
    model: Model
    course: Course
    shape: tuple[int, int, int]
    classes: int

    @classmethod
    def of(cls, approvals: Approvals, sums: Tensors = NO_ARRAYS, model: Model | None = None) -> Self:
        """From the approvals.

        Args:
            sums: the arrays that the plan carries from an earlier run.
            model: the same as would be built, where it is at hand.
        """
        plan = approvals.plan
        content, training = plan.content, approvals.training
        if model is None:
            model = _built(training.model_dump_json(), content.shape, len(content.labels), approvals.frequencies)
        course = Course.of(training, model, plan.seed, approvals.sites, len(content.cohort))
        if (weights := first_weights(training, model, content.labels)) is not None:
            course = replace(course, initial=weights)
        if content.carried:
            course = replace(course, carried_sums=sums)
        return cls(training, model, course, content.shape, len(content.labels))

    def question_kinds(self, sites: int) -> dict[str, QuestionKind]:
        """The layouts for a cohort of so many sites, by name."""
        plan_sites = self.course.plan_sites
        return exchanges(self.training, self.model, self.shape, self.classes, sites, plan_sites)


def question_kinds(approvals: Approvals, sums: Tensors, sites: int) -> dict[str, QuestionKind]:
    """The layouts of a run's questions, of a training or an evaluation, for a cohort of so many sites."""
    content = approvals.plan.content
    if content.models:
        most = content.training.federation.weight_bound
        multilabel = content.training.model.multilabel
        return evaluation(most, len(content.labels), sites, approvals.plan.looks, multilabel=multilabel)
    return RunWork.of(approvals, sums).question_kinds(sites)


@lru_cache(maxsize=4)
def _built(training_json: str, shape: tuple[int, int, int], classes: int, frequencies: int) -> Model:
    training = Training.model_validate_json(training_json)
    return build(training.model_for(training.seeds[0]), shape, classes, training.augment, frequencies)

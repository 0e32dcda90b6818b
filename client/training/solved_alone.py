"""The SVM of one member by itself, a site or all images pooled: the exact optimum on its own cases, by scikit-learn.

Of several C it takes, as a federation does, one after the other until the validation figure gets worse, by its own
validation cases.
"""

from client.training.site import Site, svm_of
from common.algorithms.course import Course
from common.metrics import performance
from common.models import Work
from common.types import Tensors


def solve_alone(site: Site, course: Course, normalisation: Tensors) -> tuple[Tensors, Tensors]:
    """Weights, and outcomes on the validation cases.

    Args:
        course: of this member alone; it says which figure chooses.

    Raises:
        DataError: without training cases.
    """
    train, validation = site.ready("train", normalisation), site.ready("validation", normalisation)
    best: tuple[Tensors, Tensors] = {}, {}
    selection: Tensors = {}
    for model in svm_of(site).candidates():
        weights = model.fit({}, train, Work(site.local, 0.0, course.seed)).weights
        counts = performance.count(model.scores(weights, validation.images), validation.labels)
        selection = course.select(selection, counts)
        if not selection["since"]:
            best = weights, counts
        elif course.patience is not None and selection["since"] >= course.patience:
            break
    return best

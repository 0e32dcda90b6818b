"""What a training begins from: a package's weights (`initial`), the same bits at every site, or what its seed gives."""

from collections.abc import Sequence

from common.config import Training
from common.errors import PackageError
from common.imaging import Pipeline
from common.models import Model, build
from common.package import package_library
from common.types import Tensors


def first_weights(training: Training, model: Model, labels: Sequence[str]) -> Tensors | None:
    """The weights of the package that a training begins from; None where it begins with fresh ones.

    Raises:
        PackageError: the package is not here, was changed, or its preprocessing, classes, model or image size are not
            the training's.
    """
    if training.initial is None:
        return None
    package = package_library.load(training.initial)
    content, about = package.content, f"initial: {package.content.name}"
    if content.recipe != Pipeline(training.preprocess).fingerprint():
        raise PackageError(
            f"{about}: was trained on images prepared in another way; expected this preprocessing. Take over the "
            "package's, or begin with fresh weights."
        )
    if content.labels != tuple(labels):
        raise PackageError(
            f"{about}: tells apart {', '.join(content.labels)}; expected {', '.join(labels)}, in this order."
        )
    sizes = {name: w.shape for name, w in model.init(0).items()}
    actual = {name: w.shape for name, w in package.weights.items()}
    if content.model.kind != model.kind or sizes != actual:
        name = next((name for name in {**sizes, **actual} if sizes.get(name) != actual.get(name)), "weights")
        raise PackageError(
            f"{about}: a {content.model.kind} whose '{name}' is {actual.get(name, 'not there')}; expected the "
            f"configuration's {model.kind}, {sizes.get(name, 'without it')}. Its model and image size must be the "
            "package's."
        )
    return package.weights


def refuse_unfit_beginning(training: Training, shape: tuple[int, int, int], labels: Sequence[str]) -> None:
    """Refuse a training whose package is not here, or does not fit; shape is of an image after the preprocessing.

    Raises:
        PackageError: as `first_weights`.
    """
    if training.initial is not None:
        first_weights(training, build(training.model_for(training.seeds[0]), shape, len(labels)), labels)

"""Section `model`: the convolutional network or the support vector machine."""

from typing import Annotated, Literal

from pydantic import Field

from common.config.section import Frozen, Positive


class Answers(Frozen):
    """What a model is asked."""

    multilabel: bool = False
    """Several findings an image, each present or not by itself: a score each, and unknown ones left out of all sums
    (docs/multilabel.md). Else an image is of one class."""


class Cnn(Answers):
    """A convolutional network (TensorFlow/Keras)."""

    kind: Literal["cnn"]
    architecture: Literal["plain", "groupnorm", "resnet"] = "plain"
    """plain: Conv 32, pool, Conv 64, pool, dense 64, dense softmax. groupnorm: the same widths with group
    normalisation and global pooling. resnet: residual blocks with group normalisation, for images of 224 and more."""
    width: Annotated[int, Field(ge=4, le=256)] = 32
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class Svm(Answers):
    """A linear support vector machine, one-vs-rest, on the image, an encoder's numbers, or random Fourier features."""

    kind: Literal["svm"]
    features: Literal["identity", "fourier"] = "identity"
    dimension: Annotated[int, Field(ge=2, le=16384)] = 1024
    """Number of random Fourier features."""
    gamma: Positive | None = None
    """Kernel width exp(-gamma |x-y|²); none: 1 / number of inputs."""
    loss: Literal["squared_hinge", "logistic"] = "squared_hinge"
    """Logistic: it is logistic regression then, whose scores are log-odds."""
    C: Positive = 0.01
    solver: Literal["lbfgs", "gram-lbfgs", "newton"] = "gram-lbfgs"
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """Stop when the relative decrease that the next step can still bring is below this."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Draws the Fourier features, the same at every site; none: the run's seed."""


ModelConfig = Annotated[Cnn | Svm, Field(discriminator="kind")]

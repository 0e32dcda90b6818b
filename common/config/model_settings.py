"""Section `model`: a network, built in, described or a plug-in's, or the support vector machine."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from common.config.layer_settings import AnyLayer
from common.config.section import Frozen, Positive
from common.plugins import Part, Setting


class Answers(Frozen):
    """What a model is asked."""

    multilabel: bool = False
    """Several findings an image, each present or not by itself: a score each, and unknown ones left out of all sums
    (docs/multilabel.md). Else an image is of one class."""


class Network(Answers):
    """A network, of TensorFlow/Keras: what its sites send is how training moved its weights."""

    kind: str


class Cnn(Network):
    """A convolutional network (TensorFlow/Keras)."""

    kind: Literal["cnn"]
    architecture: Literal["plain", "groupnorm", "resnet"] = "plain"
    """plain: Conv 32, pool, Conv 64, pool, dense 64, dense softmax. groupnorm: the same widths with group
    normalisation and global pooling. resnet: residual blocks with group normalisation, for images of 224 and more."""
    width: Annotated[int, Field(ge=4, le=256)] = 32
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class Described(Network):
    """A network described layer by layer; a last layer with a score for each class follows by itself."""

    kind: Literal["layers"]
    layers: Annotated[tuple[AnyLayer, ...], Field(min_length=1, max_length=64)]
    """From the image on, as in docs/models.md."""


class PluginNetwork(Network):
    """A Keras network that a plug-in's function builds. Other keys are the function's own."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Setting]

    kind: Literal["plugin"]
    part: Part
    """Of its `models`: DISTRIBUTION:NAME."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the function is told, as written."""
        return dict(self.__pydantic_extra__)


class Svm(Answers):
    """A linear support vector machine, one-vs-rest, on the image, an encoder's numbers, or random Fourier features."""

    kind: Literal["svm"]
    features: Literal["identity", "fourier", "unit"] = "identity"
    """identity: the numbers of an image as they are; fourier: random features of them; unit: rows of length 1, for a
    run with a budget (docs/privacy.md)."""
    parts: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Of unit rows, how many numbers are centred and scaled together; none: all, or with embed each layer's."""
    dimension: Annotated[int, Field(ge=2, le=16384)] = 1024
    """Number of random Fourier features."""
    gamma: Positive | None = None
    """Kernel width exp(-gamma |x-y|²); none: 1 / number of inputs."""
    loss: Literal["squared_hinge", "logistic", "softmax"] = "squared_hinge"
    """Logistic: it is logistic regression then, whose scores are log-odds; softmax: of all classes together."""
    class_weight: Literal["balanced"] | None = None
    """Balanced: every class counts alike, however many cases all sites together have of it."""
    C: Positive | Annotated[tuple[Positive, ...], Field(min_length=1, max_length=16)] = 0.01
    """Regularisation, weaker the larger. Several, rising: one after the other is trained, until the validation figure
    of `federation.select` gets worse; the best is kept."""
    solver: Literal["lbfgs", "gram-lbfgs", "newton"] = "gram-lbfgs"
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """Stop when the relative decrease that the next step can still bring is below this."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Draws the Fourier features, the same at every site; none: the run's seed."""

    @property
    def candidates(self) -> tuple[float, ...]:
        """Every C, from strong regularisation to weak."""
        return self.C if isinstance(self.C, tuple) else (self.C,)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if any(weaker <= stronger for stronger, weaker in pairwise(self.candidates)):
            raise ValueError("C: several are tried from strong regularisation to weak: expected rising numbers")
        if self.parts and self.features != "unit":
            raise ValueError("parts are of features: unit, which are centred and scaled part by part")
        if self.multilabel and (self.loss == "softmax" or self.class_weight):
            raise ValueError("softmax and class_weight are for classes that exclude each other, and findings do not")
        if self.loss == "softmax" and self.solver == "newton":
            raise ValueError("solver newton takes each class by itself, and softmax takes all together: use lbfgs")
        return self


ModelConfig = Annotated[Cnn | Described | PluginNetwork | Svm, Field(discriminator="kind")]

"""A model that a plan has evaluated: what the plan says of it, and the one question that is asked with it.

The question is the same that training asks after a round, so that a site knows a model again, in whatever plan it
comes, and answers for it with the same sites alone (`common.secagg.Participant.agree`).
"""

from typing import Annotated, Any

from numpy.typing import NDArray
from pydantic import Field

from common.config import Frozen, Line, Shape, Training
from common.imaging import Pipeline
from common.messages.transport import Request
from common.storage import tensorfile
from common.trust.keys import digest
from common.types import Tensors

PARTS = ("weights/", "recipe/", "likeness/")
DISTANCES = "likeness/distances"
"""An outcome on validation cases, which training has put into the file beside what it is asked with."""


class EvaluatedModel(Frozen):
    """As the signed plan has it; the weights travel with the question, and a site holds them against `sha256`."""

    name: Line
    """The run that it comes from."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of all that the model is asked with (`arrays_of`)."""
    training: Training
    """What it was trained with: the model and its preprocessing are taken from it, and nothing is trained."""
    shape: Shape
    """Of an image after preprocessing: height, width, channels."""
    recipe: str
    """Fingerprint of the preprocessing."""
    threshold: float | tuple[float, ...] | None
    """Its operating point, log-odds, of several findings one for each; none for more than two classes."""
    looks: bool = False
    """Whether it knows how its training images looked, so that distances from them are counted too."""

    @property
    def preprocessing_fits(self) -> bool:
        """Whether the fingerprint is that of the preprocessing described."""
        return self.recipe == Pipeline(self.training.preprocess).fingerprint()

    def question(self, arrays: Tensors, round: int) -> Request:
        """Ask for the model's outcomes.

        Args:
            arrays: as `arrays_of` has them.
        """
        return Request("evaluate", round, arrays, {"recipe": self.recipe})


def arrays_of(file: Tensors) -> dict[str, NDArray[Any]]:
    """What a model is asked with, of the arrays in its file: weights; federated mean and variance where the
    preprocessing has them; sums over how the training images looked where the run gathered them."""
    return {name: file[name] for name in sorted(file) if name.startswith(PARTS) and name != DISTANCES}


def fingerprint_of(arrays: Tensors) -> str:
    """SHA-256 that names a model by its numbers."""
    return digest("model", tensorfile.pack(arrays_of(arrays), {})).hex()

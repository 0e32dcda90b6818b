"""A model that a plan has evaluated: what the plan says of it, and the one question that is asked with it.

The question is the same that training asks after a round, so that a site knows a model again, in whatever plan it
comes, and answers for it with the same sites alone (`common.secagg.Site.agree`).
"""

from typing import Annotated

from pydantic import Field

from common import tensorfile
from common.config import Count, Frozen, Training
from common.imaging import Pipeline
from common.secagg.keys import digest
from common.transport import Request
from common.types import Tensors, prefixed


class Examined(Frozen):
    """As the signed plan has it; the weights travel with the question, and a site holds them against `sha256`."""

    name: str
    """The run that it comes from."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of weights and, where the preprocessing has them, federated mean and variance (`fingerprint_of`)."""
    training: Training
    """What it was trained with: the model and its preprocessing are taken from it, and nothing is trained."""
    shape: tuple[Count, Count, Count]
    """Of an image after preprocessing: height, width, channels."""
    recipe: str
    """Fingerprint of the preprocessing."""
    threshold: float | None
    """Its operating point, log-odds; none for more than two classes."""

    @property
    def recipe_fits(self) -> bool:
        """Whether the fingerprint is that of the preprocessing described."""
        return self.recipe == Pipeline(self.training.preprocess).fingerprint()

    def question(self, arrays: Tensors, round: int) -> Request:
        """Ask for the model's outcomes.

        Args:
            arrays: `weights/…` and `recipe/…`, as in the model's file.
        """
        return Request("evaluate", round, arrays, {"recipe": self.recipe})


def arrays_of(weights: Tensors, recipe: Tensors) -> Tensors:
    """Weights, and federated mean and variance, as they are asked with and hashed."""
    return prefixed("weights", weights) | prefixed("recipe", recipe)


def fingerprint_of(arrays: Tensors) -> str:
    """SHA-256 that names a model by its numbers: `weights/…` and `recipe/…`, and nothing else."""
    named = {n: a for n, a in sorted(arrays.items()) if n.startswith(("weights/", "recipe/"))}
    return digest("model", tensorfile.pack(named, {})).hex()

"""A network that can be trained under a budget of privacy, as the protocol sees it: TensorFlow is not loaded for it."""

from typing import Protocol, runtime_checkable

from common.models import Model, Work
from common.privacy.price_list import SampledSteps
from common.types import Cases, Tensors


@runtime_checkable
class PrivateNetwork(Model, Protocol):
    """A `Model` whose training can be noised step by step."""

    classes: int

    def fit_privately(
        self, weights: Tensors, cases: Cases, work: Work, steps: SampledSteps, step_patients: float
    ) -> Tensors:
        """The weights after a site's steps by DP-SGD.

        Args:
            step_patients: patients in a step at a site of middle size, by which a step's sum is divided.
        """
        ...

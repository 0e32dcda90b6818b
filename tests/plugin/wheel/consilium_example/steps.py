"""A preprocessing step."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field


def gamma(stack: NDArray[np.float32], *, value: Annotated[float, Field(gt=0.0, le=10.0)] = 1.0) -> NDArray[np.float32]:
    """v -> v^value: below 1 the dark parts become brighter, above 1 darker."""
    return np.clip(stack, 0.0, 1.0) ** np.float32(value)

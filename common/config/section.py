"""What every section of a configuration has: unknown keys are refused, and nothing changes after loading."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def _bearable(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    if max(shape) > MOST_SIDE or shape[0] * shape[1] * shape[2] > MOST_NUMBERS:
        raise ValueError(f"an image of more than {MOST_NUMBERS:,} numbers, or a side above {MOST_SIDE:,}")
    return shape


MOST_SIDE, MOST_NUMBERS = 2**16, 2**26
Shape = Annotated[tuple[Count, Count, Count], AfterValidator(_bearable)]
"""Of an image: height, width, channels."""
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\t\n\u2028\u2029]+$")]
"""Text on a page that people decide by: it begins no line of its own there."""


class Frozen(BaseModel):
    """A section of the configuration: unknown keys are refused, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

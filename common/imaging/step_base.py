"""What every preprocessing step has: settings that are checked when loaded, a label, and a function of a stack."""

from abc import abstractmethod
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from common.types import Stack

Size = Annotated[int, Field(ge=1, le=8192)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0.0, le=100.0)]
Number = Annotated[float, Field(allow_inf_nan=False)]


def square(size: object) -> object:
    """One number for both sides."""
    return (size, size) if isinstance(size, int | float) else size


class Step(BaseModel):
    """What every step has: unknown keys are refused, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def label(self) -> str:
        """For people: the step's name and what it was told."""
        settings = self.model_dump(exclude_none=True)
        name = settings.pop("step")
        parts = [key if value is True else f"{key} {_brief(value)}" for key, value in settings.items() if value]
        return f"{name}: {', '.join(parts)}".replace("_", " ") if parts else str(name)


class Transform(Step):
    """Every step but the window."""

    @abstractmethod
    def apply(self, stack: Stack) -> Stack:
        """The stack after this step; the input is not changed."""


def _brief(value: object) -> str:
    if isinstance(value, tuple):
        return "×".join(map(_brief, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

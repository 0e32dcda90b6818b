"""Light augmentation in training, as configuration. The CNN applies it on the fly; nothing else sees it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Augment(BaseModel):
    """Random changes that leave the diagnosis as it is. All off by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: bool = False
    """Left and right, half of the time. Not where the side matters."""
    shift: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Largest shift, as a share of width and height."""
    rotate_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    zoom: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    brightness: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Largest additive change, in standard deviations of the image."""
    contrast: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0

"""The step `plugin`: a function of an image that an installed wheel offers."""

from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict

from common.errors import PluginError
from common.imaging.step_base import Transform
from common.plugins import Part, Setting, checked_settings, load_part, run_part
from common.types import Stack


class PluginStep(Transform):
    """What a plug-in's function makes of each image by itself; its shape stays. Other keys are the function's own."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Setting]

    step: Literal["plugin"]
    part: Part
    """Of its `steps`: DISTRIBUTION:NAME."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the function is told, as written."""
        return dict(self.__pydantic_extra__)

    def label(self) -> str:
        """For people: the part, its version, and what it was told."""
        settings = ", ".join(f"{key} {value}" for key, value in self.settings.items())
        return f"{self.part} {self.part.version or ''}".strip() + (f": {settings}" if settings else "")

    def settled(self) -> "PluginStep":
        """The same, with the digest of the wheel that is installed; its settings are checked.

        Raises:
            PluginError: it is not installed, or does not take them.
        """
        step = self.model_copy(update={"part": self.part.settled()})
        checked_settings(step.part, load_part("steps", step.part), self.settings)
        return step

    def apply(self, stack: Stack) -> Stack:
        """Image by image, float32[n, h, w, c] -> the same: so that no image can get into another.

        Raises:
            PluginError: the function raised an error, or made something else of an image than an image of its shape.
        """
        function = load_part("steps", self.part)
        settings = checked_settings(self.part, function, self.settings)
        images = np.empty_like(stack, np.float32)
        for place, image in enumerate(stack):
            answer = np.asarray(run_part(self.part, function, image[None].copy(), **settings))
            if answer.shape != image[None].shape or answer.dtype.kind != "f" or not np.isfinite(answer).all():
                raise PluginError(
                    "plugin-fails",
                    f"{self.part} made {answer.dtype}{list(answer.shape)} of an image float32[1, "
                    f"{', '.join(map(str, image.shape))}]; expected finite numbers of the same shape.",
                )
            images[place] = answer[0]
        return images

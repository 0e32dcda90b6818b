"""Which part of a picture, as it was read, a model sees: the way back through resize and crop."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.imaging.step_order import AnyStep
from common.imaging.steps import Crop, Resize


@dataclass(frozen=True)
class Footprint:
    """The edges of what the model sees, in pixels of the picture; beyond it where the recipe fills up with 0."""

    top: float
    left: float
    bottom: float
    right: float


def footprint(steps: Sequence[AnyStep], height: int, width: int) -> Footprint:
    """What is left of a picture of height × width pixels after the steps."""
    rows, columns = _Axis(height), _Axis(width)
    for step in steps:
        if isinstance(step, Resize):
            goal = step.size
            scale = min(goal[0] / rows.pixels, goal[1] / columns.pixels)
            for axis, side in zip((rows, columns), goal, strict=True):
                if step.keep_aspect:
                    axis.scale_to(inner := max(1, round(axis.pixels * scale)))
                    axis.crop(-((side - inner) // 2), side)
                else:
                    axis.scale_to(side)
        elif isinstance(step, Crop):
            top, left, inner_height, inner_width = step.part(rows.pixels, columns.pixels)
            rows.crop(top, inner_height)
            columns.crop(left, inner_width)
    return Footprint(rows.start, columns.start, rows.end, columns.end)


class _Axis:
    """One direction: pixels now, and where they lie in the picture."""

    def __init__(self, pixels: int) -> None:
        self.pixels, self.start, self.end = pixels, 0.0, float(pixels)

    def scale_to(self, pixels: int) -> None:
        self.pixels = pixels

    def crop(self, first: int, pixels: int) -> None:
        size = (self.end - self.start) / self.pixels
        self.start, self.end = self.start + first * size, self.start + (first + pixels) * size
        self.pixels = pixels

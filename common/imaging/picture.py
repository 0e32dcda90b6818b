"""What a reader gives: one image in its natural units, and the range that is shown."""

from dataclasses import dataclass

import numpy as np

from common.types import Stack


@dataclass(frozen=True)
class Picture:
    """One image as read.

    Attributes:
        pixels: float32[h, w, c] in natural units (grey levels, Hounsfield units …), c = 1 (grey) or 3 (RGB).
        low: value shown as black, mapped to 0.
        high: value shown as white, mapped to 1: 0..255 for 8 bits; for DICOM the file's window, else its range.
        name: what an error should call it, such as its path; empty: its number.
        is_shown: the file shows its values by a curve (VOI LUT, sigmoid), and the pixels are what that gives, 0..1.
            A fixed window, in natural units, does not fit them.
    """

    pixels: Stack
    low: float
    high: float
    name: str = ""
    is_shown: bool = False

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.dtype != np.float32 or not self.pixels.size:
            raise ValueError(f"pixels are float32[h, w, c], not {self.pixels.dtype}{list(self.pixels.shape)}")

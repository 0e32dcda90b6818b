"""From a picture as read to the array that a model sees: steps, pure functions on stacks, composed in the configuration.

`steps` is what a configuration may say, `pipeline` runs it, and the arithmetic is in `window`, `geometry`, `filters`,
`segment` and `contrast`. Every site must run the same pipeline: its fingerprint says so.
"""

from dataclasses import dataclass

from common.types import Stack


@dataclass(frozen=True)
class Picture:
    """One image as a reader gives it.

    Attributes:
        pixels: float32[h, w, c] in natural units (grey levels, Hounsfield units …), c = 1 (grey) or 3 (RGB).
        low: value shown as black, mapped to 0.
        high: value shown as white, mapped to 1: 0..255 for 8 bits; for DICOM the file's window, else its range.
    """

    pixels: Stack
    low: float
    high: float

"""The preprocessing steps as configuration: `preprocess: [{step: gaussian, sigma: 1.0}, {step: resize, size: 64}]`.

Each is a pure function of a stack: float32[n, h, w, c] -> float32[n, h', w', c'], image by image, inputs untouched.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from common.imaging import contrast, filters, geometry, segment, window
from common.imaging.step_base import Number, Percent, Positive, Size, Step, Transform, square
from common.types import Stack


class Window(Step):
    """Natural units to 0..1, clipped. Always first; where a configuration has none, the file's is put first."""

    step: Literal["window"]
    source: Literal["file", "percentile"] = "file"
    """`file`: the picture's own range; `percentile`: from `low` to `high` percent of each image."""
    low: Percent = 1.0
    """Of source: percentile."""
    high: Percent = 99.0
    center: Number | None = None
    """Middle of a fixed window in natural units, for example 40 HU; with `width`."""
    width: Positive | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Window":
        if (self.center is None) != (self.width is None):
            raise ValueError("center and width go together")
        if self.center is not None and self.source == "percentile":
            raise ValueError("give either source: percentile or center and width")
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low:g} and {self.high:g} percent")
        return self

    def label(self) -> str:
        """The kind of window that is in force, alone."""
        if self.center is not None and self.width is not None:
            return f"window: center {self.center:g}, width {self.width:g}"
        return f"window: {self.low:g}..{self.high:g} %" if self.source == "percentile" else "window: file's own"

    def to_unit(self, stack: Stack, low: NDArray[np.float32], high: NDArray[np.float32]) -> Stack:
        """The stack in 0..1; `low` and `high` are the pictures' own ranges, float32[n]."""
        if self.center is not None and self.width is not None:
            low = np.full(len(stack), self.center - self.width / 2, np.float32)
            high = np.full(len(stack), self.center + self.width / 2, np.float32)
        elif self.source == "percentile":
            low, high = window.percentiles(stack, self.low, self.high)
        return window.to_unit(stack, low, high)


class Resize(Transform):
    """To one size: averages without aliasing when shrinking, bilinear when enlarging."""

    step: Literal["resize"]
    size: Annotated[tuple[Size, Size], BeforeValidator(square)]
    """[height, width], or one number for a square."""
    keep_aspect: bool = False
    """Fit inside `size` and fill the rest with 0, centred; otherwise stretch."""

    def apply(self, stack: Stack) -> Stack:
        """float32[n, h, w, c] -> float32[n, *size, c]."""
        return (geometry.fit if self.keep_aspect else geometry.resize)(stack, *self.size)


class Crop(Transform):
    """A part: the centre of `size` [height, width] (or one number), or `box` [top, left, height, width]."""

    step: Literal["crop"]
    size: Annotated[tuple[Positive, Positive] | None, BeforeValidator(square)] = None
    box: tuple[Number, Number, Positive, Positive] | None = None
    unit: Literal["pixels", "share"] = "pixels"
    """`share`: of the image's height and width, 0..1."""

    @model_validator(mode="after")
    def _one_part(self) -> "Crop":
        if (self.size is None) == (self.box is None):
            raise ValueError("give either size: [height, width] or box: [top, left, height, width]")
        numbers = self.box or self.size or ()
        if min(numbers) < 0:
            raise ValueError("top and left count from 0")
        if self.unit == "pixels" and any(n != int(n) for n in numbers):
            raise ValueError("pixels are whole numbers; for parts of the image say unit: share")
        if self.unit == "share" and max(numbers) > 1:
            raise ValueError("shares of the image lie in 0..1; for pixels leave out unit: share")
        return self

    def apply(self, stack: Stack) -> Stack:
        """float32[n, h, w, c] -> float32[n, h', w', c]."""
        return geometry.crop(stack, *self.part(*stack.shape[1:3]))

    def part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part of an image, in pixels."""
        h, w = (height, width) if self.unit == "share" else (1, 1)
        if self.box:
            top, left, rows, columns = (round(part * whole) for part, whole in zip(self.box, (h, w, h, w), strict=True))
            return top, left, rows, columns
        rows, columns = (round(part * whole) for part, whole in zip(self.size or (), (h, w), strict=True))
        return (height - rows) // 2, (width - columns) // 2, rows, columns


class Grey(Transform):
    """RGB to luminance, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); grey stays as it is."""

    step: Literal["grey"]

    def apply(self, stack: Stack) -> Stack:
        """float32[n, h, w, 1 or 3] -> float32[n, h, w, 1]."""
        return geometry.grey(stack)


class Mean(Transform):
    """g(x, y) = average of the (2k+1)² window; at the border the average of the part inside."""

    step: Literal["mean"]
    radius: Annotated[int, Field(ge=1, le=256)] = 1
    """k, in pixels."""

    def apply(self, stack: Stack) -> Stack:
        """Every channel by itself; the shape stays."""
        return filters.mean(stack, self.radius)


class Gaussian(Transform):
    """Convolution with exp(-(x² + y²) / 2σ²) / 2πσ², cut at 4σ, sum 1; at the border the image is mirrored."""

    step: Literal["gaussian"]
    sigma: Annotated[float, Field(gt=0.0, le=64.0)] = 1.0
    """In pixels."""

    def apply(self, stack: Stack) -> Stack:
        """Every channel by itself; the shape stays."""
        return filters.gaussian(stack, self.sigma)


class Edges(Transform):
    """Edge-based segmentation: |∇I| by differences, a threshold, closing, removal of small pieces."""

    step: Literal["edges"]
    threshold: Literal["otsu"] | Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = "otsu"
    """`otsu`: chosen for each image; or a gradient, in units of the 0..1 range a pixel."""
    close: Annotated[int, Field(ge=0, le=32)] = 0
    """Gaps up to twice this many pixels are closed."""
    min_pixels: Annotated[int, Field(ge=0)] = 0
    """Connected pieces smaller than this are removed."""
    output: Literal["mask", "channel", "overlay"] = "channel"
    """`mask`: 0 or 1 instead of the image; `channel`: the mask beside it; `overlay`: white on the image."""

    def apply(self, stack: Stack) -> Stack:
        """float32[n, h, w, c] -> c' = 1 (mask), c + 1 (channel) or c (overlay)."""
        threshold = None if self.threshold == "otsu" else self.threshold
        outline = segment.edges(geometry.intensity(stack), threshold, self.close, self.min_pixels)
        mask = outline[..., None].astype(np.float32)
        if self.output == "overlay":
            return np.maximum(stack, mask)
        return mask if self.output == "mask" else np.concatenate([stack, mask], axis=3)


class Clusters(Transform):
    """Cluster-based segmentation: exact k-means of intensities, 0 for the darkest cluster to 1 for the brightest."""

    step: Literal["clusters"]
    k: Annotated[int, Field(ge=2, le=16)] = 2
    bins: Literal[256, 65536] = 256
    """Grey levels that are told apart."""
    output: Literal["mask", "channel"] = "channel"
    """`mask`: the clusters instead of the image; `channel`: beside it."""

    def apply(self, stack: Stack) -> Stack:
        """float32[n, h, w, c] -> c' = 1 (mask) or c + 1 (channel)."""
        cluster_map = segment.clusters(geometry.intensity(stack), self.k, self.bins)
        mask = cluster_map[..., None] * np.float32(1 / (self.k - 1))
        return mask if self.output == "mask" else np.concatenate([stack, mask], axis=3)


class Clahe(Transform):
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) on 256 grey levels."""

    step: Literal["clahe"]
    clip: Annotated[float, Field(gt=0.0, le=256.0)] = 2.0
    """Most a bin may hold, as a multiple of the bins' mean."""
    tiles: Annotated[int, Field(ge=1, le=64)] = 8
    """In each direction."""

    def apply(self, stack: Stack) -> Stack:
        """The shape stays; colours keep their differences from grey."""
        return contrast.clahe(stack, self.clip, self.tiles)


class Normalise(Transform):
    """Subtract a mean, divide by a standard deviation."""

    step: Literal["normalise"]
    by: Literal["federated", "image", "fixed"] = "federated"
    """`federated`: over all sites' training images; `image`: each image's own; `fixed`: `mean` and `std` given here."""
    per: Literal["pixel", "channel"] = "channel"
    """Federated alone: one mean and deviation for each pixel, or one for each channel."""
    mean: Number | None = None
    std: Positive | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Normalise":
        if (self.by == "fixed") != (self.mean is not None and self.std is not None):
            raise ValueError("mean and std are given with by: fixed, both, and only there")
        if self.by != "federated" and self.per == "pixel":
            raise ValueError("per: pixel needs by: federated")
        return self

    def apply(self, stack: Stack) -> Stack:
        """By the image or by fixed numbers; the federated ones are the pipeline's to give."""
        if self.by == "federated":
            raise ValueError("federated normalisation waits for statistics: Pipeline.with_statistics(mean, variance)")
        if self.mean is None or self.std is None:
            return window.standardise_each(stack)
        return window.standardise(stack, np.array(self.mean, np.float32), np.array(self.std, np.float32))

"""The preprocessing steps as configuration: `preprocess: [{step: gaussian, sigma: 1.0}, {step: resize, size: 64}]`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Size = Annotated[int, Field(ge=1, le=8192)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0.0, le=100.0)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Step(BaseModel):
    """What every step has: unknown keys are refused, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Window(Step):
    """Natural units to 0..1, clipped. Always first; put first by itself (source: file) where a configuration has none."""

    step: Literal["window"] = "window"
    source: Literal["file", "percentile"] = "file"
    """`file`: the picture's own range; `percentile`: from `low` to `high` percent of each image."""
    low: Percent = 1.0
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


class Resize(Step):
    """To `size` (height and width): averaging over the triangle of the scale when shrinking, bilinear when enlarging."""

    step: Literal["resize"]
    size: Size | tuple[Size, Size]
    """One number for a square, or [height, width]."""
    keep_aspect: bool = False
    """Fit inside `size` and fill the rest with 0, centred; otherwise stretch."""


class Crop(Step):
    """A part: the centre of `size` [height, width], or `box` [top, left, height, width]."""

    step: Literal["crop"]
    size: tuple[Positive, Positive] | None = None
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


class Grey(Step):
    """RGB to luminance, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); grey stays as it is."""

    step: Literal["grey"]


class Mean(Step):
    """g(x, y) = average of the (2k+1)² window; at the border the average of the part inside."""

    step: Literal["mean"]
    radius: Annotated[int, Field(ge=1, le=256)] = 1
    """k, in pixels."""


class Gaussian(Step):
    """Convolution with exp(-(x² + y²) / 2σ²) / 2πσ², cut at 4σ, sum 1; at the border the image is mirrored."""

    step: Literal["gaussian"]
    sigma: Annotated[float, Field(gt=0.0, le=64.0)] = 1.0
    """In pixels."""


class Edges(Step):
    """Edge-based segmentation: |∇I| by differences, a threshold, closing, removal of small pieces."""

    step: Literal["edges"]
    threshold: Literal["otsu"] | Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = "otsu"
    """`otsu`: chosen for each image; or a gradient, in units of the 0..1 range a pixel."""
    close: Annotated[int, Field(ge=0, le=32)] = 0
    """Gaps up to twice this many pixels are closed."""
    min_pixels: Annotated[int, Field(ge=0)] = 0
    """Connected pieces smaller than this are removed."""
    output: Literal["mask", "channel", "overlay"] = "channel"


class Clusters(Step):
    """Cluster-based segmentation: exact k-means of the intensities, 0 for the darkest cluster to 1 for the brightest."""

    step: Literal["clusters"]
    k: Annotated[int, Field(ge=2, le=16)] = 2
    bins: Literal[256, 65536] = 256
    """Grey levels that are told apart."""
    output: Literal["mask", "channel"] = "channel"


class Clahe(Step):
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) on 256 grey levels."""

    step: Literal["clahe"]
    clip: Annotated[float, Field(gt=0.0, le=256.0)] = 2.0
    """Most a bin may hold, as a multiple of the bins' mean."""
    tiles: Annotated[int, Field(ge=1, le=64)] = 8
    """In each direction."""


class Normalise(Step):
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


AnyStep = Annotated[
    Window | Resize | Crop | Grey | Mean | Gaussian | Edges | Clusters | Clahe | Normalise, Field(discriminator="step")
]

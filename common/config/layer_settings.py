"""A network described layer by layer: the layers that a configuration may name, with Keras's names and arguments."""

from typing import Annotated, Literal

from pydantic import Field

from common.config.section import Frozen

Width = Annotated[int, Field(ge=1, le=4096)]
Window = Annotated[int, Field(ge=1, le=32)]
Activation = Literal["relu", "gelu", "silu", "tanh", "elu"] | None


class Conv2D(Frozen):
    """A convolution."""

    layer: Literal["Conv2D"]
    filters: Width
    kernel_size: Window = 3
    strides: Window = 1
    padding: Literal["valid", "same"] = "valid"
    activation: Activation = None
    use_bias: bool = True


class DepthwiseConv2D(Frozen):
    """A convolution of each channel by itself."""

    layer: Literal["DepthwiseConv2D"]
    kernel_size: Window = 3
    strides: Window = 1
    padding: Literal["valid", "same"] = "valid"
    activation: Activation = None
    use_bias: bool = True


class GroupNormalization(Frozen):
    """Channels normalised in groups within each image; there are no batch statistics, which no site may average."""

    layer: Literal["GroupNormalization"]
    groups: Width = 1


class MaxPooling2D(Frozen):
    """The largest of each window."""

    layer: Literal["MaxPooling2D"]
    pool_size: Window = 2


class AveragePooling2D(Frozen):
    """The mean of each window."""

    layer: Literal["AveragePooling2D"]
    pool_size: Window = 2


class GlobalAveragePooling2D(Frozen):
    """The mean of each channel."""

    layer: Literal["GlobalAveragePooling2D"]


class Flatten(Frozen):
    """All numbers in a row."""

    layer: Literal["Flatten"]


class Dense(Frozen):
    """All numbers to all."""

    layer: Literal["Dense"]
    units: Annotated[int, Field(ge=1, le=16384)]
    activation: Activation = None
    use_bias: bool = True


class Activate(Frozen):
    """A function of each number."""

    layer: Literal["Activation"]
    activation: Literal["relu", "gelu", "silu", "tanh", "elu"]


class Dropout(Frozen):
    """A share of the numbers is left out in training."""

    layer: Literal["Dropout"]
    rate: Annotated[float, Field(ge=0.0, lt=1.0)]


AnyLayer = Annotated[
    Conv2D | DepthwiseConv2D | GroupNormalization | MaxPooling2D | AveragePooling2D | GlobalAveragePooling2D | Flatten
    | Dense | Activate | Dropout,
    Field(discriminator="layer"),
]  # fmt: skip

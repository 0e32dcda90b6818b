"""The step `embed`: a pretrained encoder looks at the image, and what it sees takes the image's place."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from common.encoders import encoder_library
from common.errors import EncoderError
from common.imaging import geometry, window
from common.imaging.step_base import Number, Transform
from common.types import Stack


class Embed(Transform):
    """What a pretrained encoder sees: the means of its layers' maps, side by side, in the place of the image.

    Which encoder it is says the digest of its file: a configuration may leave it out, and loading fills it in.
    """

    step: Literal["embed"]
    encoder: Annotated[str, Field(min_length=1, max_length=60)]
    """Its name."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of its file."""
    layers: Annotated[tuple[str, ...], Field(max_length=32)] = ()
    """Whose means are joined; none: those that its description calls usual."""
    size: Annotated[int, Field(ge=16, le=2048)] | None = None
    """Side to which images are resized, in pixels; none: the encoder's own."""
    range: Literal["encoder"] | tuple[Number, Number] = "encoder"
    """What black and white become: as its description says, or these two numbers."""
    channels: Literal["repeat"] = "repeat"
    """Grey images are shown as red, green and blue alike."""

    def settled(self) -> "Embed":
        """The same, with everything that it leaves to the encoder.

        Raises:
            EncoderError: the encoder is not here, has no such layer, or does not take images of this size.
        """
        encoder = encoder_library.load(self.sha256) if self.sha256 else encoder_library.find(self.encoder)
        about = encoder.about
        if about.name != self.encoder:
            raise EncoderError(f"the encoder with SHA-256 {encoder.sha256} is {about.name}, expected {self.encoder}.")
        if strange := [layer for layer in self.layers if layer not in about.layers]:
            raise EncoderError(f"encoder {about.name} has no layer {strange[0]}; expected {', '.join(about.layers)}.")
        encoder.refuse_size(size := self.size or about.size)
        settled = {"sha256": encoder.sha256, "layers": self.layers or about.usual, "size": size}
        return self.model_copy(update=settled)

    def shows(self) -> str:
        """For people: what the encoder makes of an image before it looks at it."""
        about = encoder_library.load(self._digest).about
        scale = (
            f"minus {about.mean}, divided by {about.deviation}" if self.range == "encoder"
            else f"black {self.range[0]:g}, white {self.range[1]:g}"
        )  # fmt: skip
        return f"resize: {self.size}×{self.size}; red, green and blue, {scale}"

    def dimensions(self) -> int:
        """How many numbers an image becomes."""
        return encoder_library.load(self._digest).about.dimensions(self.layers)

    def channels_of_layers(self) -> tuple[int, ...]:
        """How many of the numbers are of each layer."""
        channels = encoder_library.load(self._digest).about.layers
        return tuple(channels[layer] for layer in self.layers)

    def apply(self, stack: Stack) -> Stack:
        """float32[n, h, w, 1 or 3] of 0..1 -> float32[n, 1, 1, d]."""
        return self.numbers(self.inputs(stack))

    def numbers(self, inputs: Stack) -> Stack:
        """What the encoder makes of what it is shown: float32[n, size, size, 3] to float32[n, 1, 1, d].

        Raises:
            EncoderError: it is not here, or its numbers are not finite.
        """
        from common.encoders.encoder_network import network

        numbers = network(encoder_library.load(self._digest), self.layers).embed(inputs)
        if not (finite := np.isfinite(numbers).all(axis=1)).all():
            raise EncoderError(
                f"encoder {self.encoder} makes numbers that are not finite of {int((~finite).sum())} of these images."
            )
        return numbers[:, None, None, :]

    def inputs(self, stack: Stack) -> Stack:
        """What the encoder is shown: float32[n, size, size, 3]."""
        if stack.shape[3] not in (1, 3):
            raise EncoderError(f"images of {stack.shape[3]} channels, expected grey or RGB: embed comes before others.")
        about, size = encoder_library.load(self._digest).about, self.size or 0
        resized = np.repeat(geometry.resize(stack, size, size), 3 // stack.shape[3], axis=3)
        if self.range != "encoder":
            black, white = self.range
            return resized * np.float32(white - black) + np.float32(black)
        return window.standardise(resized, np.array(about.mean, np.float32), np.array(about.deviation, np.float32))

    @property
    def _digest(self) -> str:
        if self.sha256 is None or not self.layers or self.size is None:
            raise EncoderError(f"embed: {self.encoder}: sha256, layers and size are not settled. Load it from a file.")
        return self.sha256

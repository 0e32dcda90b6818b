"""The file of an encoder: arrays in safetensors format, and what they are, in its header."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.encoders import encoder_shapes
from common.encoders.encoder_graph import EncoderGraph
from common.errors import ConsiliumError, EncoderError
from common.storage import tensorfile
from common.types import Tensors

SUFFIX = ".encoder"
LARGEST_BYTES = 2 << 30

TRUST = (
    "Whoever made an encoder decides what a sum of its numbers tells: a crafted one can make a sum over all hospitals "
    "show one patient's image, and no floor notices. Take it from whom you trust, and compare the SHA-256 with theirs."
)
"""What people have to know before they keep an encoder, or approve a plan with one."""

Words = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class EncoderAbout(BaseModel):
    """What people and plans have to know of an encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]
    licence: Words
    """SPDX identifier, or the licence's name."""
    source: Words
    """Who made it, and where it is to be had."""
    trained_on: Words
    """The images that it was trained on, and their terms."""
    size: Annotated[int, Field(ge=16, le=2048)]
    """Side of its images in pixels; it takes others as well."""
    mean: tuple[Number, Number, Number]
    """Of each channel of images in 0..1, subtracted from them."""
    deviation: tuple[Positive, Positive, Positive]
    """What each channel is divided by."""
    layers: Annotated[dict[str, Annotated[int, Field(ge=1, le=65536)]], Field(min_length=1)]
    """Results of operations that may be asked for, from the first to the last, and how many channels each has."""
    usual: Annotated[tuple[str, ...], Field(min_length=1)]
    """The layers that are joined where a configuration names none."""

    def dimensions(self, layers: Sequence[str] = ()) -> int:
        """How many numbers an image becomes by these layers, or by the usual ones."""
        return sum(self.layers[layer] for layer in layers or self.usual)

    @property
    def all_layers(self) -> str:
        """The layers for people, each with its channels, and which are usual."""
        layers = ", ".join(f"{name} ({channels})" for name, channels in self.layers.items())
        return f"{layers}; usual: {', '.join(self.usual)}"

    @model_validator(mode="after")
    def _usual_are_layers(self) -> Self:
        if strange := sorted(set(self.usual) - set(self.layers)):
            raise ValueError(f"usual: {strange[0]} is none of its layers")
        return self


@dataclass(frozen=True, eq=False)
class Encoder:
    """A frozen network and what is said of it."""

    about: EncoderAbout
    graph: EncoderGraph
    arrays: Tensors = field(repr=False)
    content: bytes = field(repr=False)
    """The file, byte for byte as it was read: another program may write the same parts otherwise."""
    sha256: str
    """Of the file."""

    @classmethod
    def of(cls, about: EncoderAbout, graph: EncoderGraph, arrays: Tensors) -> Self:
        """One that is in no file yet.

        Raises:
            EncoderError: its parts do not fit together.
        """
        content = pack(about, graph, arrays)
        _refuse_misfit(about, graph, arrays)
        return cls(about, graph, arrays, content, hashlib.sha256(content).hexdigest())

    def refuse_size(self, size: int) -> None:
        """Refuse images of a size at which a layer's maps would be empty, or too large.

        Raises:
            EncoderError: naming the operation.
        """
        try:
            encoder_shapes.shapes(self.graph, {name: array.shape for name, array in self.arrays.items()}, size)
        except EncoderError as error:
            raise EncoderError(f"encoder {self.about.name}: {error}") from None


def pack(about: EncoderAbout, graph: EncoderGraph, arrays: Tensors) -> bytes:
    """An encoder as a file; the same parts give the same bytes."""
    return tensorfile.pack(arrays, {"encoder": about.model_dump_json(), "graph": graph.model_dump_json()})


def read_encoder(path: Path) -> Encoder:
    """An encoder from its file.

    Raises:
        EncoderError: it cannot be read, or is none.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise EncoderError(f"{path}: {path.stat().st_size >> 20} MiB, expected at most {LARGEST_BYTES >> 20}.")
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise EncoderError(f"{path}: cannot be read ({error.strerror}).") from None


def parse(content: bytes, name: str) -> Encoder:
    """An encoder from a file's bytes.

    Raises:
        EncoderError: naming the file, if it is none.
    """
    what = "expected an encoder's file, as `python -m client encoders add` makes one"
    try:
        arrays, header = tensorfile.unpack(content)
        about = EncoderAbout.model_validate_json(header["encoder"])
        graph = EncoderGraph.model_validate_json(header["graph"])
    except KeyError as error:
        raise EncoderError(f"{name}: says nothing of its {error.args[0]}; {what}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise EncoderError(f"{name}: {where}: {first['msg']}; {what}.") from None
    except ConsiliumError as error:
        raise EncoderError(f"{name}: {error} {what[0].upper()}{what[1:]}.") from None
    try:
        _refuse_misfit(about, graph, arrays)
    except EncoderError as error:
        raise EncoderError(f"{name}: {error}") from None
    return Encoder(about, graph, arrays, content, hashlib.sha256(content).hexdigest())


def _refuse_misfit(about: EncoderAbout, graph: EncoderGraph, arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise EncoderError(f"array {name} is {array.dtype} or holds infinite numbers, expected finite float32.")
    if missing := graph.missing_arrays({name: array.shape for name, array in arrays.items()}):
        raise EncoderError(f"array {missing[0]} is missing, which its graph needs.")
    names = {operation.name for operation in graph.operations}
    if unknown := sorted(set(about.layers) - names):
        raise EncoderError(f"layer {unknown[0]} is none of its operations.")
    shapes = encoder_shapes.shapes(graph, {name: array.shape for name, array in arrays.items()}, about.size)
    if wrong := [layer for layer, channels in about.layers.items() if shapes[layer][2] != channels]:
        described_channels, real = about.layers[wrong[0]], shapes[wrong[0]][2]
        raise EncoderError(f"layer {wrong[0]} has {real} channels, and its description says {described_channels}.")

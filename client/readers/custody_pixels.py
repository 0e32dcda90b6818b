"""Pixels as the import of an encrypted data set stores those of a PNG, JPEG, TIFF or array: nothing else with them."""

import json
from collections.abc import Sequence

import numpy as np

from client.readers import Frames, choose
from client.readers.source import ImageSource
from common.imaging import Picture
from common.storage import tensorfile


def encode(pictures: Sequence[Picture], pixels: Sequence[np.ndarray]) -> bytes:
    """Frames as safetensors, in the types that `pixels` come in; the nominal range of each in the header."""
    ranges = json.dumps([[picture.low, picture.high] for picture in pictures])
    return tensorfile.pack({f"frame{i}": frame for i, frame in enumerate(pixels)}, {"ranges": ranges})


def decode(path: ImageSource, frames: Frames) -> list[Picture]:
    """The chosen frames."""
    with path.open() as stream:
        arrays, header = tensorfile.unpack(stream.read())
    ranges = json.loads(header["ranges"])
    indices = choose(path, frames, len(ranges))
    return [Picture(arrays[f"frame{i}"].astype(np.float32), *ranges[i]) for i in indices]

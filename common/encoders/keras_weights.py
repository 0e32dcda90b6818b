"""The arrays of a Keras model's HDF5 file, layer by layer, and nothing that the file only points to elsewhere.

Keras 3 calls a layer's group by its class in small letters, numbered among those of its class: conv2d, conv2d_1 …
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from common.errors import EncoderError


def arrays(file: BinaryIO, classes: Sequence[str]) -> list[list[NDArray[np.float32]]]:
    """Each layer's arrays, in the order of the layers.

    Args:
        classes: of all layers, as in the configuration.

    Raises:
        EncoderError: an array that is none of numbers, or lies in another file.
    """
    counts: Counter[str] = Counter()
    result = []
    with h5py.File(file, "r") as weights:
        for kind in classes:
            name = _snake(kind)
            place = ("layers", f"{name}_{counts[name]}" if counts[name] else name, "vars")
            counts[name] += 1
            result.append(_arrays_of(weights, place))
    return result


def _arrays_of(group: Any, place: Sequence[str]) -> list[NDArray[np.float32]]:
    where = "/".join(place)
    for part in place:
        if part not in group:
            return []
        group = _entry(group, part, where, h5py.Group)
    return [_numbers(_entry(group, str(i), where, h5py.Dataset), where) for i in range(len(group))]


def _entry(group: Any, name: str, where: str, kind: type) -> Any:
    # A link may lead to any file of this machine, whose content would become part of an encoder that is then shared.
    if not isinstance(group.get(name, getlink=True), h5py.HardLink) or not isinstance(group[name], kind):
        raise EncoderError(f"weights {where}/{name} are a link or no array, expected arrays in this file.")
    return group[name]


def _numbers(dataset: Any, where: str) -> NDArray[np.float32]:
    if dataset.external or dataset.is_virtual or dataset.dtype.kind not in "fiu":
        raise EncoderError(f"weights {where} lie in another file, or are no numbers; expected numbers in this one.")
    return np.asarray(dataset[()], np.float32)


def _snake(name: str) -> str:
    text = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", text).lower()

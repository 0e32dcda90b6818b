"""Shapes of an encoder's maps, reckoned without running it: those that the network gives, or a refusal with a name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.encoders import Encoder, encoder_shapes
from common.encoders.encoder_graph import EncoderGraph
from common.encoders.encoder_network import network
from common.errors import EncoderError
from common.imaging.embedding import Embed
from tests.encoders.conftest import about, graph


@pytest.mark.parametrize("side", [32, 37])
def test_shapes_are_those_of_the_network(encoder: Encoder, side: int) -> None:
    names = tuple(operation.name for operation in encoder.graph.operations)
    maps = network(encoder, names).maps(np.zeros((1, side, side, 3), np.float32))
    reckoned = encoder_shapes.shapes(encoder.graph, {n: a.shape for n, a in encoder.arrays.items()}, side)
    assert {name: one.shape[1:] for name, one in zip(names, maps, strict=True)} == {n: reckoned[n] for n in names}


def _shape(array: str, *shape: int) -> Callable[[Any, Any], None]:
    return lambda operations, arrays: arrays.update({array: np.zeros(shape, np.float32)})


def _setting(place: int, **settings: Any) -> Callable[[Any, Any], None]:
    return lambda operations, arrays: operations[place].update(settings)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_shape("stem/kernel", 3, 3, 4, 8), "stem/kernel is 3×3×4×8 in 1 groups over 3 channels"),
        (_shape("stem/kernel", 8), "stem/kernel is 8 in 1 groups"),
        (_shape("each/kernel", 3, 3, 1, 9), "each/kernel is 3×3×1×9 in 8 groups over 8 channels"),
        (_shape("stem/bias", 1, 8), "stem/bias is 1×8, expected 8"),
        (_shape("even/scale", 7), "even/scale is 7, expected 8"),
        (_setting(10, inputs=["bent", "stem"]), "sum combines 8×8×8 and 16×16×8, which do not fit"),
        (_setting(3, size=[60, 60], padding="valid"), "small makes maps of .* of images of 32×32"),
    ],
)
def test_what_does_not_fit_is_named(spoil: Callable[[Any, Any], None], why: str) -> None:
    operations, arrays = graph()
    spoil(operations, arrays)
    with pytest.raises(EncoderError, match=why):
        Encoder.of(about(), EncoderGraph.model_validate({"operations": operations}), arrays)


def test_a_layer_has_as_many_channels_as_its_description_says() -> None:
    operations, arrays = graph()
    with pytest.raises(EncoderError, match="layer first has 8 channels, and its description says 9"):
        Encoder.of(
            about(layers={"first": 9}, usual=("first",)),
            EncoderGraph.model_validate({"operations": operations}),
            arrays,
        )


def test_a_size_at_which_nothing_is_left_is_refused_before_anything_is_read(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.encoders import encoder_library

    monkeypatch.setenv(encoder_library.VARIABLE, str(tmp_path))
    operations, arrays = graph()
    operations[3] |= {"size": [12, 12], "strides": [1, 1], "padding": "valid"}
    whole = Encoder.of(about(name="wide"), EncoderGraph.model_validate({"operations": operations}), arrays)
    encoder_library.add(whole)
    assert Embed(step="embed", encoder="wide").settled().size == 32
    with pytest.raises(EncoderError, match=r"encoder wide: operation small makes maps of .* of images of 16×16"):
        Embed(step="embed", encoder="wide", size=16).settled()

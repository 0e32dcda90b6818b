"""The operations as TensorFlow runs them, beside onnxruntime; and as what a model sees."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from common.encoders import Encoder
from common.encoders.encoder_network import BATCH, network
from common.errors import EncoderError
from common.imaging.embedding import Embed
from common.package.encoder_nodes import add_encoder
from common.package.onnx_graph import IR, OPSET, _Builder

LAYERS = ("first", "sum", "last")


def pictures(number: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(number).random((number, 32, 32, channels), dtype=np.float32)


def test_all_operations_are_onnxs(encoder: Encoder) -> None:
    build = _Builder({})
    out = add_encoder(build, "images", encoder, LAYERS)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
               for name, shape in (("images", ["n", 32, 32, 3]), (out, ["n", 40]))]  # fmt: skip
    graph = helper.make_graph(build.nodes, "encoder", tensors[:1], tensors[1:], build.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model, full_check=True)
    images = pictures(5)
    [theirs] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"images": images})
    ours = network(encoder, LAYERS).embed(images)
    assert ours.shape == (5, 40)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_an_images_numbers_do_not_hang_on_its_company(encoder: Encoder) -> None:
    images, embed = pictures(2 * BATCH + 5), network(encoder, LAYERS).embed
    whole = embed(images)
    assert np.array_equal(whole[7:12], embed(images[7:12]))
    assert np.array_equal(whole[::-1], embed(np.ascontiguousarray(images[::-1])))


def test_numbers_are_the_means_of_the_maps(encoder: Encoder) -> None:
    images, lenses = pictures(3), network(encoder, LAYERS)
    means = [layer.mean(axis=(1, 2)) for layer in lenses.maps(images)]
    np.testing.assert_allclose(np.concatenate(means, axis=1), lenses.embed(images), atol=1e-6)


def test_grey_is_shown_as_red_green_and_blue_alike(encoder: Encoder, library: object) -> None:
    step = Embed(step="embed", encoder="drawn").settled()
    assert (step.sha256, step.layers, step.size, step.dimensions()) == (encoder.sha256, ("sum", "last"), 32, 32)
    grey = pictures(4, 1)
    assert np.array_equal(step.apply(grey), step.apply(np.repeat(grey, 3, axis=3)))
    shown = step.inputs(grey)
    np.testing.assert_allclose(shown[..., 1] * 0.3 + 0.5, grey[..., 0], atol=1e-6)
    ranged = step.model_copy(update={"range": (-1.0, 1.0)})
    np.testing.assert_allclose(ranged.inputs(grey)[..., 2], 2 * grey[..., 0] - 1, atol=1e-6)
    with pytest.raises(EncoderError, match="2 channels, expected grey or RGB"):
        step.apply(pictures(1, 2))


def test_what_an_encoder_has_not_is_named(library: object) -> None:
    with pytest.raises(EncoderError, match="has no layer stage9; expected first, sum, last"):
        Embed(step="embed", encoder="drawn", layers=("stage9",)).settled()
    with pytest.raises(EncoderError, match="encoder elsewhere is not on this machine"):
        Embed(step="embed", encoder="elsewhere").settled()
    with pytest.raises(EncoderError, match="is not on this machine"):
        Embed(step="embed", encoder="drawn", sha256="1" * 64).settled()
    with pytest.raises(EncoderError, match="are not settled"):
        Embed(step="embed", encoder="drawn").apply(pictures(1))

"""A model as an ONNX graph, for programs of others: built node by node, from the same weights and the same order.

Input `images`: float32[n, h, w, c] after the preprocessing; where that ends in the federated normalisation, it is in
the graph, and the input is what `Pipeline.before` gives. An encoder is in the graph too, and the input then is what it
is shown (`Pipeline.encoder_input`). Outputs: `logits` float32[n, classes] as this program's models
give them, and for the CNN `probabilities`; of several findings each has its own.

Group normalisation is spelt by instance normalisation over reshaped groups, which every runtime since operator set 13
computes alike. ONNX 1.19, operator set 17.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from common.config import Cnn, ModelConfig, Svm
from common.encoders import encoder_library
from common.errors import PackageError
from common.imaging import Pipeline
from common.imaging.steps import Normalise
from common.imaging.window import LEAST_DEVIATION
from common.models.features import Fourier
from common.models.svm import LinearSvm
from common.package.encoder_nodes import add_encoder
from common.types import Tensors

OPSET, IR = 17, 9
GROUP_EPSILON = 1e-3
"""Of Keras's group normalisation."""


def graph(
    config: ModelConfig, shape: tuple[int, int, int], labels: Sequence[str], weights: Tensors, pipeline: Pipeline
) -> bytes:
    """The model as an ONNX file.

    Raises:
        PackageError: there is no graph for this kind of model, or it does not pass ONNX's own check: a defect.
    """
    build, input_shape, x = _Builder(weights), shape, "images"
    if (step := pipeline.embed) and step.sha256:
        input_shape = (step.size or 0, step.size or 0, 3)
        means = add_encoder(build, x, encoder_library.load(step.sha256), step.layers)
        x = build.node("Reshape", [means, build.shape(0, *shape)])
    x = _normalised(build, x, pipeline)
    if isinstance(config, Svm):
        outputs = [_svm(build, x, config, shape, len(labels))]
    elif isinstance(config, Cnn):
        outputs = [_cnn(build, x, config, shape), "probabilities"]
        if config.multilabel:
            build.node("Sigmoid", ["logits"], "probabilities")
        else:
            build.node("Softmax", ["logits"], "probabilities", axis=1)
    else:
        raise PackageError(f"a model of kind {config.kind} has no ONNX graph in {__name__}. Export it without --onnx.")
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", *input_shape])]
    onnx_graph = helper.make_graph(
        build.nodes, "consilium", inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", len(labels)]) for name in outputs],
        build.constants,
    )  # fmt: skip
    model = helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR,
                              producer_name="consilium", doc_string=_doc(pipeline))  # fmt: skip
    helper.set_model_props(model, {"labels": "\n".join(labels), "preprocessing": pipeline.fingerprint()})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise PackageError(f"the ONNX graph is not valid ({str(error)[:200]}). Please report this.") from None
    return bytes(model.SerializeToString(deterministic=True))


def inside(pipeline: Pipeline) -> bool:
    """Whether the graph's input is what `Pipeline.before` gives, and the federated normalisation is in the graph."""
    last = pipeline.steps[-1]
    return pipeline.statistics is not None and isinstance(last, Normalise) and last.by == "federated"


def _doc(pipeline: Pipeline) -> str:
    outside = list(pipeline.steps[:-1] if inside(pipeline) else pipeline.steps)
    if pipeline.embed:
        outside = outside[: outside.index(pipeline.embed)]
    steps = [step.label() for step in outside] + ([pipeline.embed.shows()] if pipeline.embed else [])
    return (
        "Input images: float32[n, height, width, channels] after these steps: " + "; ".join(steps) + ". Output logits: "
        "the class of the largest is the answer, or for two classes, and for each of several findings, by the "
        "operating point in package.json. Research software, not a medical device."
    )


class _Builder:
    """Nodes and constants of a graph."""

    def __init__(self, weights: Tensors) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: Sequence[str], out: str = "", **attributes: Any) -> str:
        """Add an operation; the name of its output."""
        out = out or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def constant(self, value: NDArray[Any]) -> str:
        """Add an array; its name."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def shape(self, *sides: int) -> str:
        """Add a shape, for Reshape."""
        return self.constant(np.array(sides, np.int64))


def _normalised(build: _Builder, x: str, pipeline: Pipeline) -> str:
    """Subtract the federated mean and divide by the deviation, as `common.imaging.window.standardise` does."""
    if not inside(pipeline) or pipeline.statistics is None:
        return x
    deviation = np.maximum(pipeline.statistics.deviation, np.float32(LEAST_DEVIATION))
    centred = build.node("Sub", [x, build.constant(pipeline.statistics.mean)])
    return build.node("Div", [centred, build.constant(deviation)])


# --- the SVM --------------------------------------------------------------------------------------------------------


def _svm(build: _Builder, x: str, config: Svm, shape: tuple[int, int, int], classes: int) -> str:
    """Features in single precision, the products with the weights in double: as `LinearSvm.scores`."""
    model = LinearSvm(config, shape, classes)
    features = model.features
    x = build.node("Flatten", [x], axis=1)
    if config.features == "unit":
        x = _unit_rows(build, x, config.parts or (features.dimension,))
    if isinstance(features, Fourier):
        angles = build.node("MatMul", [x, build.constant(features.frequencies)])
        both = build.node("Concat", [build.node("Cos", [angles]), build.node("Sin", [angles])], axis=1)
        if features.dimension % 2:
            ends = [build.shape(0), build.shape(features.dimension), build.shape(1)]
            both = build.node("Slice", [both, *ends])
        x = build.node("Mul", [both, build.constant(np.array(np.sqrt(2 / features.dimension), np.float32))])
    alpha, intercept = build.weights["alpha"], build.weights["intercept"]
    if classes == 2 and not config.multilabel:
        alpha, intercept = model.columns.T * alpha, model.columns[0] * intercept
    wide = build.node("Cast", [x], to=TensorProto.DOUBLE)
    scores = build.node("MatMul", [wide, build.constant(alpha.T.astype(np.float64))])
    scores = build.node("Add", [scores, build.constant(intercept.astype(np.float64))])
    return build.node("Cast", [scores], "logits", to=TensorProto.FLOAT)


def _unit_rows(build: _Builder, x: str, parts: Sequence[int]) -> str:
    """Rows as `common.models.unit_head` makes them, in double: each part centred and of length 1, then all of them,
    then what is left without the centre."""
    x = build.node("Cast", [x], to=TensorProto.DOUBLE)
    units, first = [], 0
    for size in parts:
        part = build.node("Slice", [x, build.shape(first), build.shape(first := first + size), build.shape(1)])
        mean = build.node("ReduceMean", [part], axes=[1], keepdims=1)
        units.append(_scaled(build, build.node("Sub", [part, mean])))
    whole = _scaled(build, build.node("Concat", units, axis=1))
    return _scaled(build, build.node("Sub", [whole, build.constant(build.weights["centre"].astype(np.float64))]))


def _scaled(build: _Builder, x: str) -> str:
    """Rows of length 1; rows of zeros stay."""
    square = build.node("ReduceSum", [build.node("Mul", [x, x]), build.shape(1)], keepdims=1)
    length = build.node("Max", [build.node("Sqrt", [square]), build.constant(np.array(np.finfo(np.float64).tiny))])
    return build.node("Div", [x, length])


# --- the CNN, layer by layer as in common.models.architectures ------------------------------------------------------


def _cnn(build: _Builder, x: str, config: Cnn, shape: tuple[int, int, int]) -> str:
    x = build.node("Transpose", [x], perm=[0, 3, 1, 2])
    x = {"plain": _plain, "groupnorm": _groupnorm, "resnet": _resnet}[config.architecture](build, x, config, shape)
    return _dense(build, x, "logits", "logits")


def _plain(build: _Builder, x: str, config: Cnn, shape: tuple[int, int, int]) -> str:
    for number in (1, 2):
        x = build.node("Relu", [_conv(build, x, f"conv{number}", auto_pad="VALID")])
        x = _pool(build, x)
    x = build.node("Flatten", [build.node("Transpose", [x], perm=[0, 2, 3, 1])], axis=1)
    return build.node("Relu", [_dense(build, x, "dense")])


def _groupnorm(build: _Builder, x: str, config: Cnn, shape: tuple[int, int, int]) -> str:
    for number in (1, 2, 3):
        x = _conv(build, x, f"conv{number}")
        x = _norm_relu(build, _pool(build, x) if number < 3 else x, f"norm{number}")
    return _averaged(build, x)


def _resnet(build: _Builder, x: str, config: Cnn, shape: tuple[int, int, int]) -> str:
    large = min(shape[:2]) >= 96
    x = _conv(build, x, "stem", strides=2 if large else 1)
    x = _pool(build, x) if large else x
    for stage in range(4 if large else 3):
        for block in range(2):
            x = _residual(build, x, f"stage{stage + 1}_block{block + 1}", 2 if stage and not block else 1)
    return _averaged(build, _norm_relu(build, x, "norm"))


def _residual(build: _Builder, x: str, name: str, strides: int) -> str:
    y = _norm_relu(build, x, f"{name}_norm1")
    skip = _conv(build, y, f"{name}_skip", strides=strides) if f"{name}_skip/kernel" in build.weights else x
    y = _conv(build, y, f"{name}_conv1", strides=strides)
    y = _conv(build, _norm_relu(build, y, f"{name}_norm2"), f"{name}_conv2")
    return build.node("Add", [skip, y])


def _conv(build: _Builder, x: str, name: str, strides: int = 1, auto_pad: str = "SAME_UPPER") -> str:
    kernel = build.weights[f"{name}/kernel"].transpose(3, 2, 0, 1)
    inputs = [x, build.constant(kernel)]
    if f"{name}/bias" in build.weights:
        inputs.append(build.constant(build.weights[f"{name}/bias"]))
    return build.node("Conv", inputs, auto_pad=auto_pad, strides=[strides, strides])


def _pool(build: _Builder, x: str) -> str:
    return build.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])


def _norm_relu(build: _Builder, x: str, name: str) -> str:
    gamma, beta = build.weights[f"{name}/gamma"], build.weights[f"{name}/beta"]
    groups = max(g for g in range(1, 9) if len(gamma) % g == 0)
    one, none = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    grouped = build.node("Reshape", [x, build.shape(0, groups, -1)])
    inputs = [grouped, build.constant(one), build.constant(none)]
    even = build.node("InstanceNormalization", inputs, epsilon=GROUP_EPSILON)
    even = build.node("Reshape", [even, build.node("Shape", [x])])
    scaled = build.node("Mul", [even, build.constant(gamma[:, None, None])])
    return build.node("Relu", [build.node("Add", [scaled, build.constant(beta[:, None, None])])])


def _averaged(build: _Builder, x: str) -> str:
    return build.node("Flatten", [build.node("GlobalAveragePool", [x])], axis=1)


def _dense(build: _Builder, x: str, name: str, out: str = "") -> str:
    product = build.node("MatMul", [x, build.constant(build.weights[f"{name}/kernel"])])
    return build.node("Add", [product, build.constant(build.weights[f"{name}/bias"])], out)

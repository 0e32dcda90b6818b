"""A small encoder with every operation that there is, drawn at random."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.encoders import Encoder, EncoderAbout, encoder_library
from common.encoders.encoder_graph import EncoderGraph


def graph(seed: int = 3) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Operations and arrays: 3 → 8 → 8 → 16 channels, with a branch by squeeze and excitation."""
    operations = [
        {"op": "convolution", "name": "stem", "inputs": ["images"], "strides": [2, 2], "padding": [1, 1, 1, 1]},
        {"op": "scale", "name": "even", "inputs": ["stem"]},
        {"op": "activation", "name": "first", "inputs": ["even"], "function": "relu6"},
        {"op": "pool", "name": "small", "inputs": ["first"], "by": "max", "size": [3, 3], "strides": [2, 2],
         "padding": [1, 1, 1, 1]},
        {"op": "convolution", "name": "each", "inputs": ["small"], "groups": 8},
        {"op": "activation", "name": "bent", "inputs": ["each"], "function": "hard_swish"},
        {"op": "global_mean", "name": "squeezed", "inputs": ["bent"]},
        {"op": "convolution", "name": "gate", "inputs": ["squeezed"]},
        {"op": "activation", "name": "share", "inputs": ["gate"], "function": "hard_sigmoid"},
        {"op": "combination", "name": "excited", "inputs": ["bent", "share"], "by": "multiply"},
        {"op": "combination", "name": "sum", "inputs": ["excited", "small"], "by": "add"},
        {"op": "pad", "name": "framed", "inputs": ["sum"], "zeros": [0, 1, 2, 1]},
        {"op": "pool", "name": "mean", "inputs": ["framed"], "by": "mean", "size": [2, 2], "strides": [2, 2]},
        {"op": "convolution", "name": "wide", "inputs": ["mean"], "dilation": [2, 2], "groups": 2},
        {"op": "activation", "name": "swished", "inputs": ["wide"], "function": "swish"},
        {"op": "activation", "name": "soft", "inputs": ["mean"], "function": "gelu"},
        {"op": "combination", "name": "both", "inputs": ["swished", "soft"], "by": "concatenate"},
        {"op": "activation", "name": "last", "inputs": ["both"], "function": "tanh"},
    ]  # fmt: skip
    shapes = {
        "stem/kernel": (3, 3, 3, 8), "stem/bias": (8,), "even/scale": (8,), "even/offset": (8,),
        "each/kernel": (3, 3, 1, 8), "gate/kernel": (1, 1, 8, 8), "gate/bias": (8,), "wide/kernel": (3, 3, 4, 16),
    }  # fmt: skip
    rng = np.random.default_rng(seed)
    return operations, {name: rng.standard_normal(shape).astype(np.float32) / 2 for name, shape in shapes.items()}


def about(**changes: Any) -> EncoderAbout:
    fields = {
        "name": "drawn", "licence": "CC0-1.0", "source": "drawn at random by a test", "trained_on": "nothing",
        "size": 32, "mean": (0.4, 0.5, 0.6), "deviation": (0.2, 0.3, 0.25),
        "layers": {"first": 8, "sum": 8, "last": 24}, "usual": ("sum", "last"),
    }  # fmt: skip
    return EncoderAbout.model_validate(fields | changes)


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    operations, arrays = graph()
    return Encoder.of(about(), EncoderGraph.model_validate({"operations": operations}), arrays)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> Path:
    """A folder of encoders of this test alone, with the drawn one in it."""
    monkeypatch.setenv(encoder_library.VARIABLE, str(tmp_path / "encoders"))
    encoder_library.add(encoder)
    return tmp_path / "encoders"

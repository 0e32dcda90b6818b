"""An encoder's file: data that is checked, and refused with names where it does not fit together."""

import hashlib
import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import encoder_from_wheel
from client.__main__ import main as client
from common.encoders import Encoder, encoder_file, encoder_library, read_encoder
from common.encoders.encoder_graph import EncoderGraph
from common.errors import EncoderError
from common.storage import tensorfile
from tests.encoders.conftest import about, graph


def test_the_same_parts_make_the_same_file(encoder: Encoder, tmp_path: Path) -> None:
    (path := tmp_path / "drawn.encoder").write_bytes(encoder.content)
    again = read_encoder(path)
    assert (again.sha256, again.about, again.graph) == (encoder.sha256, encoder.about, encoder.graph)
    assert again.content == encoder.content


def test_an_encoder_lies_under_its_digest_and_is_found_by_its_name(encoder: Encoder, library: Path) -> None:
    assert encoder_library.digests() == [encoder.sha256]
    assert encoder_library.find("drawn").sha256 == encoder.sha256
    with pytest.raises(EncoderError, match="encoder other is not on this machine; there are: drawn"):
        encoder_library.find("other")
    with pytest.raises(EncoderError, match=r"SHA-256 0000.* is not on this machine"):
        encoder_library.load("0" * 64)


def test_two_of_one_name_need_a_digest(encoder: Encoder, library: Path) -> None:
    operations, arrays = graph(seed=4)
    other = Encoder.of(about(), EncoderGraph.model_validate({"operations": operations}), arrays)
    assert other.sha256 != encoder.sha256
    encoder_library.add(other)
    with pytest.raises(EncoderError, match=rf"2 encoders are called drawn; say which.*{encoder.sha256}"):
        encoder_library.find("drawn")


def spaced(content: bytes) -> bytes:
    """The same arrays and words, as another program may write them: with blanks behind the header."""
    (length,) = struct.unpack_from("<Q", content)
    return struct.pack("<Q", length + 8) + content[8 : 8 + length] + b" " * 8 + content[8 + length :]


def test_a_file_of_another_program_is_kept_byte_for_byte(encoder: Encoder, library: Path, tmp_path: Path) -> None:
    (path := tmp_path / "theirs.encoder").write_bytes(content := spaced(encoder.content))
    theirs = read_encoder(path)
    assert theirs.sha256 == hashlib.sha256(content).hexdigest() != encoder.sha256
    assert encoder_library.add(theirs).read_bytes() == content
    encoder_library._load.cache_clear()
    assert encoder_library.load(theirs.sha256).about == encoder.about


def test_a_damaged_file_is_named_and_the_others_are_listed(
    encoder: Encoder, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (damaged := library / f"{'0' * 64}.encoder").write_bytes(encoder.content[:100])
    assert client(["encoders"]) == 1
    shown = capsys.readouterr().out
    assert encoder.sha256 in shown
    assert f"Cannot be used: {damaged}: " in shown
    assert encoder_library.find("drawn").sha256 == encoder.sha256
    with pytest.raises(EncoderError, match=r"there are: drawn.*Cannot be used: .*0000"):
        encoder_library.find("other")


def test_who_keeps_one_is_told_what_a_crafted_one_can_do(
    encoder: Encoder, library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path := tmp_path / "drawn.encoder").write_bytes(encoder.content)
    assert client(["encoders", "add", str(path)]) == 0
    assert "a crafted one can make a sum" in " ".join(capsys.readouterr().out.split())


def test_a_file_that_was_changed_is_refused(encoder: Encoder, library: Path) -> None:
    path = library / f"{encoder.sha256}.encoder"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    encoder_library._load.cache_clear()
    with pytest.raises(EncoderError, match=r"was changed: its SHA-256 is|finite float32"):
        encoder_library.load(encoder.sha256)


def _without(operations: list[Any], arrays: dict[str, Any]) -> None:
    del arrays["even/scale"]


def _infinite(operations: list[Any], arrays: dict[str, Any]) -> None:
    arrays["stem/kernel"][0, 0, 0, 0] = np.inf


def _double(operations: list[Any], arrays: dict[str, Any]) -> None:
    arrays["stem/bias"] = arrays["stem/bias"].astype(np.float64)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(_without, "array even/scale is missing"), (_infinite, "array stem/kernel is float32 or holds infinite"),
     (_double, "array stem/bias is float64")],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_named(spoil: Callable[[Any, Any], None], why: str, tmp_path: Path) -> None:
    operations, arrays = graph()
    spoil(operations, arrays)
    content = encoder_file.pack(about(), EncoderGraph.model_validate({"operations": operations}), arrays)
    (path := tmp_path / "bad.encoder").write_bytes(content)
    with pytest.raises(EncoderError, match=f"bad.encoder: {why}"):
        read_encoder(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [({"op": "lambda", "name": "x", "inputs": ["images"]}, "lambda"),
     ({"op": "activation", "name": "x", "inputs": ["nowhere"], "function": "relu"}, "nowhere, which no operation"),
     ({"op": "activation", "name": "stem", "inputs": ["images"], "function": "relu"}, "two operations are called stem"),
     ({"op": "activation", "name": "x", "inputs": ["images"], "function": "eval"}, "function"),
     ({"op": "activation", "name": "x", "inputs": ["images", "stem"], "function": "relu"}, "2 inputs, expected one")],
)  # fmt: skip
def test_a_graph_that_is_none_is_named(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    operations, arrays = graph()
    header = {"encoder": about().model_dump_json()}
    text = EncoderGraph.model_validate({"operations": operations}).model_dump(mode="json")
    text["operations"].append(change)
    (path := tmp_path / "bad.encoder").write_bytes(tensorfile.pack(arrays, header | {"graph": json.dumps(text)}))
    with pytest.raises(EncoderError, match=f"bad.encoder: .*{why}"):
        read_encoder(path)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x80\x02}q\x00." * 40, b"\xff" * 64])
def test_what_is_no_encoder_is_refused(content: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "model.pkl").write_bytes(content)
    with pytest.raises(EncoderError, match=r"model.pkl: .*as `python -m client encoders add` makes one"):
        read_encoder(path)


def test_a_wheels_pickle_is_read_and_never_run(tmp_path: Path) -> None:
    """EfficientNet-Lite0 from its wheel; a pickle that calls anything else is refused."""
    lite = encoder_from_wheel.installed()
    assert lite is not None
    assert lite.about.layers["stage7"] == 320
    assert sum(lite.about.layers[layer] for layer in lite.about.usual) == 704

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch '{tmp_path}/was-run'",)

    with pytest.raises(ValueError, match="a pickle"):
        encoder_from_wheel.symbols(io.BytesIO(pickle.dumps(Hostile(), protocol=2)))
    assert not (tmp_path / "was-run").exists()

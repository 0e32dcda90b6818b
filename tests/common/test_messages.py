"""Messages survive the way over bytes; anything else is refused with an error of ours, and files are never half."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.errors import WireError
from common.messages import wire
from common.messages.transport import Reply, Request
from common.storage import tensorfile

arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8]), hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)
)
names = st.text("abc/_0", min_size=1, max_size=8)
tensors = st.dictionaries(names, arrays, max_size=4)
texts = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=9)  # what moves a cursor is refused
values = st.one_of(st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False), texts)
requests = st.builds(Request, names, st.integers(0, 10**6), tensors, st.dictionaries(names, values, max_size=3))


@given(requests)
def test_a_request_comes_back_as_it_was(request: Request) -> None:
    content = wire.encode_request(request)
    back = wire.decode_request(content)
    assert (back.kind, back.round, dict(back.settings)) == (request.kind, request.round, dict(request.settings))
    assert set(back.tensors) == set(request.tensors)
    for name, value in request.tensors.items():
        np.testing.assert_array_equal(back.tensors[name], value)
        assert back.tensors[name].dtype == value.dtype
        assert back.tensors[name].shape == value.shape
    assert wire.encode_request(back) == content


@given(tensors)
def test_a_reply_comes_back_as_it_was(sums: dict[str, np.ndarray]) -> None:
    back = wire.decode_reply(wire.encode_reply(Reply(sums)))
    assert set(back.sums) == set(sums)


@settings(max_examples=300)
@given(requests, st.data())
def test_damaged_bytes_are_a_message_or_an_error_of_ours(request: Request, data: st.DataObject) -> None:
    content = bytearray(wire.encode_request(request))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for bad in (bytes(content), bytes(content[:cut])):
        try:
            wire.decode_request(bad)
        except WireError as error:
            assert len(str(error)) < 400  # noqa: PT017


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(WireError):
        wire.decode_reply(content)


def test_a_message_of_another_version_says_what_to_do() -> None:
    content = tensorfile.pack({}, {"version": "consilium/0", "message": "reply"})
    with pytest.raises(WireError, match="same release"):
        wire.decode_reply(content)


def test_a_request_is_not_taken_for_a_reply() -> None:
    with pytest.raises(WireError, match="expected a reply"):
        wire.decode_reply(wire.encode_request(Request("train", 0)))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x08\x00")
    with pytest.raises(WireError, match=r"model\.safetensors"):
        tensorfile.load(path)


WRITER = """
import sys
from pathlib import Path
import numpy as np
from common.storage import tensorfile
n = 0
while True:
    tensorfile.save(Path(sys.argv[1]), {"a": np.full(200_000, n, np.int64)}, {"n": str(n)})
    print(n, flush=True)
    n += 1
"""


def test_a_file_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    for delay_s in (0.02, 0.035, 0.05):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(delay_s)
            os.kill(writer.pid, signal.SIGKILL)
        found, header = tensorfile.load(path)
        assert (found["a"] == int(header["n"])).all()

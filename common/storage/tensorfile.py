"""Named arrays with a header of text, as bytes or as a file: the safetensors format, in which nothing can be executed.

Files are written atomically: a reader sees the old content or the new one, never half of either.
"""

import json
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import WireError
from common.storage.lent_path import LentPath

if TYPE_CHECKING:  # NumPy is imported with the first arrays: most who write files have none
    import numpy as np

    from common.types import Tensors

HEADER_LIMIT_BYTES = 16 * 2**20


def pack(tensors: "Tensors", header: Mapping[str, str]) -> bytes:
    """Arrays and header as bytes; the same arrays and header give the same bytes."""
    import numpy as np
    from safetensors.numpy import save as safetensors_bytes

    arrays = {name: np.ascontiguousarray(a).reshape(np.shape(a)) for name, a in tensors.items()}
    # One entry of metadata only: the format's library writes several in an order that differs from run to run.
    return bytes(safetensors_bytes(arrays, {"consilium": json.dumps(dict(header), sort_keys=True)}))


def unpack(content: bytes) -> tuple["dict[str, np.ndarray]", dict[str, str]]:
    """Arrays and header from bytes that `pack` made.

    Raises:
        WireError: for anything else than such bytes, whole.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as safetensors_arrays

    try:
        (length,) = struct.unpack_from("<Q", content)
        if length > min(HEADER_LIMIT_BYTES, len(content) - 8):
            raise WireError(f"truncated or damaged: {len(content)} bytes with a header of {length}.")
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["consilium"])
        return dict(sorted(safetensors_arrays(content).items())), {str(k): str(v) for k, v in header.items()}
    except (struct.error, ValueError, AttributeError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise WireError(f"not arrays in safetensors format ({str(error)[:120]}).") from None


def save(path: Path, tensors: "Tensors", header: Mapping[str, str]) -> None:
    """Write arrays and header as a file, atomically."""
    write_atomically(path, pack(tensors, header))


def load(path: Path) -> tuple["dict[str, np.ndarray]", dict[str, str]]:
    """Read arrays and header from a file that `save` wrote.

    Raises:
        WireError: naming the file, if it is damaged.
        OSError: if it cannot be read.
    """
    try:
        return unpack(path.read_bytes())
    except WireError as error:
        raise WireError(f"{path}: {error}") from None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What a disk says while this file is written names it: of a full one, the system names no file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


_modes = [0o777]
"""What of the mode that a file is to have it gets, the last one."""


def keep_private() -> None:
    """From now on files that this process writes are for its own user alone, whatever mode is asked for."""
    _modes.append(0o700)


def write_atomically(path: Path, content: bytes | Iterable[bytes], *, durably: bool = True, mode: int = 0o644) -> None:
    """Replace a file's content so that a crash at any moment leaves the old file or the new one.

    Args:
        content: whole, or in pieces.
        durably: wait until it is on the disk; what is only for people to look at need not.
        mode: who may read it.
    """
    if isinstance(path, LentPath):
        return path.write_whole(content if isinstance(content, bytes) else b"".join(content), mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with naming(path), os.fdopen(handle, "wb") as file:
            file.writelines((content,) if isinstance(content, bytes) else content)
            file.flush()
            if durably:
                os.fsync(file.fileno())
        Path(temporary).chmod(mode & _modes[-1])
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

"""Open an .npz that anybody may have made: nothing pickled is loaded, sizes are checked before memory is taken."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import DataError

Array = NDArray[Any]

MAX_BYTES = 48 << 30
"""MedMNIST's largest file, 224² in colour, unpacks to 16 GiB."""
BOMB_RATIO = 400
"""Beyond MIN_BOMB_BYTES no archive of real images packs so well; deflate reaches 1,032 on zeros."""
MIN_BOMB_BYTES = 64 << 20


def load(path: Path) -> dict[str, Array]:
    """Every array of an .npz, sizes checked before memory is taken.

    Raises:
        DataError: not an .npz, damaged, pickled, or larger than it may be.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            _refuse_bomb(path, members)
            return {m.filename.removesuffix(".npy"): _read_array(path, archive, m) for m in members}
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Give the path of an .npz as data.path.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise DataError(
            f"{path}: not a readable .npz ({error or type(error).__name__}). Expected a file written by numpy.savez; "
            "copy or download it again."
        ) from None


def _refuse_bomb(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    total = sum(m.file_size for m in members)
    packed_bytes = sum(m.compress_size for m in members)
    if total > MAX_BYTES or (total > MIN_BOMB_BYTES and total > BOMB_RATIO * max(packed_bytes, 1)):
        raise DataError(
            f"{path}: refused: {packed_bytes:,} bytes would unpack to {total:,}, at most {MAX_BYTES:,} and "
            f"{BOMB_RATIO} times as much are allowed. If it is genuine, save it in parts with numpy.savez."
        )
    if len({m.filename for m in members}) != len(members):
        raise DataError(f"{path}: holds two arrays of one name; save it again with numpy.savez.")


def _read_array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    where = f"{path}: array '{member.filename.removesuffix('.npy')}'"
    try:
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(stream)
        # A header may claim any shape: numpy would take the memory for it before it reads a byte.
        if dtype.hasobject or np.prod(shape, dtype=float) * dtype.itemsize > member.file_size:
            reason = "holds pickled Python objects" if dtype.hasobject else f"claims shape {shape}, more than it holds"
            raise DataError(f"{where} {reason}; refused. Save plain arrays with numpy.savez.")
        with archive.open(member) as stream:
            array: Array = np.lib.format.read_array(stream, allow_pickle=False)
            return array
    except (ValueError, SyntaxError, TypeError, OverflowError, MemoryError) as error:
        raise DataError(f"{where} cannot be read ({error}). Save it again with numpy.savez.") from None

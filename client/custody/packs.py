"""Reading the packs of a data set, which hold sealed objects one behind the other."""

import os
import threading
from collections import OrderedDict
from pathlib import Path

from client.custody import sealing
from client.custody.dataset_index import Index, Object
from client.custody.sealing import RESTORE
from common.errors import CustodyError

WINDOW_BYTES = 1 << 20
"""Small objects are read so many bytes at a time."""
OPEN_PACKS = 16


def path_of(folder: Path, pack: int) -> Path:
    """Where a pack is."""
    return folder / "packs" / f"{pack:05d}"


def check(folder: Path, index: Index) -> None:
    """All packs are there, as long as the index says or longer.

    Raises:
        CustodyError: naming the first that is not.
    """
    for pack, length in enumerate(index.packs, index.first):
        path = path_of(folder, pack)
        there = path.stat().st_size if path.exists() else None
        if there is None or there < length:
            what = "is missing" if there is None else f"is truncated: {there:,} of {length:,} bytes"
            raise CustodyError(f"{path}: {what}. {RESTORE}")


def remove_others(folder: Path, index: Index) -> None:
    """Remove packs that the index does not count: of the set before it was written again, or of a write cut short."""
    count = {path_of(folder, index.first + i) for i in range(len(index.packs))}
    for path in (folder / "packs").iterdir():
        if path not in count:
            path.unlink()


class PackReader:
    """Reads from packs into a buffer that it keeps. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handles: OrderedDict[int, int] = OrderedDict()
        self._sealed = memoryview(bytearray(WINDOW_BYTES))
        self._held = (-1, 0, 0)
        """Pack, and from where to where the buffer holds it."""
        self._last = "", memoryview(b"")
        """The object read last: readers open an image more than once."""
        self._lock = threading.Lock()

    def __del__(self) -> None:
        for handle in self._handles.values():
            os.close(handle)

    def read(self, entry: Object, key: bytes, bound_to: bytes) -> memoryview:
        """An object, decrypted.

        Args:
            bound_to: the context of its place.

        Raises:
            InvalidTag: it is not what was sealed there.
        """
        with self._lock:
            if self._last[0] == entry.id:
                return self._last[1]
            self._last = "", memoryview(b"")  # first, so that its memory can be used again
            sealed_bytes = self._stretch(entry.pack, entry.offset, entry.length)
            self._last = entry.id, sealing.unseal_view(key, sealed_bytes, bound_to)
            return self._last[1]

    def _stretch(self, pack: int, offset: int, length: int) -> memoryview:
        """Bytes of a pack; fewer where it ends before."""
        buffered_pack, begin, end = self._held
        if buffered_pack != pack or offset < begin or offset + length > end:
            follows = buffered_pack == pack and 0 <= offset - end < WINDOW_BYTES
            self._fetch(pack, offset, max(length, WINDOW_BYTES) if follows else length)
            begin = offset
        return self._sealed[offset - begin : offset - begin + length]

    def _fetch(self, pack: int, offset: int, length: int) -> None:
        if len(self._sealed) < length:
            self._sealed = memoryview(bytearray(length))
        self._held = (-1, 0, 0)
        count, handle = 0, self._handle(pack)
        while count < length and (more := os.preadv(handle, [self._sealed[count:length]], offset + count)):
            count += more
        self._sealed[count:length] = bytes(length - count)
        self._held = (pack, offset, offset + length)

    def _handle(self, pack: int) -> int:
        if pack not in self._handles:
            if len(self._handles) == OPEN_PACKS:
                os.close(self._handles.popitem(last=False)[1])
            self._handles[pack] = os.open(path_of(self._folder, pack), os.O_RDONLY)
        self._handles.move_to_end(pack)
        return self._handles[pack]

"""Reading the packs of a data set, which hold sealed objects one behind the other."""

import os
import threading
from collections import OrderedDict
from pathlib import Path

from client.custody import envelope
from client.custody.envelope import RESTORE, Place
from client.custody.index import Index, Object
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
    for pack, length in enumerate(index.packs):
        path = path_of(folder, pack)
        there = path.stat().st_size if path.exists() else None
        if there is None or there < length:
            what = "is missing" if there is None else f"is truncated: {there:,} of {length:,} bytes"
            raise CustodyError(f"{path}: {what}. {RESTORE}")


class Reader:
    """Reads from packs into buffers that it keeps: a fresh page of memory costs more than decrypting it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handles: OrderedDict[int, int] = OrderedDict()
        self._sealed, self._content = bytearray(WINDOW_BYTES), bytearray(WINDOW_BYTES)
        self._held = (-1, 0, 0)
        """Pack, and from where to where the buffer holds it."""
        self._last: tuple[str, bytes] = ("", b"")
        """The object read last: readers open an image more than once."""
        self._lock = threading.Lock()

    def __del__(self) -> None:
        for handle in self._handles.values():
            os.close(handle)

    def read(self, found: Object, key: bytes, place: Place, what: str) -> bytes:
        """An object, decrypted.

        Args:
            what: what a message calls it, path first.

        Raises:
            CustodyError: it is not what was stored.
        """
        with self._lock:
            if self._last[0] == found.id:
                return self._last[1]
            sealed = self._stretch(found, what)
            if len(self._content) < found.length:
                self._content = bytearray(found.length)
            length = envelope.unseal_into(key, sealed, place, what, self._content)
            self._last = found.id, bytes(memoryview(self._content)[:length])
            return self._last[1]

    def _stretch(self, found: Object, what: str) -> memoryview:
        pack, begin, end = self._held
        if pack != found.pack or not begin <= found.offset <= found.offset + found.length <= end:
            follows = pack == found.pack and 0 <= found.offset - end < WINDOW_BYTES
            self._fetch(found, WINDOW_BYTES if follows else found.length)
            pack, begin, end = self._held
        if end < found.offset + found.length:
            raise CustodyError(f"{what}: is truncated. {RESTORE}")
        return memoryview(self._sealed)[found.offset - begin : found.offset - begin + found.length]

    def _fetch(self, found: Object, length: int) -> None:
        length = max(length, found.length)
        if len(self._sealed) < length:
            self._sealed = bytearray(length)
        self._held = (-1, 0, 0)
        got, view = 0, memoryview(self._sealed)[:length]
        while got < length and (more := os.preadv(self._handle(found.pack), [view[got:]], found.offset + got)):
            got += more
        self._held = (found.pack, found.offset, found.offset + got)

    def _handle(self, pack: int) -> int:
        if pack not in self._handles:
            if len(self._handles) == OPEN_PACKS:
                os.close(self._handles.popitem(last=False)[1])
            self._handles[pack] = os.open(path_of(self._folder, pack), os.O_RDONLY)
        self._handles.move_to_end(pack)
        return self._handles[pack]

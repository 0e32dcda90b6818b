"""Where the bytes of one image are: a file on the disk, or what an encrypted data set holds of one."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from common.cli.harmless import legible
from common.errors import ImageError


class Sealer(Protocol):
    """Encrypts what would otherwise lie on a disk in the clear."""

    def state(self) -> str:
        """Another state, another key or place: what is sealed by one is not opened by another."""
        ...

    def seal(self, content: bytes, part: str) -> bytes:
        """A part of a decoded image, as it may lie on a disk."""
        ...

    def unseal(self, sealed_bytes: bytes, part: str) -> memoryview:
        """The content of `seal`.

        Raises:
            ValueError: it was changed, or is another part's.
        """
        ...


class ImageSource(Protocol):
    """What readers read from. `str()` is what messages call it."""

    @property
    def sealer(self) -> Sealer | None:
        """Through what its decoded image has to go before it may lie on a disk; None: it may lie there as it is."""
        ...

    def open(self) -> BinaryIO:
        """The bytes, from their beginning.

        Raises:
            ImageError: they cannot be had.
        """
        ...

    def state(self) -> str:
        """Another state, another image: what the cache knows it by."""
        ...

    def frame_facts(self) -> dict[str, Any] | None:
        """What is known of all its frames without decoding, as the cache tells it; None: decode it."""
        ...


@dataclass(frozen=True)
class ImageFile:
    """A file in the clear, whose decoded image may lie on the disk as well."""

    path: Path

    def __str__(self) -> str:
        return legible(str(self.path))

    @property
    def sealer(self) -> None:
        """None: the file itself lies there."""
        return None

    def open(self) -> BinaryIO:
        """The file, to be read from its beginning."""
        try:
            if self.path.is_dir():
                raise ImageError(f"{self}: a folder, expected an image file.")
            if not self.path.is_file():
                raise ImageError(
                    f"{self}: there is no such file; check the path and its upper and lower case."
                )  # fmt: skip
            return self.path.open("rb")
        except (OSError, ValueError) as error:
            raise ImageError(
                f"{self}: cannot be opened ({getattr(error, 'strerror', None) or error})."
            ) from None  # fmt: skip

    def state(self) -> str:
        """Path, size and time of change."""
        state = self.path.stat()
        return repr((str(self.path.resolve()), state.st_size, state.st_mtime_ns))

    def frame_facts(self) -> None:
        """None: a file has to be decoded."""
        return None


@dataclass(frozen=True)
class ImageBytes(ImageFile):
    """The content of a file that is in memory already; `path` is what messages call it."""

    content: bytes
    identity: str = ""
    """What it is known by, where the same image may come in several encodings; empty: its content."""

    def open(self) -> BinaryIO:
        """The content, to be read from its beginning."""
        return io.BytesIO(self.content)


class BytesFile(io.RawIOBase):
    """A file over bytes in memory that are not copied."""

    name = ""
    """No file on a disk: pydicom asks."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._at = content, 0

    def readable(self) -> bool:
        """Always: it is bytes in memory."""
        return True

    def seekable(self) -> bool:
        """Always: it is bytes in memory."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes; how many."""
        part = self._content[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._content)}[whence])
        return self._at


def size_bytes(stream: BinaryIO) -> int:
    """How much there is, wherever the stream stands; it stands at the beginning afterwards."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return size

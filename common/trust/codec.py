"""Bytes to fields and back, strictly: fixed widths, declared lengths, one encoding for each value, nothing left over.

A declared count or length is compared with what is really there before anything is allocated.
"""

import struct
from typing import Self

from common.errors import WireError

# Signatures and hashes are over bytes, so one content has one encoding: widths are fixed, numbers little-endian, a text
# stands after its length, nothing is optional. What follows comes from strangers: before a length is believed it is
# held against the bytes that are there, so that 4 bytes cannot make this process allocate 4 GB.
MAGIC = b"CSA1"
"""Every message begins with it and one byte for its kind; another version has another magic."""


class ByteWriter:
    """Collects fields; every method returns the writer."""

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []

    def raw(self, value: bytes | memoryview) -> Self:
        """Bytes whose length both sides know."""
        self._parts.append(value)
        return self

    def u8(self, value: int) -> Self:
        """An integer below 2**8."""
        return self.raw(struct.pack("<B", value))

    def u16(self, value: int) -> Self:
        """An integer below 2**16."""
        return self.raw(struct.pack("<H", value))

    def u32(self, value: int) -> Self:
        """An integer below 2**32."""
        return self.raw(struct.pack("<I", value))

    def u64(self, value: int) -> Self:
        """An integer below 2**64."""
        return self.raw(struct.pack("<Q", value))

    def f64(self, value: float) -> Self:
        """A float64."""
        return self.raw(struct.pack("<d", value))

    def blob(self, value: bytes) -> Self:
        """Bytes after their length."""
        return self.u32(len(value)).raw(value)

    def text(self, value: str) -> Self:
        """UTF-8 after its length in bytes."""
        encoded = value.encode()
        return self.u16(len(encoded)).raw(encoded)

    def bytes(self) -> bytes:
        """The bytes of all fields, in order."""
        return b"".join(self._parts)


class ByteReader:
    """Reads the fields that a `ByteWriter` wrote, and believes no length.

    Args:
        data: the bytes.
        what: the name of the message, for errors.

    Raises:
        WireError: from every method, where the bytes are not what they say.
    """

    def __init__(self, data: bytes | memoryview, what: str) -> None:
        self._data, self._at, self._what = memoryview(data), 0, what

    def view(self, length: int) -> memoryview:
        """The next so many bytes, not copied."""
        if length > len(self._data) - self._at:
            raise self.fault(f"ends {length - (len(self._data) - self._at)} bytes early")
        self._at += length
        return self._data[self._at - length : self._at]

    def raw(self, length: int) -> bytes:
        """The next so many bytes."""
        return bytes(self.view(length))

    def u8(self) -> int:
        """An integer below 2**8."""
        return self.view(1)[0]

    def u16(self) -> int:
        """An integer below 2**16."""
        return int.from_bytes(self.view(2), "little")

    def u32(self) -> int:
        """An integer below 2**32."""
        return int.from_bytes(self.view(4), "little")

    def u64(self) -> int:
        """An integer below 2**64."""
        return int.from_bytes(self.view(8), "little")

    def f64(self) -> float:
        """A finite float64."""
        (value,) = struct.unpack("<d", self.view(8))
        if value - value != 0:  # infinity minus infinity is undefined, and so is all that has NaN in it
            raise self.fault("holds a number that is not finite")
        return float(value)

    def blob(self, limit: int) -> bytes:
        """Bytes after their length, at most `limit`."""
        length = self.u32()
        if length > limit:
            raise self.fault(f"declares a field of {length} bytes, at most {limit} are allowed")
        return self.raw(length)

    def text(self) -> str:
        """UTF-8 after its length; 1 to 200 bytes, printable."""
        length = self.u16()
        if not 0 < length <= 200:
            raise self.fault(f"declares a name of {length} bytes, expected 1 to 200")
        try:
            value = self.raw(length).decode()
        except UnicodeDecodeError:
            raise self.fault("has a name that is not UTF-8") from None
        # Names reach terminals and logs: no control character may move the cursor or change what a line seems to say.
        if not value.isprintable():
            raise self.fault("has a name with unprintable characters")
        return value

    def count(self, limit: int, size: int) -> int:
        """A number of items of at least `size` bytes each, at most `limit`, and no more than can still follow."""
        number = self.u16()
        if number > limit or number * size > len(self._data) - self._at:
            raise self.fault(f"declares {number} items, more than allowed or present")
        return number

    def remaining(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self._at

    def end(self) -> None:
        """Refuse bytes behind the last field: a second encoding of the same content would have another hash."""
        if self.remaining():
            raise self.fault(f"has {self.remaining()} bytes too many")

    def fault(self, what: str) -> WireError:
        """The error that says what is wrong with this message."""
        return WireError(f"a secure aggregation message ({self._what}) {what}; it was damaged, or is not ours.")

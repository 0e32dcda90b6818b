"""A stream of bytes in one sealed file: whoever has not the key reads nothing of it, and nothing in it can be changed.

    magic, 16 bytes of salt, then chunks: ChaCha20-Poly1305 (RFC 8439) under HKDF (RFC 5869) of key and salt

Each chunk's nonce is its number and whether it is the last, so none can be left out, swapped, added or cut off (STREAM:
Hoang, Reyhanitabar, Rogaway and Vizár, Online authenticated-encryption, CRYPTO 2015).
"""

import io
import secrets
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import BackupError

MAGIC = b"consilium coordinator 1\n"
KEY_BYTES, SALT_BYTES, CHUNK_BYTES, TAG_BYTES = 32, 16, 1 << 20, 16


class SealedWriter(io.RawIOBase):
    """Takes bytes, and writes them sealed. `finish` writes the last chunk; a file without one is refused."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        salt = secrets.token_bytes(SALT_BYTES)
        self._file, self._cipher, self._rest, self._count = file, _cipher(key, salt), bytearray(), 0
        file.write(MAGIC + salt)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, content: object) -> int:
        """Take some more."""
        data = bytes(content)  # type: ignore[call-overload]
        self._rest += data
        while len(self._rest) > CHUNK_BYTES:
            self._seal(bytes(self._rest[:CHUNK_BYTES]), is_last=False)
            del self._rest[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """Write what is left."""
        self._seal(bytes(self._rest), is_last=True)

    def _seal(self, chunk: bytes, *, is_last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._count, is_last), chunk, MAGIC))
        self._count += 1


class SealedReader(io.RawIOBase):
    """Gives back what a `SealedWriter` took.

    Raises:
        BackupError: it is no such file, under another key, or its bytes are others; from `read` too.
    """

    def __init__(self, file: IO[bytes], key: bytes, path: Path) -> None:
        self._file, self._path, self._count = file, path, 0
        if file.read(len(MAGIC)) != MAGIC:
            raise BackupError(f"{path}: is no coordinator's backup. Name a file that `python -m server backup` wrote.")
        self._cipher = _cipher(key, file.read(SALT_BYTES))
        self._plain, self._next = b"", file.read(CHUNK_BYTES + TAG_BYTES)

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or fewer at the end; all, where none are named."""
        parts, missing = [], size if size >= 0 else 1 << 62
        while missing and (self._plain or self._open()):
            part, self._plain = self._plain[:missing], self._plain[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _open(self) -> bool:
        """The next chunk, if there is one."""
        if not self._next:
            return False
        chunk, self._next = self._next, self._file.read(CHUNK_BYTES + TAG_BYTES)
        try:
            self._plain = self._cipher.decrypt(_nonce(self._count, not self._next), chunk, MAGIC)
        except InvalidTag:
            raise BackupError(
                f"{self._path}: chunk {self._count} is not what was stored, or the recovery key is another's. Try "
                "another backup, or another copy of this one."
            ) from None
        self._count += 1
        return bool(self._plain)


def _cipher(key: bytes, salt: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(HKDF(SHA256(), KEY_BYTES, salt, MAGIC).derive(key))


def _nonce(count: int, is_last: bool) -> bytes:
    return count.to_bytes(11, "big") + bytes([is_last])

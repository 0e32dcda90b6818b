"""A snapshot: which files, of which pieces, when, after which other; signed by the site, sealed, and one small file.

snapshots/000007      the number, eight bytes; behind it the sealed manifest of that number
"""

import hashlib
import json
from typing import Annotated, Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, Field, ValidationError

from common.config import Frozen
from common.errors import SecAggError
from common.trust.documents import canonical
from common.trust.keys import digest, public_of, sign, verify

FORMAT = "consilium-backup-1"
PIECE_BYTES = 8 << 20
"""Files are cut in pieces of so many bytes: what a pack has grown by costs a piece more than that, at most."""

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Piece = tuple[Hash, Hash]
"""SHA-256 of what is in the file, and of what is stored, which is the object's name."""


def _inside(path: str) -> str:
    """A path that stays in the folder that it is put into."""
    if not {"", ".", ".."}.isdisjoint(path.split("/")) or "\x00" in path:
        raise ValueError("leads out of the site's folder")
    return path


Inside = Annotated[str, Field(max_length=1024), AfterValidator(_inside)]


class FileEntry(Frozen):
    """One file as it was."""

    path: Inside
    size: Annotated[int, Field(ge=0)]
    mode: Annotated[int, Field(ge=0, le=0o777)]
    sealed: bool
    pieces: tuple[Piece, ...]

    def length(self, number: int) -> int:
        """Bytes of a piece."""
        return min(PIECE_BYTES, self.size - number * PIECE_BYTES)


class Snapshot(Frozen):
    """The content of a snapshot, which the site signs."""

    format: str = FORMAT
    site: str
    number: Annotated[int, Field(ge=1)]
    at_s: float
    release: str
    previous: str
    """SHA-256 of the file of the snapshot before; empty for the first."""
    log: str
    """Entries and root of the site's log then; empty where there was none."""
    left_out: tuple[str, ...]
    """What was damaged already, and is not in it."""
    files: tuple[FileEntry, ...]

    def encode(self, identity: Ed25519PrivateKey) -> bytes:
        """Signed, to be sealed."""
        content = self.model_dump(mode="json")
        signature = sign(identity, _statement(content)).hex()
        return json.dumps({"manifest": content, "key": public_of(identity).hex(), "signature": signature}).encode()

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """From what was sealed; whoever could seal it had the backup's key, and its signature is held against its key.

        Raises:
            ValueError: it is no manifest of this release.
        """
        try:
            signed_content = json.loads(content)
            key, signature = bytes.fromhex(signed_content["key"]), bytes.fromhex(signed_content["signature"])
            verify(key, signature, _statement(signed_content["manifest"]), who="the site", what="snapshot")
            manifest = cls.model_validate(signed_content["manifest"])
        except (KeyError, TypeError, ValidationError, SecAggError) as error:
            raise ValueError(str(error)) from None
        if manifest.format != FORMAT or any(len(f.pieces) != -(-f.size // PIECE_BYTES) for f in manifest.files):
            raise ValueError(f"expected {FORMAT}")
        return manifest

    @property
    def objects(self) -> dict[str, int]:
        """What it needs, and how many bytes of files each holds."""
        return {name: f.length(i) for f in self.files for i, (_, name) in enumerate(f.pieces)}

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def sets(self) -> list[str]:
        """The data sets in it."""
        return sorted({f.path.split("/")[1] for f in self.files if f.path.startswith("sets/")})


def hash_of(content: bytes | memoryview) -> str:
    """SHA-256, hexadecimal: with this machine's instructions twice as fast as BLAKE2."""
    return hashlib.sha256(content).hexdigest()


def _statement(content: dict[str, Any]) -> bytes:
    return digest("backup", canonical(content))
